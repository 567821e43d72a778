"""A decision that cannot be closed: its neighbours go on, and it says so once."""

from collections.abc import Callable
from typing import Any

import pytest

from agents.deciding import closing
from agents.deciding.rows import DecisionRow, ScopeRow
from schemas.errors import RowError
from schemas.events import Answer, Life
from tests.deciding.logs import Entry, busy_log, decision_of, entry, feedback, heartbeat, run, scenario
from tests.deciding.told import scores

Apply = Callable[..., Any]
BAD = decision_of("bad")


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to one decision cannot be applied, after a part of it has been."""
    apply: Apply = closing.apply_answer

    def apply_or_break(turn: Any, class_row: Any, decision: DecisionRow, *rest: Any, **how: Any) -> Any:  # noqa: ANN401  # as closing has it
        judged = apply(turn, class_row, decision, *rest, **how)
        if decision.id == BAD:
            raise ZeroDivisionError("made up")
        return judged

    monkeypatch.setattr(closing, "apply_answer", apply_or_break)


def log_with(name: str) -> list[Entry]:
    """Two open decisions of one class, answered in time, and the heartbeats that close them."""
    log = [entry("scenario", scenario(each, 0, entity=f"web-{each}", score=9.0)) for each in ("good", name)]
    log += [entry("feedback", feedback(each, Answer.OVERRIDE, 0)) for each in ("good", name)]
    return log + [entry("scenario", heartbeat(minute)) for minute in (1, 2, 30)]


@pytest.mark.usefixtures("breaking")
def test_a_decision_that_cannot_be_closed_is_closed_without_effect() -> None:
    """One alarm, one expiry, no judgement; its unit of the budget is free, its neighbour is judged, and the clock goes on."""
    folded = run(log_with("bad"))
    assert folded.reasons() == []
    assert [judgement.decision for judgement in folded.events("judgement")] == [decision_of("good")]
    (alarm,) = folded.events("alignment")
    assert (alarm.name, alarm.raised) == ("closing_failed", True)
    assert BAD in alarm.detail
    assert "ZeroDivisionError: made up" in alarm.detail
    assert [event.life for event in folded.events("recommendation") if event.id == BAD] == [Life.OPENED, Life.ANSWERED, Life.EXPIRED]
    scope = folded.row(ScopeRow, "shop")
    assert (scope.open, scope.total.answered, scope.clock_ms) == (0, 1, 1_577_836_800_000 + 30 * 60_000)
    alone = run([item for item in log_with("bad") if b'"bad"' not in item.value and BAD.encode() not in item.value])
    assert scores(folded) == scores(alone)


@pytest.mark.usefixtures("breaking")
def test_a_closing_that_breaks_is_blind_to_blocks() -> None:
    """With a decision among others that cannot be closed, any cut gives the same bytes, and a late answer to it is taken."""
    log = [*log_with("bad"), *busy_log(31), entry("feedback", feedback("bad", Answer.LIKE, 40, operator="ben"))]
    whole, single = run(log, cuts=set()), run(log, cuts=None)
    assert [output._replace(ordinal=0) for output in whole.outputs] == [output._replace(ordinal=0) for output in single.outputs]
    assert whole.rows == single.rows
    assert [event.name for event in whole.events("alignment") if type(event).__name__ == "Alarm"].count("closing_failed") == 1


@pytest.mark.usefixtures("breaking")
def test_an_answer_that_closes_at_once_is_isolated_too() -> None:
    """A decision whose closing breaks while an answer of its own is taken is closed without effect, and the answer is no dead letter."""
    log = [
        entry("scenario", scenario("bad", 0, score=9.0)),
        entry("scenario", heartbeat(60)),
        entry("feedback", feedback("bad", Answer.LIKE, 1)),
    ]
    folded = run(log)
    assert folded.reasons() == []
    assert [event.life for event in folded.events("recommendation")] == [Life.OPENED, Life.ANSWERED, Life.EXPIRED]
    assert folded.row(DecisionRow, "shop", BAD).closed


def test_state_that_cannot_be_read_stops_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that cannot be read while a decision closes is no fault of the decision."""

    def unreadable(*_: Any, **__: Any) -> None:  # noqa: ANN401  # as closing has it
        raise RowError("made up")

    monkeypatch.setattr(closing, "apply_answer", unreadable)
    with pytest.raises(RowError):
        run(log_with("bad"))


@pytest.mark.parametrize("name", ["x\x1fy", "outcome:tickets"])
def test_an_operator_whose_name_cannot_be_kept_is_refused_at_once(name: str) -> None:
    """A name with the separator of row keys, or that of a source of outcomes, is a dead letter when it answers, and no trouble later."""
    log = [entry("scenario", scenario("a", 0, score=9.0)), entry("feedback", feedback("a", Answer.LIKE, 0, operator=name))]
    folded = run([*log, entry("scenario", heartbeat(300))])
    assert folded.reasons() == ["undecodable"]
    assert [judgement.closed_by for judgement in folded.events("judgement")] == ["silence"]
