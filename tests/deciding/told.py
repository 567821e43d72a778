"""Made-up logs of one scope in which honest operators answer everything and a liar may add to it; and what they come to.

The liar never answers first or alone, so the closings of a log are the same with it and without.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from agents.deciding.rows import ClassRow, SourceRow
from agents.state import read_row, row_key
from schemas.events import Answer, Outcome, Verdict
from tests.deciding.logs import MINUTE_MS, START_MS, Entry, Folded, entry, feedback, heartbeat, scenario, settings_with

LIAR = "eve"
IN_TIME = ("ana", "ben", "fay", "gil")  # of whom a log may have answers before the deadline; cho is late
SPACING_MINUTES = 20
# Everything is surfaced, so that what was learned changes no decision.
OPEN_TO_ALL: dict[str, object] = {"selector": "fixed", "fixed_threshold": 0.0}
SETTINGS = {
    "default": settings_with(**OPEN_TO_ALL),
    "no trust": settings_with(**OPEN_TO_ALL, trust=False),
    "mean": settings_with(**OPEN_TO_ALL, score="mean"),
    "pull": settings_with(**OPEN_TO_ALL, score="mean", silence="pull"),
}


@dataclass(frozen=True)
class Told:
    """One decision: its class and score, what honest operators and the liar say in time and late, what outcomes say and when."""

    label: str
    score: float
    answers: dict[str, Answer]
    lie: Answer | None = None
    late: Answer | None = None
    late_lie: Answer | None = None
    early: Verdict | None = None
    afterwards: Verdict | None = None
    beats: bool = True


kinds = st.sampled_from([Answer.LIKE, Answer.OVERRIDE, Answer.NEUTRAL])
verdicts = st.none() | st.sampled_from(list(Verdict))
told_logs = st.lists(
    st.builds(
        Told,
        label=st.sampled_from(["cpu:up", "disk:up"]),
        score=st.sampled_from([0.7, 1.0, 1.6]),
        answers=st.dictionaries(st.sampled_from(IN_TIME), kinds, min_size=1),
        lie=st.none() | kinds,
        late=st.none() | kinds,
        late_lie=st.none() | kinds,
        early=verdicts,
        afterwards=verdicts,
        beats=st.booleans(),
    ),
    min_size=1,
    max_size=24,
)


def log_of(told: list[Told], *, lies: bool) -> list[Entry]:
    """The log of what was told, with the liar's answers or without; all decisions are closed at its end."""
    return [item for number, each in enumerate(told) for item in entries_of(number, each, lies=lies)] + [
        entry("scenario", heartbeat(SPACING_MINUTES * len(told) + 10))
    ]


def entries_of(number: int, told: Told, *, lies: bool) -> Iterator[Entry]:
    """The records about one decision; without `beats` it closes together with the next."""
    name, minute = f"s{number}", SPACING_MINUTES * number
    entity, at_ms = f"web-{number}", START_MS + minute * MINUTE_MS
    yield entry("scenario", scenario(name, minute, entity=entity, label=told.label, score=told.score))
    for operator, kind in told.answers.items():
        yield entry("feedback", feedback(name, kind, minute, operator=operator))
    if lies and told.lie is not None:
        yield entry("feedback", feedback(name, told.lie, minute, operator=LIAR))
    if told.early is not None:
        yield entry("outcome", Outcome(entity, at_ms, at_ms + 1, told.early, at_ms, source="early"))
    if told.beats:
        yield entry("scenario", heartbeat(minute + 10))
    if told.beats and told.late is not None:
        yield entry("feedback", feedback(name, told.late, minute, operator="cho"))
    if lies and told.beats and told.late_lie is not None and told.lie is None:
        yield entry("feedback", feedback(name, told.late_lie, minute, operator=LIAR))
    if told.afterwards is not None:
        yield entry("outcome", Outcome(entity, at_ms, at_ms + 1, told.afterwards, at_ms, source="afterwards"))


def classes(folded: Folded, scope: str = "shop") -> dict[str, ClassRow]:
    """The rows of a scope's classes, by name."""
    prefix = row_key(ClassRow, scope, "")
    return {key[len(prefix) :].decode(): read_row(ClassRow, value) for key, value in folded.rows.items() if key.startswith(prefix)}


def scores(folded: Folded, scope: str = "shop") -> dict[str, list[float]]:
    """Scores of a scope's classes: offset, H, D, both sums, and the mean's two."""
    return {
        name: [row.offset, row.information, row.draw_information, row.rising, row.falling, row.weight, row.weighted]
        for name, row in classes(folded, scope).items()
    }


def disagreement(folded: Folded, name: str) -> float:
    """A source's sum; 0 of one that has never answered."""
    value = folded.rows.get(row_key(SourceRow, "shop", name))
    return read_row(SourceRow, value).disagreement if value else 0.0


def coins(folded: Folded, name: str) -> list[float]:
    """A source's coins; of one that has never answered, its prior."""
    value = folded.rows.get(row_key(SourceRow, "shop", name))
    row = read_row(SourceRow, value) if value else SourceRow(likes=4.0, wanted=5.0, overrides=4.0, unwanted=5.0)
    return [row.likes, row.wanted, row.overrides, row.unwanted]


def close_to(expected: dict[str, list[float]]) -> dict[str, object]:
    """Equal to rounding."""
    return {name: pytest.approx(values, rel=1e-9, abs=1e-9) for name, values in expected.items()}
