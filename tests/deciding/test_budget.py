"""The override budget: the raw bound holds at every record, and a person starts a budget anew, on record."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.deciding.rows import ScopeRow, SourceRow
from agents.state import row_key
from schemas.alignment import Alarm, BudgetReopened
from schemas.events import Answer, BudgetState, Command, Control, Reason
from tests.deciding.logs import START_MS, Entry, Folded, busy_log, entry, feedback, heartbeat, run, scenario, settings_with
from tests.deciding.told import LIAR, OPEN_TO_ALL, Told, log_of

REASON = "the bad alerts are fixed"


def reopen(scope: str | None = "shop", reason: str = REASON) -> Entry:
    """The command to start the budget anew."""
    return entry("control", Control(Command.REOPEN, START_MS, "ben", scope, "", reason))


def wealth(folded: Folded, scope: str = "shop", start: float = 3.0, rate: float = 0.1) -> float:
    """Raw wealth of a scope."""
    row = folded.row(ScopeRow, scope)
    return start + rate * row.answered - row.overridden


def crowded(seed: int, decisions: int = 60) -> Iterator[Entry]:
    """A log in which up to four operators answer a decision, mostly with overrides; some late, some changed, some while frozen."""
    random = np.random.default_rng(seed)
    for number in range(decisions):
        minute = 3 * number
        yield entry("scenario", scenario(f"s{number}", minute, entity=f"web-{number}", score=float(random.uniform(0.7, 2.5))))
        for name in range(max(0, number - 5), number + 1):
            for operator in random.choice(["ana", "ben", "cho", LIAR], int(random.integers(0, 4)), replace=False):
                kind = Answer(str(random.choice(["override", "like", "neutral", "retract"], p=[0.6, 0.2, 0.1, 0.1])))
                yield entry("feedback", feedback(f"s{name}", kind, minute, str(operator), int(random.integers(1, 3))))
        if random.random() < 0.1:
            command = Command(str(random.choice(["freeze", "resume", "quarantine", "release", "shadow", "reopen", "kill"])))
            yield entry("control", Control(command, START_MS, "ben", "shop", LIAR, REASON))
    yield entry("scenario", heartbeat(3 * decisions + 300))


def is_overridden(kinds: list[str]) -> bool:
    """Tell whether at least half of likes and overrides are overrides."""
    return kinds.count(Answer.OVERRIDE) >= kinds.count(Answer.LIKE)


@given(seed=st.integers(0, 2**32 - 1), start=st.sampled_from([0.0, 1.0, 2.5, 6.0]), rate=st.sampled_from([0.0, 0.1, 0.5]))
@hypothesis_settings(max_examples=25, deadline=None)
def test_the_raw_bound_holds_at_every_record(seed: int, start: float, rate: float) -> None:
    """With `raw`, at every record: overridden decisions <= r answered + B0, as told by the judgements since the last reopening.

    And what is open could all be overridden without breaking it.
    """
    settings = settings_with(budget="raw", budget_start=start, override_rate=rate, **OPEN_TO_ALL)
    folded, answered, overridden, written = Folded(), 0, 0, 0
    explored: set[str] = set()
    for each in crowded(seed):
        run([each], settings, None, onto=folded)
        for output in folded.outputs[written:]:
            event = msgspec.json.decode(output.value or b"{}")
            if output.topic == "decision" and event["reason"] == Reason.EXPLORATION:
                explored.add(event["id"])
            if output.topic == "judgement" and event["revision"] == 1 and event["decision"] not in explored:
                kinds = [answer["kind"] for answer in event["answers"] if answer["kind"] in {Answer.LIKE, Answer.OVERRIDE}]
                answered += bool(kinds)
                overridden += bool(kinds) and is_overridden(kinds)
            if output.topic == "alignment" and event["kind"] == "budget_reopened" and event["before"]["raw"] < start:
                answered = overridden = 0
        written = len(folded.outputs)
        if row_key(ScopeRow, "shop") in folded.rows:
            row = folded.row(ScopeRow, "shop")
            assert (row.answered, row.overridden) == (answered, overridden)
            assert overridden + row.open <= rate * answered + start


def test_several_overrides_of_one_decision_cost_its_one_unit() -> None:
    """Three operators override the last decision that a raw budget allows: it costs one, and the budget is spent, not in debt."""
    settings = settings_with(budget="raw", budget_start=1.0, override_rate=0.0, **OPEN_TO_ALL)
    log = [entry("scenario", scenario("a", 0))]
    log += [entry("feedback", feedback("a", Answer.OVERRIDE, 0, operator)) for operator in ("ana", "ben", "cho")]
    row = run([*log, entry("scenario", heartbeat(10))], settings).row(ScopeRow, "shop")
    assert (row.answered, row.overridden, row.open) == (1, 1, 0)


SPENT = log_of([Told("cpu:up", 1.6, {"ana": Answer.OVERRIDE, "ben": Answer.OVERRIDE})] * 8, lies=False)


@pytest.mark.parametrize("kind", ["raw", "trusted"])
@pytest.mark.parametrize("reach", ["shop", None])
def test_a_reopened_budget_is_what_it_was_at_the_start(kind: str, reach: str | None) -> None:
    """A closed budget is B0 after it, exactly; the alarm is taken back; who, why and both wealths before are told; and it surfaces."""
    settings = settings_with(budget=kind, budget_start=3.0, **OPEN_TO_ALL)
    closed = run(SPENT, settings)
    reopened = run([*SPENT, reopen(reach)], settings)
    before = closed.row(ScopeRow, "shop")
    assert before.budget_closed
    row = reopened.row(ScopeRow, "shop")
    assert (row.earned_trusted, row.answered, row.overridden, row.budget_closed) == (0.0, 0, 0, False)
    *_, back, told = reopened.events("alignment")
    assert isinstance(back, Alarm)
    assert (back.name, back.raised) == ("override_budget", False)
    assert isinstance(told, BudgetReopened)
    assert (told.by, told.reason, told.closed, told.scope) == ("ben", REASON, True, "shop")
    assert told.before == BudgetState(3.0 + before.earned_trusted, wealth(closed), 0)
    assert told.after == BudgetState(3.0, 3.0, 0)
    surfaced = run([entry("scenario", scenario("next", 500, entity="web-99"))], settings, onto=reopened)
    assert surfaced.events("decision")[-1].reason == Reason.PASSED


def test_after_a_reopening_only_what_comes_after_it_is_booked() -> None:
    """One more override of a source costs what it costs a source whose first it is, though its earlier ones stay told."""
    settings = settings_with(budget="trusted", budget_start=3.0, trust=False, **OPEN_TO_ALL)
    more = [entry("scenario", scenario("more", 500, entity="web-99")), entry("feedback", feedback("more", Answer.OVERRIDE, 500))]
    folded = run([*SPENT, reopen(), *more, entry("scenario", heartbeat(510))], settings)
    assert folded.row(ScopeRow, "shop").earned_trusted == pytest.approx(0.1 - 1)
    source = folded.row(SourceRow, "shop", "ana")
    earlier = run(SPENT, settings).row(SourceRow, "shop", "ana").answered
    assert (source.answered, source.booked_answered) == (earlier + 1, 1)
    assert earlier > 1


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=15, deadline=None)
def test_the_trusted_budget_is_the_sum_over_sources_after_any_log(seed: int) -> None:
    """Whatever is reopened, revoked or released: what the scope has earned is the sum of its sources' parts since the last reopening."""
    folded = run(busy_log(seed), settings_with(budget_start=2.0), set())
    for scope in ("shop", "bank"):
        row, prefix = folded.row(ScopeRow, scope), row_key(SourceRow, scope, "")
        sources = [msgspec.msgpack.decode(value, type=SourceRow) for key, value in folded.rows.items() if key.startswith(prefix)]
        assert row.earned_trusted == pytest.approx(sum(s.earned for s in sources if s.reopened == row.reopened), abs=1e-9)


def test_a_reopening_takes_nothing_away() -> None:
    """A budget that has earned more than at the start keeps it, so that what is open stays covered."""
    settings = settings_with(budget="raw", budget_start=3.0, **OPEN_TO_ALL)
    log = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE})] * 15, lies=False)
    before, after = run(log, settings), run([*log, reopen()], settings)
    assert wealth(after) == wealth(before) > 3.0
    assert after.events("alignment")[-1].after.raw == wealth(before)


def test_a_reopening_needs_a_reason() -> None:
    """Without one the command is a dead letter and nothing changes."""
    settings = settings_with(budget="raw", budget_start=3.0, **OPEN_TO_ALL)
    refused = run([*SPENT, reopen(reason="")], settings)
    assert refused.reasons()[-1] == "undecodable"
    assert refused.rows == run(SPENT, settings).rows
