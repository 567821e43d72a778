"""What a command does, to a scope and to all: kill, freeze, shadow, resume, quarantine, release."""

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.deciding.rows import GlobalRow, ScopeRow, SourceRow
from agents.state import row_key
from schemas.events import Answer, Cleared, Command, Control, Decision, Life, Outcome, Reason, Status, Verdict
from schemas.settings import ScopeSettings, Settings
from tests.deciding.logs import (
    DEFAULT,
    MINUTE_MS,
    START_MS,
    Entry,
    Folded,
    busy_log,
    entry,
    feedback,
    heartbeat,
    run,
    scenario,
    settings_with,
)
from tests.deciding.told import LIAR, SETTINGS, Told, classes, close_to, coins, log_of, scores, told_logs

SHOWN = {Life.OPENED, Life.UPDATED}
SHADOWED = msgspec.structs.replace(DEFAULT, scopes={"shop": ScopeSettings(shadow=True)})


def command(kind: Command, scope: str | None = "shop", subject: str = "") -> Entry:
    """One control record."""
    return entry("control", Control(kind, START_MS, "ana", scope, subject))


def shown(folded: Folded, since: int = 0) -> list[str]:
    """The scopes in which something was opened or updated, from an output on."""
    late = Folded(folded.outputs[since:])
    return [event.scope for event in late.events("recommendation") if event.life in SHOWN]


@given(
    seed=st.integers(0, 2**32 - 1),
    place=st.integers(0, 350),
    scope=st.sampled_from(["shop", "bank", None]),
    cuts=st.sets(st.integers(0, 400)),
    shuffled=st.booleans(),
)
@hypothesis_settings(max_examples=40)
def test_nothing_is_shown_after_the_block_that_read_a_kill(
    seed: int, place: int, scope: str | None, cuts: set[int], *, shuffled: bool
) -> None:
    """However topics interleave and blocks are cut, no recommendation is opened or updated from a kill on, in its reach."""
    resume = f'"{Command.RESUME}"'.encode()
    log = [item for item in busy_log(seed) if item.topic != "control" or resume not in item.value]
    if shuffled:
        log = [log[index] for index in np.random.default_rng(seed).permutation(len(log))]
    folded = run([*log[:place], command(Command.KILL, scope)], cuts=cuts)
    before = len(folded.outputs)
    run(log[place:], cuts=cuts, onto=folded)
    assert not [name for name in shown(folded, before) if scope in {None, name}]


@pytest.mark.parametrize("how", ["setting", "scope", "all"])
def test_shadow_decides_everything_and_shows_nothing(how: str) -> None:
    """In shadow each scenario has the decision that it would have had, but withheld, with propensity 0, and no budget is held."""
    settings = SHADOWED if how == "setting" else DEFAULT
    start = [] if how == "setting" else [command(Command.SHADOW, "shop" if how == "scope" else None)]
    log = [entry("scenario", scenario(f"s{n}", n, entity=f"web-{n}", score=0.5 + 0.05 * n)) for n in range(40)]
    shadowed, open_ = run([*start, *log], settings), run(log)
    assert shown(shadowed) == []
    assert shadowed.row(ScopeRow, "shop").open == 0
    decisions, expected = shadowed.events("decision"), open_.events("decision")
    assert [(d.draw, d.threshold, d.confidence) for d in decisions] == [(d.draw, d.threshold, d.confidence) for d in expected]
    assert {d.propensity for d in decisions} == {0.0}
    reasons = {Reason.PASSED: Reason.SHADOW, Reason.BELOW_THRESHOLD: Reason.BELOW_THRESHOLD}
    assert [d.reason for d in decisions] == [reasons[d.reason] for d in expected]
    assert {d.status for d in decisions} == {Status.WITHHELD}
    assert len({d.reason for d in decisions}) == 2


@pytest.mark.parametrize("how", ["setting", "all"])
@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=10)
def test_a_shadow_shows_nothing_whatever_happens(how: str, seed: int) -> None:
    """In any log without `resume`, a scope in shadow from the start opens and updates nothing, and holds no unit of the budget."""
    settings = msgspec.structs.replace(DEFAULT, scopes=dict.fromkeys(("shop", "bank"), ScopeSettings(shadow=True)))
    log = [item for item in busy_log(seed) if item.topic != "control"]
    folded = run(log, settings, set()) if how == "setting" else run([command(Command.SHADOW, None), *log], cuts=set())
    assert shown(folded) == []
    assert [folded.row(ScopeRow, scope).open for scope in ("shop", "bank")] == [0, 0]


def test_what_was_open_before_a_shadow_goes_on_with_its_life() -> None:
    """An open recommendation is answered, cleared, expired in shadow; its repeat is a decision of its own, and no update."""
    start = [
        entry("scenario", scenario("a", 0, score=9.0)),
        entry("scenario", scenario("b", 0, entity="web-2", score=9.0)),
        command(Command.SHADOW),
        entry("scenario", scenario("again", 5, score=9.0)),
        entry("feedback", feedback("a", Answer.LIKE, 5)),
        entry("scenario", Cleared("c", "shop", "web-2", START_MS + 9 * MINUTE_MS, ())),
        entry("scenario", heartbeat(300)),
    ]
    folded = run(start)
    assert [event.life for event in folded.events("recommendation")] == [*[Life.OPENED] * 2, Life.ANSWERED, Life.CLEARED, Life.EXPIRED]
    assert [decision.reason for decision in folded.events("decision")] == [Reason.PASSED, Reason.PASSED, Reason.COOLDOWN]
    assert len(folded.events("judgement")) == 2
    assert folded.row(ScopeRow, "shop").open == 0


def test_what_would_have_been_surfaced_is_so_once_in_the_cooldown() -> None:
    """In shadow a fault that grows after it would have been surfaced is a repeat, as it would be outside."""
    log = [entry("scenario", scenario(name, minute, score=score)) for name, minute, score in (("a", 0, 9.0), ("b", 9, 19.0))]
    assert [decision.reason for decision in run(log, SHADOWED).events("decision")] == [Reason.SHADOW, Reason.COOLDOWN]


def test_an_outcome_tells_of_what_a_shadow_withheld() -> None:
    """An incident under a decision in shadow is a miss, and teaches its class."""
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    folded = run([entry("scenario", scenario("a", 0, score=9.0)), outcome], SHADOWED)
    total = folded.row(ScopeRow, "shop").total
    assert (total.reviewed, total.missed) == (1, 1)
    (judgement,) = folded.events("judgement")
    assert (judgement.reason, judgement.propensity, judgement.target) == (Reason.SHADOW, 0.0, 0.0)
    assert scores(folded)["shop|cpu:up|restart"][0] > 0


@pytest.mark.parametrize("kind", [Command.KILL, Command.SHADOW])
@pytest.mark.parametrize(
    ("reach", "resumed", "is_shown"), [("shop", "shop", True), (None, None, True), ("shop", None, False), (None, "shop", False)]
)
def test_resume_undoes_what_has_its_own_reach(kind: Command, reach: str | None, resumed: str | None, *, is_shown: bool) -> None:
    """A scope's own command is ended for the scope, one to all scopes for all; neither ends the other."""
    log = [command(kind, reach), command(Command.RESUME, resumed), entry("scenario", scenario("a", 0, score=9.0))]
    assert bool(shown(run(log))) == is_shown


def test_resume_undoes_freeze_too() -> None:
    """After freeze and resume answers move their class as without."""
    told = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE})], lies=False)
    frozen, resumed = (run([command(Command.FREEZE), *more, *told]) for more in ([], [command(Command.RESUME)]))
    assert scores(resumed) == scores(run(told))
    assert scores(frozen) != scores(resumed)


@pytest.mark.parametrize("reach", ["shop", None])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(told=told_logs)
@hypothesis_settings(max_examples=15)
def test_a_quarantined_source_decides_nothing(settings: Settings, reach: str | None, told: list[Told]) -> None:
    """What a source in quarantine says ends in the scores, coins, arms, table, counts and trusted budget of the log without it."""
    quarantine = command(Command.QUARANTINE, reach, LIAR)
    silenced, honest = (run([quarantine, *log_of(told, lies=lies)], settings, set()) for lies in (True, False))
    assert scores(silenced) == scores(honest)
    assert {name: row.by_source for name, row in classes(silenced).items()} == {n: row.by_source for n, row in classes(honest).items()}
    for name in ("ana", "ben", "cho"):
        assert coins(silenced, name) == coins(honest, name)
    if row_key(SourceRow, "shop", LIAR) in silenced.rows:
        source = silenced.row(SourceRow, "shop", LIAR)
        assert (source.wanted, source.unwanted, source.answered, source.overridden, source.earned) == (5.0, 5.0, 0, 0, 0.0)
    rows = [folded.row(ScopeRow, "shop") for folded in (silenced, honest)]
    assert [rows[0].earned_trusted, rows[0].table, rows[0].total] == [rows[1].earned_trusted, rows[1].table, rows[1].total]
    lies = [answer for judgement in silenced.events("judgement") for answer in judgement.answers if answer.source == LIAR]
    assert {(answer.weight, answer.moved, answer.counted, answer.sequence) for answer in lies} <= {(0.0, 0.0, 0.0, 0)}
    # The raw budget asks for no trust: every override is in it, and a decision counts once.
    for row, with_lies in zip(rows, (True, False), strict=True):
        said = [Counter([*each.answers.values(), each.lie if with_lies else None]) for each in told]
        heard = [(each[Answer.LIKE], each[Answer.OVERRIDE]) for each in said if each[Answer.LIKE] + each[Answer.OVERRIDE]]
        assert (row.answered, row.overridden) == (len(heard), sum(overrides >= likes for likes, overrides in heard))


def test_a_decision_that_only_a_quarantined_source_answered_is_neither_answered_nor_skipped() -> None:
    """It closes by its answer, weighs nothing, and counts as surfaced alone."""
    log = [command(Command.QUARANTINE, "shop", LIAR), *log_of([Told("cpu:up", 1.6, {LIAR: Answer.OVERRIDE})], lies=False)]
    folded = run(log, SETTINGS["pull"])
    (judgement,) = folded.events("judgement")
    assert (judgement.closed_by, judgement.weight, judgement.target) == ("answer", 0.0, None)
    total = folded.row(ScopeRow, "shop").total
    assert (total.surfaced, total.answered, total.skipped, total.override, total.overridden) == (1, 0, 0, 0, 0)
    assert scores(folded)["shop|cpu:up|restart"][-2:] == [0.0, 0.0]


@pytest.mark.parametrize("reach", ["shop", None])
def test_a_quarantine_ends_what_a_source_adds_to_the_budget_and_release_lets_it_be_heard_again(reach: str | None) -> None:
    """While in quarantine a source adds nothing to the trusted budget; after the release it is heard, and what it said before counts."""
    told = [Told("cpu:up", 1.6, {"ana": Answer.LIKE}, Answer.LIKE)] * 3
    log = log_of(told, lies=True)
    before = run(log, SETTINGS["default"])
    quarantined = run([*log, command(Command.QUARANTINE, reach, LIAR)], SETTINGS["default"])
    released = run([*log, command(Command.QUARANTINE, reach, LIAR), command(Command.RELEASE, reach, LIAR)], SETTINGS["default"])
    assert quarantined.row(SourceRow, "shop", LIAR).earned == 0 != before.row(SourceRow, "shop", LIAR).earned
    earned = [folded.row(ScopeRow, "shop").earned_trusted for folded in (before, quarantined, released)]
    assert earned[1] == pytest.approx(earned[0] - before.row(SourceRow, "shop", LIAR).earned)
    assert earned[2] == pytest.approx(earned[0])
    assert scores(quarantined) == scores(before)
    again = [entry("scenario", scenario("z", 99, entity="z")), entry("feedback", feedback("z", Answer.LIKE, 99, operator=LIAR))]
    again.append(entry("scenario", heartbeat(120)))
    assert run(again, SETTINGS["default"], onto=quarantined).events("judgement")[-1].answers[0].sequence == 0
    assert run(again, SETTINGS["default"], onto=released).events("judgement")[-1].answers[0].sequence > 0


@given(told=told_logs)
@hypothesis_settings(max_examples=15)
def test_a_revoked_source_that_is_released_starts_anew(told: list[Told]) -> None:
    """After revoke and release the source is heard as one that has never answered before."""
    end = [entry("scenario", scenario("z", 990, entity="z")), entry("feedback", feedback("z", Answer.OVERRIDE, 990, operator=LIAR))]
    end.append(entry("scenario", heartbeat(999)))
    amnesty = [command(Command.REVOKE, "shop", LIAR), command(Command.RELEASE, "shop", LIAR)]
    released = run([*log_of(told, lies=True), *amnesty, *end], SETTINGS["default"])
    honest = run([*log_of(told, lies=False), *end], SETTINGS["default"])
    assert coins(released, LIAR) == pytest.approx(coins(honest, LIAR))
    assert scores(released) == close_to(scores(honest))
    source = released.row(SourceRow, "shop", LIAR)
    assert (source.answered, source.overridden) == (1, 1)


@pytest.mark.parametrize("kind", [Command.QUARANTINE, Command.RELEASE, Command.REVOKE])
@pytest.mark.parametrize("reach", ["shop", None])
def test_a_command_about_a_source_needs_its_name(kind: Command, reach: str | None) -> None:
    """Without a subject it is a dead letter that says what to do, and no row changes; of an unknown source it is fine."""
    folded = run([command(kind, reach)])
    assert folded.reasons() == ["undecodable"]
    assert "subject" in dict(folded.outputs[0].headers)["npo_detail"].decode()
    assert folded.rows == {}
    assert run([command(kind, reach, "nobody-yet")]).reasons() == []


def test_a_global_quarantine_is_ended_by_a_global_release() -> None:
    """Names to all scopes are in the partition's row: a scope's release does not end them, and leaves no other behind."""
    start = [command(Command.QUARANTINE, None, name) for name in ("eve", "eve", "mal")]
    assert run([*start, command(Command.RELEASE, "shop", "eve")]).row(GlobalRow).quarantined == ["eve", "mal"]
    assert run([*start, command(Command.RELEASE, None, "eve")]).row(GlobalRow).quarantined == ["mal"]


@pytest.mark.parametrize("when", ["early", "afterwards"])
def test_a_quarantined_source_of_outcomes_tells_nothing(when: str) -> None:
    """Its verdicts are listed with weight 0, before the decision closes and after it: no score, no coin, no place in the table."""
    told = Told("cpu:up", 1.6, {"ana": Answer.LIKE})
    silenced, without = (
        run([command(Command.QUARANTINE, None, f"outcome:{when}"), *log_of([each], lies=False)])
        for each in (replace(told, **{when: Verdict.NONE}), told)  # type: ignore[arg-type]  # both fields take a verdict
    )
    assert scores(silenced) == scores(without)
    assert coins(silenced, "ana") == coins(without, "ana")
    assert silenced.row(ScopeRow, "shop").table == without.row(ScopeRow, "shop").table
    assert sorted(answer.weight for answer in silenced.events("judgement")[-1].answers) == [0.0, 1.0]


def test_trust_summaries_say_who_is_in_quarantine() -> None:
    """What is published of a source in quarantine has weight 0, by a command to its scope as by one to all."""
    for reach in ("shop", None):
        log = [
            *log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE, LIAR: Answer.LIKE})], lies=False),
            command(Command.QUARANTINE, reach, LIAR),
        ]
        folded = run([*log, entry("scenario", scenario("z", 99, entity="z"))], settings_with(window_scenarios=2))
        summary = next(event for event in folded.events("alignment") if type(event).__name__ == "TrustSummary")
        assert {source.source: (source.quarantined, source.weight > 0) for source in summary.sources} == {
            "ana": (False, True),
            LIAR: (True, False),
        }


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=15)
def test_judgements_tell_reason_window_and_shares(seed: int) -> None:
    """Each judgement has its decision's reason, the scope's window, and how many decisions by score came before it."""
    settings = settings_with(window_scenarios=7)
    log = busy_log(seed)
    folded = Folded()
    decided: dict[str, Decision] = {}
    for item in log:
        before = len(folded.outputs)
        run([item], settings, onto=folded)
        news = Folded(folded.outputs[before:])
        for judgement in news.events("judgement"):
            scope = [decision for decision in decided.values() if decision.scope == judgement.scope]
            by_score = [decision for decision in scope if decision.reason not in {Reason.COOLDOWN, Reason.POLICY}]
            surfaced = [decision for decision in by_score if decision.status == Status.SURFACED]
            assert judgement.reason == decided[judgement.decision].reason
            assert judgement.window == len(scope) // 7
            assert (judgement.scored_surfaced, judgement.scored_withheld) == (len(surfaced), len(by_score) - len(surfaced))
        decided |= {decision.id: decision for decision in news.events("decision")}
    assert row_key(ScopeRow, "shop") in folded.rows
