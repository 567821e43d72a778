"""Who is put in quarantine, and after how many answers: the pipeline's own functions over many simulated courses at once.

`python -m experiments.studies.quarantine` prints the table of `docs/learning/trust.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from agents import scoring, thresholds, trust
from agents.deciding.quarantine import VOICE_WEIGHT
from agents.scoring import PRIOR_INFORMATION, Array, Channel, Drift, Offsets
from agents.trust import Coins
from schemas.identity import generator

Bools = NDArray[np.bool_]
CLASSES, ZIPF = 200, 0.8
OPERATORS = 12
WANTED_SHARE, GOOD, BAD = 0.55, (99, 1), (1, 19)  # the bimodal world: Beta of the classes' like-rates
FLIPPED_SHARE = 0.25
TAU = logit(0.8)
TRIES = 12  # scenarios until one is surfaced, at most
NEVER = -1
SOON = 300  # answers
SHOWN = 40  # courses of a row of the table
TABLE: dict[str, dict[str, Any]] = {
    "10 %, after 2,000 honest answers": {"share": 0.1, "turns": 2000},
    "the same, at the moment of a drift": {"share": 0.1, "turns": 2000, "drift": 2000},
    "10 %, from the first answer of a new scope": {"share": 0.1},
    "5 %, after 2,000 honest answers": {"share": 0.05, "turns": 2000},
    "40 %, after 2,000 honest answers": {"share": 0.4, "turns": 2000},
    "10 % among noisy operators, U(0, .4)": {"share": 0.1, "flips": 0.4},
    "nobody": {},
    "nobody, with a drift": {"drift": 2500},
    "noisy operators with a drift": {"drift": 2500, "flips": 0.4},
}
BY_ANSWER = ("label", "source", "normal", "coins")  # columns of `Drawn`


class Detection(NamedTuple):
    """What became of each course, shape (seeds,): `NEVER` where nobody was, or the liar was not, put in quarantine."""

    answers: NDArray[np.int64]  # counted answers of all sources from the turn on until the liar was in quarantine
    own: NDArray[np.int64]  # the liar's own among them
    first: NDArray[np.int64]  # the first source that was put in quarantine; the liar is source 0
    false: NDArray[np.int64]  # honest sources put in quarantine
    honest: NDArray[np.int64]  # honest answers until then


@dataclass
class Courses:
    """All that is known of each course: class scores (seeds, classes), coins and sums (seeds, sources), last answers of each pair."""

    offsets: Offsets
    drift: Drift
    answered: Array
    coins: Coins
    statistic: Array
    quarantined: Bools
    voices: trust.Voices  # shape (seeds, classes, sources): the latest answer of each
    latest: NDArray[np.int64]  # number of that answer, -1 where there is none


def start(seeds: int) -> Courses:
    """Return courses in which nobody has answered yet; all sources are on the roster."""
    pairs, sources, classes = (seeds, CLASSES, OPERATORS), (seeds, OPERATORS), (seeds, CLASSES)
    return Courses(
        offsets=Offsets(np.zeros(classes), np.full(classes, PRIOR_INFORMATION), np.full(classes, PRIOR_INFORMATION)),
        drift=Drift(np.zeros(classes), np.zeros(classes)),
        answered=np.zeros(pairs),
        coins=Coins(*(np.full(sources, count) for count in trust.prior(on_roster=True))),
        statistic=np.zeros(sources),
        quarantined=np.zeros(sources, dtype=np.bool_),
        voices=trust.Voices(np.zeros(pairs), np.zeros(pairs), np.zeros(pairs)),
        latest=np.full(pairs, -1),
    )


def detect(
    seeds: Sequence[int],
    *,
    share: float = 0.0,
    turns: int = 0,
    drift: int | None = None,
    answers: int = 10_000,
    flips: float = 0.02,
    operators: int = OPERATORS,
) -> Detection:
    """Simulate operators who answer what the score surfaces, and tell who is put in quarantine, and when.

    Args:
        seeds: of the courses; each has its own draws, so a course is the same alone and beside others.
        share: of all answers that are the liar's, who says the opposite of what is wanted; 0: all are honest, and equally busy.
        turns: the answer from which on it lies; honest before.
        drift: the answer at which a quarter of the classes turn into their opposite; None: never.
        answers: simulated per course.
        flips: the largest rate at which an honest operator errs; each has its own, uniform below it.
        operators: on the roster, the liar included; `OPERATORS` at most.

    The world is the bimodal one of the studies, without features: f = 0.
    """
    drawn = [draw(seed, share, answers, flips, operators) for seed in seeds]
    courses, rows = start(len(seeds)), np.arange(len(seeds))
    wanted = np.stack([each.wanted for each in drawn])
    flipped = np.stack([each.flipped for each in drawn])
    error = np.stack([each.error for each in drawn])
    found = Detection(*(np.full(len(seeds), value) for value in (NEVER, NEVER, NEVER, 0, 0)))
    counted = np.zeros((2, len(seeds)), dtype=np.int64)  # of all, and of the liar, since the turn
    for number in range(answers):
        if number == drift:
            wanted = np.where(flipped, 1 - wanted, wanted)
        label, source, normal, coins = (np.array([getattr(each, name)[number] for each in drawn]) for name in BY_ANSWER)
        label = surfaced(courses, rows, label, normal)
        lies = (source == 0) & (share > 0) & (number >= turns)
        likes = coins[:, 0] < wanted[rows, label]
        errs = coins[:, 1] < error[rows, source]
        liked = (likes ^ errs ^ lies).astype(np.float64)
        heard = ~courses.quarantined[rows, source]
        accused = answer(courses, rows, label, source, liked, heard, number)
        if number >= turns:
            counted += heard * np.stack([np.ones_like(source), source == 0])
        found = record(found, counted, accused, source, liar=share > 0 and number >= turns)
        found.honest[...] += heard & ~((source == 0) & (share > 0))
    return found


class Drawn(NamedTuple):
    """All draws of one course: classes' like-rates, which of them a drift turns, sources' error rates, and four columns by answer."""

    wanted: Array
    flipped: Bools
    error: Array
    label: NDArray[np.int64]
    source: NDArray[np.int64]
    normal: Array
    coins: Array


def draw(seed: int, share: float, answers: int, flips: float, operators: int) -> Drawn:
    """Draw a course."""
    random = generator(seed, "quarantine", "course")
    good = random.random(CLASSES) < WANTED_SHARE
    wanted = np.where(good, random.beta(*GOOD, CLASSES), random.beta(*BAD, CLASSES))
    weights = 1 / np.arange(1, CLASSES + 1) ** ZIPF
    chances = np.full(operators, 1 / operators)
    if share > 0:
        chances = np.array([share, *[(1 - share) / (operators - 1)] * (operators - 1)])
    return Drawn(
        wanted,
        random.random(CLASSES) < FLIPPED_SHARE,
        random.uniform(0, flips, OPERATORS),
        random.choice(CLASSES, (answers, TRIES), p=weights / weights.sum()),
        random.choice(operators, answers, p=chances),
        random.standard_normal((answers, TRIES)),
        random.random((answers, 2)),
    )


def surfaced(courses: Courses, rows: NDArray[np.int64], label: NDArray[np.int64], normal: Array) -> NDArray[np.int64]:
    """Return the class of the first of the drawn scenarios that passes the threshold: of the last one where none does."""
    offset, information = (
        np.take_along_axis(np.asarray(each), label, axis=1) for each in (courses.offsets.offset, courses.offsets.draw_information)
    )
    passes = offset + thresholds.deviation(information) * normal >= TAU
    chosen = np.where(passes.any(axis=1), passes.argmax(axis=1), label.shape[1] - 1)
    return np.asarray(label[rows, chosen])


def answer(
    courses: Courses, rows: NDArray[np.int64], label: NDArray[np.int64], source: NDArray[np.int64], liked: Array, heard: Bools, number: int
) -> Bools:
    """Apply one answer in each course, in the learner's order, and tell in which it has put its source in quarantine."""
    coins = Coins(*(np.asarray(each)[rows, source] for each in courses.coins))
    before = Offsets(*(np.asarray(each)[rows, label] for each in courses.offsets))
    wanted = scoring.confidence(0.0, before.offset)
    trusted, erring = (np.where(courses.quarantined, 0.0, each).sum(axis=1) for each in trust.standing(courses.coins))
    others = last_of_others(courses, rows, label, source)
    moved = trust.disagree(courses.statistic[rows, source], liked, others, wanted, trust.mean_error(trusted, erring))
    courses.statistic[rows, source] = np.where(heard, moved, courses.statistic[rows, source])
    channel = trust.suspected(trust.channel(coins), courses.statistic[rows, source])
    accused = heard & (np.asarray(moved) > trust.QUARANTINE_BOUND)
    courses.quarantined[rows, source] |= accused
    counts = np.flatnonzero(heard & ~accused)
    r, c, s = rows[counts], label[counts], source[counts]
    courses.answered[r, c, s] += 1
    kappa = scoring.cap(courses.answered[r, c].sum(axis=1), courses.answered[r, c, s])
    z, q, heard_through = liked[counts], np.asarray(wanted)[counts], Channel(*(np.asarray(each)[counts] for each in channel))
    offsets = scoring.update(Offsets(*(np.asarray(each)[counts] for each in before)), z, heard_through, q, kappa)
    sums, offsets = scoring.forget(Drift(*(np.asarray(each)[r, c] for each in courses.drift)), offsets, z, heard_through, q)
    for kept, values in zip((*courses.offsets, *courses.drift), (*offsets, *sums), strict=True):
        np.asarray(kept)[r, c] = values
    own = Coins(*(np.asarray(each)[counts] for each in coins))
    for kept, values in zip(courses.coins, trust.count(own, z, trust.posterior(own, z, q), 1.0), strict=True):
        np.asarray(kept)[r, s] = values
    said = (z, scoring.predicted_like(heard_through, q), trust.weight(heard_through))
    for kept, values in zip(courses.voices, said, strict=True):
        np.asarray(kept)[r, c, s] = values
    courses.latest[r, c, s] = number
    return accused


def last_of_others(courses: Courses, rows: NDArray[np.int64], label: NDArray[np.int64], source: NDArray[np.int64]) -> trust.Voices:
    """Return the latest answers of the three others who answered last in the class, shape (seeds, 3)."""
    liked, predicted, weight = (np.asarray(each)[rows, label] for each in courses.voices)
    age = np.where(courses.quarantined | (weight <= VOICE_WEIGHT), -1, courses.latest[rows, label])
    age[rows, source] = -1
    last = np.argsort(-age, axis=1, kind="stable")[:, : trust.VOICES]
    weight = np.where(age >= 0, weight, 0.0)
    return trust.Voices(*(np.take_along_axis(each, last, axis=1) for each in (liked, predicted, weight)))


def record(found: Detection, counted: NDArray[np.int64], accused: Bools, source: NDArray[np.int64], *, liar: bool) -> Detection:
    """Note who has been put in quarantine by this answer."""
    right = accused & (source == 0) & liar
    return found._replace(
        answers=np.where(right, counted[0], found.answers),
        own=np.where(right, counted[1], found.own),
        first=np.where(accused & (found.first == NEVER), source, found.first),
        false=found.false + (accused & ~right),
    )


def row(name: str, found: Detection) -> str:
    """Return a row of the table in Markdown."""
    caught = found.own > 0
    if not caught.any():
        return f"| {name} | {found.false.sum()} in {found.honest.sum():,} answers | | | | |"
    within = " | ".join(str(int((caught & (each <= SOON)).sum())) for each in (found.answers, found.own))
    median = " / ".join(f"{np.median(each[caught]):g}" for each in (found.answers, found.own))
    first = found.first[found.first != NEVER]
    return f"| {name} | {caught.sum()} of {len(caught)} | {median} | {within} | {(first == 0).sum()} of {len(first)} |"


def table() -> str:
    """Return the table in Markdown."""
    columns = (
        "who lies",
        "found",
        "median, all answers / own",
        "within 300 of all",
        "within 300 of its own",
        "first in quarantine was the liar",
    )
    rows = (row(name, detect(range(SHOWN), answers=sets.get("turns", 0) + 5000, **sets)) for name, sets in TABLE.items())
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201  # the command's result
