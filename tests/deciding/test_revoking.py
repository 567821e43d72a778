"""When a revocation takes effect: in quarantine at once, folded by each scope in a turn of its own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.deciding import refolding
from agents.deciding.rows import GlobalRow, OwedRow, ScopeRow, SourceRow
from agents.deciding.turn import Turn
from agents.state import row_key
from schemas.alignment import Alarm, SourceRevoked
from schemas.errors import RowError
from schemas.events import Answer, Command, Control
from tests.deciding.logs import START_MS, Entry, Folded, busy_log, entry, feedback, heartbeat, run, scenario
from tests.deciding.told import LIAR, classes, close_to, coins, scores

SCOPES = ("shop", "bank")
LOG = [item for item in busy_log(23) if item.topic not in {"control", "model"}]
LATE = 2_000


def revoke(scope: str | None = None, source: str = LIAR) -> Entry:
    """A revocation in one scope, or in all."""
    return entry("control", Control(Command.REVOKE, START_MS, "ana", scope, source))


def beat(scope: str, minute: int = LATE) -> Entry:
    """Telemetry time of one scope, after all else."""
    return entry("scenario", heartbeat(minute, scope), scope)


def revocations(folded: Folded) -> list[tuple[str, str]]:
    """Scope and source of each fold without a source, in order."""
    return [(event.scope, event.source) for event in folded.events("alignment") if isinstance(event, SourceRevoked)]


def test_a_global_revocation_silences_at_once_and_each_scope_folds_at_its_next_record() -> None:
    """The command itself ends what the source adds to every budget and folds nothing; each scope's next record folds that scope."""
    before = run(LOG, cuts=set())
    told = {scope: scores(before, scope) for scope in SCOPES}
    folded = run([revoke()], onto=before)
    assert folded.row(GlobalRow).quarantined == [LIAR]
    assert [folded.row(SourceRow, scope, LIAR).earned for scope in SCOPES] == [0.0, 0.0]
    assert {scope: scores(folded, scope) for scope in SCOPES} == told
    run([beat("bank")], onto=folded)
    assert revocations(folded) == [("bank", LIAR)]
    assert scores(folded, "shop") == told["shop"]
    run([beat("shop"), beat("bank"), beat("shop")], onto=folded)
    assert revocations(folded) == [("bank", LIAR), ("shop", LIAR)]
    assert len({event.id for event in folded.events("alignment")}) == len(folded.events("alignment"))
    alone = run([*LOG, *map(revoke, SCOPES), *map(beat, SCOPES)], cuts=set())
    for scope in SCOPES:
        assert scores(folded, scope) == close_to(scores(alone, scope))
        assert scores(folded, scope) != close_to(told[scope])
        assert not any(row.by_source.get(LIAR) for row in classes(folded, scope).values())
    assert coins(folded, "ana") == pytest.approx(coins(alone, "ana"))


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.sets(st.integers(0, 400)),
    paid=st.integers(1, 5),
    places=st.lists(st.integers(0, 350), max_size=6),
)
@hypothesis_settings(max_examples=12)
def test_folds_that_wait_are_blind_to_blocks(seed: int, cuts: set[int], paid: int, places: list[int]) -> None:
    """With folds that owe for many records, any cut gives the same bytes, and in the end every revocation has been folded."""
    log = [*(beat(scope, 0) for scope in SCOPES), *busy_log(seed)]
    for number, place in enumerate(sorted(places)):
        log.insert(2 + place, revoke(source=("ana", "ben", LIAR)[number % 3]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refolding, "PAID_PER_RECORD", paid)
        whole, cut, single = run(log, cuts=set()), run(log, cuts=cuts), run(log, cuts=None)
        strip = [output._replace(ordinal=0) for output in whole.outputs]
        for other in (cut, single):
            assert [output._replace(ordinal=0) for output in other.outputs] == strip
            assert other.rows == whole.rows
        run([beat(scope, LATE + minute) for minute in range(600) for scope in SCOPES], cuts=set(), onto=whole)
    assert row_key(OwedRow) not in whole.rows
    assert [whole.row(ScopeRow, scope).revoked for scope in SCOPES] == [[], []]
    for source in {("ana", "ben", LIAR)[number % 3] for number in range(len(places))}:
        assert ("shop", source) in revocations(whole)


def test_a_fold_is_paid_for_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fold of n kept judgements the partition makes none until n / PAID_PER_RECORD records, that of the fold included."""
    before = run([*LOG, *map(beat, SCOPES)], cuts=set())
    kept = sum(min(row.kept, 128) for row in classes(before, "shop").values())
    assert kept > 6
    monkeypatch.setattr(refolding, "PAID_PER_RECORD", 2)
    run([revoke(), beat("shop")], onto=before)
    assert revocations(before) == [("shop", LIAR)]
    needed = -(-kept // 2)
    run([beat("bank")] * (needed - 1), onto=before)
    assert revocations(before) == [("shop", LIAR)]
    run([beat("bank")], onto=before)
    assert revocations(before) == [("shop", LIAR), ("bank", LIAR)]


def test_a_dead_letter_neither_makes_a_fold_nor_undoes_it() -> None:
    """Records that are refused leave a fold waiting, however many; the first that is handled makes it, once."""
    refused = entry("feedback", feedback("unknown", Answer.LIKE, LATE))
    waiting = run([*LOG, revoke(), refused, refused], cuts=set())
    assert waiting.reasons()[-2:] == ["unknown_decision"] * 2
    assert (revocations(waiting), waiting.row(ScopeRow, "shop").revoked) == ([], [LIAR])
    run([beat("shop"), refused, beat("shop")], cuts=set(), onto=waiting)
    assert (revocations(waiting), waiting.row(ScopeRow, "shop").revoked) == ([("shop", LIAR)], [])


def test_a_revocation_that_waits_is_noted_once_and_in_order() -> None:
    """The same command again before the fold adds nothing; another source follows with the record after."""
    folded = run([*LOG, revoke(), revoke(), revoke(source="ben"), beat("shop"), beat("shop"), beat("shop")], cuts=set())
    assert revocations(folded) == [("shop", LIAR), ("shop", "ben")]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding the bank breaks, after all of it has been changed."""
    fold = refolding.fold_without

    def fold_or_break(turn: Turn, *how: Any) -> Any:  # noqa: ANN401  # as refolding has it
        folded = fold(turn, *how)
        if turn.scope == "bank":
            raise ZeroDivisionError("made up")
        return folded

    monkeypatch.setattr(refolding, "fold_without", fold_or_break)


@pytest.mark.usefixtures("breaking")
@pytest.mark.parametrize("reach", ["bank", None])
def test_a_scope_that_cannot_be_folded_keeps_its_quarantine_and_its_scores(reach: str | None) -> None:
    """One alarm, no dead letter, nothing of the fold stays; the record is handled, the source silent, and the others are folded."""
    before = run(LOG, cuts=set())
    reasons = before.reasons()
    folded = run([revoke(reach), beat("bank"), beat("shop"), beat("bank", LATE + 1)], cuts=set(), onto=before)
    assert folded.reasons() == reasons
    (alarm,) = [event for event in folded.events("alignment") if isinstance(event, Alarm) and event.name == "revocation_failed"]
    assert (alarm.scope, alarm.raised) == ("bank", True)
    assert LIAR in alarm.detail
    assert "ZeroDivisionError: made up" in alarm.detail
    assert revocations(folded) == ([("shop", LIAR)] if reach is None else [])
    row = folded.row(ScopeRow, "bank")
    assert LIAR in (folded.row(GlobalRow).quarantined if reach is None else row.quarantined)
    assert (row.revoked, row.clock_ms) == ([], START_MS + (LATE + 1) * 60_000)
    assert folded.row(SourceRow, "bank", LIAR).earned == 0.0
    quarantine = entry("control", Control(Command.QUARANTINE, START_MS, "ana", reach, LIAR))
    assert scores(folded, "bank") == scores(run([*LOG, quarantine, beat("bank")], cuts=set()), "bank")


@pytest.mark.usefixtures("breaking")
def test_what_a_record_wrote_stays_where_the_fold_after_it_breaks() -> None:
    """A scenario at whose end the fold breaks is decided as any other."""
    event = scenario("z", LATE, entity="z", scope="bank")
    folded = run([*LOG, revoke(), entry("scenario", event, "bank")], cuts=set())
    assert folded.events("decision")[-1].scenario == "z"
    assert folded.events("alignment")[-1].name == "revocation_failed"


def test_state_that_cannot_be_read_stops_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that cannot be read while a scope folds is no fault of the scope."""

    def unreadable(*_: Any) -> None:  # noqa: ANN401  # as refolding has it
        raise RowError("made up")

    monkeypatch.setattr(refolding, "fold_without", unreadable)
    with pytest.raises(RowError):
        run([*LOG, revoke("shop")], cuts=set())
