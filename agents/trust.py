"""Trust in sources of answers: two coins a source, learned online by EM, the budget that follows, and the sum that accuses a source.

Element by element over floats or arrays of one shape.
"""

from typing import NamedTuple

import numpy as np

from agents.scoring import Channel, Number, predicted_like

PSEUDO_COUNT = 5.0
ROSTER_PRIOR = 0.8
UNKNOWN_PRIOR = 0.53
OUTCOME_WEIGHT = 5.0
FULL_TRUST = 0.6  # the J from which on a source has weight 1
QUARANTINE_BOUND = 8.0
QUARANTINE_DRIFT = 0.25  # disagreement beyond the expected that an answer may have and still count for its source
EXPECTED_LEAST = 0.08  # disagreement that is always expected
VOICES = 3  # how many others an answer is held against
VOICES_LEAST = 2  # one against one tells that they disagree, not who errs


class Coins(NamedTuple):
    """Counts with pseudo-counts: likes among wanted, overrides among unwanted."""

    likes: Number
    wanted: Number
    overrides: Number
    unwanted: Number


def prior(*, on_roster: bool) -> Coins:
    """Return the coins of a source that has not answered yet: five pseudo-counts at .8, or .53 for an unknown account."""
    share = ROSTER_PRIOR if on_roster else UNKNOWN_PRIOR
    return Coins(share * PSEUDO_COUNT, PSEUDO_COUNT, share * PSEUDO_COUNT, PSEUDO_COUNT)


def channel(coins: Coins) -> Channel:
    """Return the channel that the coins estimate."""
    return Channel(coins.likes / coins.wanted, coins.overrides / coins.unwanted)


def weight(source: Channel) -> Number:
    """Return w = clip(J / .6, 0, 1)."""
    return np.clip(np.asarray(source.youden) / FULL_TRUST, 0.0, 1.0)[()]


def credit(statistic: Number) -> Number:
    """Return the share of a source's word that its disagreement with others leaves it: 1 - s / 8 in [0, 1]."""
    return np.clip(1 - np.asarray(statistic) / QUARANTINE_BOUND, 0.0, 1.0)[()]


def suspected(source: Channel, statistic: Number) -> Channel:
    """Return the channel of a source under suspicion: its own as far as it has `credit`, for the rest that of a coin.

    The coins tell what a source has been over all its answers, the sum what it is now: one that turns after many honest answers would
    else move classes by all the trust it has earned until it is in quarantine. J shrinks by the credit.
    """
    share = credit(statistic)
    return Channel(0.5 + share * (source.alpha - 0.5), 0.5 + share * (source.beta - 0.5))


def posterior(coins: Coins, liked: Number, wanted: Number) -> Number:
    """Return g', proportional to g P(z | wanted): the probability that what a source has answered was wanted.

    Args:
        coins: the source's, before the answer; the pseudo-counts keep both estimates inside (0, 1).
        liked: z.
        wanted: g, the same as far as the others tell.

    The answer itself is part of the evidence. Source: DESIGN section 7, EM.
    """
    source = channel(coins)
    says_if_wanted = liked * source.alpha + (1 - liked) * (1 - source.alpha)
    says_at_all = liked * predicted_like(source, wanted) + (1 - liked) * (1 - predicted_like(source, wanted))
    return wanted * says_if_wanted / says_at_all


def count(coins: Coins, liked: Number, wanted: Number, amount: Number) -> Coins:
    """Return the coins with `amount` more answers z to scenarios wanted with probability `wanted`; a negative amount takes back.

    An answer counts 1, at its `posterior`; one whose truth an outcome has told counts `OUTCOME_WEIGHT`, at 1 or 0.
    """
    return Coins(
        coins.likes + amount * wanted * liked,
        coins.wanted + amount * wanted,
        coins.overrides + amount * (1 - wanted) * (1 - liked),
        coins.unwanted + amount * (1 - wanted),
    )


def wealth(source: Channel, answers: Number, overrides: Number, rate: float) -> Number:
    """Return what one source adds to the trusted budget: w (n (1 - alpha + J r) - o), overrides beyond its own error.

    Times its `credit`, where it has a sum of disagreement: not of its `suspected` channel, which grants it more error.

    Args:
        source: the channel of its coins as of now.
        answers: n, likes and overrides.
        overrides: o.
        rate: r, the declared override rate.
    """
    return weight(source) * (answers * (1 - source.alpha + source.youden * rate) - overrides)


class Voices(NamedTuple):
    """Answers of others in a class, shape (..., voices): z_i, the like-rate l_i that was predicted of each, and its weight w_i."""

    liked: Number
    predicted: Number
    weight: Number


def mean_error(trusted: Number, erring: Number) -> Number:
    """Return the share of errors among the trusted answers: sum of w e over sum of w n, from one roster prior on.

    Args:
        trusted: sum over sources of w n, see `standing`.
        erring: sum over sources of w e.
    """
    pseudo = 2 * PSEUDO_COUNT
    return (erring + pseudo * (1 - ROSTER_PRIOR)) / (trusted + pseudo)


def standing(coins: Coins) -> tuple[Number, Number]:
    """Return what one source adds to the trusted mean error: w n and w e, n the answers in its coins and e the errors among them.

    Without the pseudo-counts, taken as a roster's; e is n / 2 at most: nobody is believed less than a coin.
    """
    pseudo = 2 * PSEUDO_COUNT
    answers = np.maximum(coins.wanted + coins.unwanted - pseudo, 0.0)
    errors = coins.wanted - coins.likes + coins.unwanted - coins.overrides - pseudo * (1 - ROSTER_PRIOR)
    believed = weight(channel(coins))
    return (believed * answers)[()], (believed * np.clip(errors, 0.0, answers / 2))[()]


def disagree(statistic: Number, liked: Number, others: Voices, wanted: Number, error: Number) -> Number:
    """Return the sum that accuses a source, after one more answer of its own, held against the last answers of others in its class.

    Args:
        statistic: s before the answer; above `QUARANTINE_BOUND` the source is to be quarantined.
        liked: z, its answer, shape (...).
        others: shape (..., voices); a voice of weight 0 says nothing.
        wanted: q = R before the answer.
        error: the mean error of the trusted sources, see `mean_error`.

    s <- max(0, s + min(1, sum w)(x - .25)), x the weighted mean of |z_i - z| - max(.08, qe (1 - l_i) + (1 - qe) l_i) and
    qe = e + (1 - 2e) q the like-rate of an honest source: what such a one would differ by anyway is no disagreement. Where fewer than
    two others have weight, s stays.
    Source: Page's CUSUM over pairs of sources, DESIGN section 7.
    """
    likes = (error + (1 - 2 * np.asarray(error)) * wanted)[..., np.newaxis]
    expected = np.maximum(EXPECTED_LEAST, likes * (1 - others.predicted) + (1 - likes) * others.predicted)
    against = np.abs(others.liked - np.asarray(liked)[..., np.newaxis]) - expected
    total = np.sum(others.weight, axis=-1)
    excess = np.sum(others.weight * against, axis=-1) / np.where(total > 0, total, 1.0)
    moved = np.maximum(0.0, statistic + np.minimum(1.0, total) * (excess - QUARANTINE_DRIFT))
    told: Number = np.where(np.sum(others.weight > 0, axis=-1) >= VOICES_LEAST, moved, statistic)[()]
    return told
