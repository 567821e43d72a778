"""One answer to one class in plain floats: what `agents.scoring` gives of numbers, ten times as fast as with numpy's scalars.

A revocation hears every kept answer of a scope again, one after the other, since what a source is trusted depends on all before.
"""

from collections.abc import Sequence
from math import exp, log

from agents.alignment import KNOWN, MISSES, OVERRIDES, SURFACED
from agents.deciding.rows import ClassRow, Recent, SourceRow
from agents.scoring import (
    CAP_FREE,
    CAP_SHARE,
    CONFIDENCE_EDGE,
    DRAW_FLOOR,
    DRIFT_BOUND,
    DRIFT_SHIFT,
    PRIOR_INFORMATION,
    YOUDEN_LEAST,
    Channel,
)
from agents.thresholds import ARMS
from agents.trust import EXPECTED_LEAST, FULL_TRUST, PSEUDO_COUNT, QUARANTINE_BOUND, QUARANTINE_DRIFT, ROSTER_PRIOR, VOICES_LEAST, Coins

Table = list[list[int]]  # the counts behind the threshold table: one list an arm, columns as in `agents.alignment`

LOGIT_MOST = 30.0  # beyond it confidence is at its edge, and e^x would overflow at 710


def confidence(model_output: float, offset: float) -> float:
    """Return R(x, c), as `scoring.confidence`."""
    return _inside(_sigmoid(model_output + offset))


def cap(class_answers: float, source_answers: float) -> float:
    """Return kappa, as `scoring.cap`."""
    return min(1.0, max(CAP_FREE, CAP_SHARE * class_answers) / source_answers)


def hear(row: ClassRow, liked: float, heard: Channel, wanted: float, kappa: float) -> None:
    """Move a class's offset, H, D and its two sums by one answer, as `scoring.update` and then `scoring.forget`.

    Args:
        row: the class, changed in place.
        liked: z, 1 for like and 0 for override.
        heard: the source's coins.
        wanted: q = R before the answer.
        kappa: the share of the answer that counts.
    """
    alpha, beta = float(heard.alpha), float(heard.beta)
    youden = alpha + beta - 1
    if youden <= YOUDEN_LEAST:
        return
    predicted = _inside(alpha * wanted + (1 - beta) * (1 - wanted))
    slope = youden * wanted * (1 - wanted)
    noise = predicted * (1 - predicted)
    gained = slope**2 / noise
    row.information += kappa * gained
    row.offset += kappa * (liked - predicted) * slope / (noise * row.information)
    row.draw_information += kappa * max(gained, DRAW_FLOOR * youden**2)
    said = predicted if liked else 1 - predicted
    sums = []
    for before, shift in ((row.rising, DRIFT_SHIFT), (row.falling, -DRIFT_SHIFT)):
        shifted = _sigmoid(log(wanted / (1 - wanted)) + shift)
        likes = _inside(alpha * shifted + (1 - beta) * (1 - shifted))
        sums.append(max(0.0, before + log((likes if liked else 1 - likes) / said)))
    row.rising, row.falling = sums
    if max(sums) > DRIFT_BOUND:
        row.offset += DRIFT_SHIFT if row.rising > DRIFT_BOUND else -DRIFT_SHIFT
        row.information = min(row.information, PRIOR_INFORMATION)
        row.draw_information = min(row.draw_information, PRIOR_INFORMATION)
        row.rising = row.falling = 0.0


def count_scenario(table: Table, confidence: float) -> None:
    """Add one decided scenario to the table in place, as `alignment.count_scenarios`."""
    for threshold, counts in zip(ARMS, table, strict=True):
        counts[SURFACED] += threshold <= confidence


def count_known(table: Table, confidence: float, *, wanted: bool) -> None:
    """Add one decision of which an answer or an outcome tells to the table in place, as `alignment.count_known`."""
    for threshold, counts in zip(ARMS, table, strict=True):
        passes = threshold <= confidence
        counts[KNOWN] += passes
        counts[OVERRIDES] += passes and not wanted
        counts[MISSES] += wanted and not passes


def channel(source: SourceRow) -> Channel:
    """Return the channel that a source's coins estimate, as `trust.channel`."""
    return Channel(source.likes / source.wanted, source.overrides / source.unwanted)


def weight(source: Channel) -> float:
    """Return w, as `trust.weight`."""
    return max(0.0, min(1.0, float(source.youden) / FULL_TRUST))


def credit(statistic: float) -> float:
    """Return the share of a source's word that its disagreement leaves it, as `trust.credit`."""
    return max(0.0, min(1.0, 1 - statistic / QUARANTINE_BOUND))


def suspected(source: Channel, statistic: float) -> Channel:
    """Return the channel of a source under suspicion, as `trust.suspected`."""
    share = credit(statistic)
    return Channel(0.5 + share * (float(source.alpha) - 0.5), 0.5 + share * (float(source.beta) - 0.5))


def wealth(source: Channel, answers: int, overrides: int, rate: float) -> float:
    """Return what a source adds to the trusted budget, as `trust.wealth`."""
    return weight(source) * (answers * (1 - float(source.alpha) + float(source.youden) * rate) - overrides)


def standing(coins: Coins) -> tuple[float, float]:
    """Return what a source adds to the trusted mean error, as `trust.standing`."""
    likes, wanted, overrides, unwanted = (float(count) for count in coins)
    pseudo = 2 * PSEUDO_COUNT
    answers = max(0.0, wanted + unwanted - pseudo)
    errors = wanted - likes + unwanted - overrides - pseudo * (1 - ROSTER_PRIOR)
    believed = weight(Channel(likes / wanted, overrides / unwanted))
    return believed * answers, believed * max(0.0, min(answers / 2, errors))


def disagree(statistic: float, liked: float, others: Sequence[Recent], wanted: float, error: float) -> float:
    """Return the sum that accuses a source, after its answer z, as `trust.disagree`."""
    if sum(other.weight > 0 for other in others) < VOICES_LEAST:
        return statistic
    total = sum(other.weight for other in others)
    likes = error + (1 - 2 * error) * wanted
    excess = 0.0
    for other in others:
        expected = likes * (1 - other.predicted) + (1 - likes) * other.predicted
        excess += other.weight * (abs(other.liked - liked) - max(EXPECTED_LEAST, expected))
    return max(0.0, statistic + min(1.0, total) * (excess / total - QUARANTINE_DRIFT))


def _sigmoid(logit: float) -> float:
    # In this order what is not a number comes out as unwanted.
    return 1 / (1 + exp(-min(LOGIT_MOST, max(-LOGIT_MOST, logit))))


def _inside(share: float) -> float:
    return max(CONFIDENCE_EDGE, min(1 - CONFIDENCE_EDGE, share))
