"""What becomes of an answer, an outcome, a repeat, a command: one defined result each."""

import msgspec
import pytest

from agents import scoring
from agents.deciding import learner, learning
from agents.deciding.rows import ClassRow, DecisionRow, GlobalRow, ScopeRow, SourceRow, SourcesRow
from agents.deciding.turn import OTHERS, SOURCES_MAX
from agents.state import row_key
from schemas.events import Answer, Cleared, Command, Control, Life, Model, Outcome, Reason, Status, Verdict
from schemas.settings import Policy, Rule, ScopeSettings
from tests.deciding.logs import (
    DEFAULT,
    MINUTE_MS,
    START_MS,
    Entry,
    Folded,
    busy_log,
    decision_of,
    entry,
    feedback,
    heartbeat,
    run,
    scenario,
    settings_with,
)

OPEN = [entry("scenario", scenario("a", 0, score=9.0))]
CLASS = "shop|cpu:up|restart"


def class_of(folded: Folded, name: str = CLASS) -> ClassRow:
    """The row of a class, a fresh one where there is none."""
    value = folded.rows.get(row_key(ClassRow, "shop", name))
    return msgspec.msgpack.decode(value, type=ClassRow) if value else ClassRow()


def lives(folded: Folded) -> list[str]:
    """The lives on the recommendation topic, in order."""
    return [event.life for event in folded.events("recommendation")]


def test_a_scenario_that_passes_is_opened_and_one_that_does_not_is_withheld() -> None:
    """Every scenario has a decision; only what passes has a recommendation."""
    folded = run([*OPEN, entry("scenario", scenario("b", 1, entity="web-2", score=0.51))])
    assert [decision.status for decision in folded.events("decision")] == [Status.SURFACED, Status.WITHHELD]
    assert lives(folded) == [Life.OPENED]


def test_an_answer_is_applied_once_it_has_stood_for_the_undo_window() -> None:
    """Before the undo window ends nothing moves; after it the judgement lists the answer and the class has moved."""
    log = [*OPEN, entry("scenario", heartbeat(3)), entry("feedback", feedback("a", Answer.OVERRIDE, 3))]
    waiting = run([*log, entry("scenario", heartbeat(4))])
    assert waiting.events("judgement") == []
    closed = run([*log, entry("scenario", heartbeat(5))])
    (judgement,) = closed.events("judgement")
    assert (judgement.target, judgement.closed_by, judgement.time_ms) == (1.0, "answer", START_MS + 5 * MINUTE_MS)
    assert class_of(closed).offset < class_of(waiting).offset


def test_a_repeated_answer_changes_nothing() -> None:
    """The same answer delivered twice leaves the same rows as once."""
    answer = entry("feedback", feedback("a", Answer.LIKE, 3))
    once = run([*OPEN, answer, entry("scenario", heartbeat(10))])
    twice = run([*OPEN, answer, answer, entry("scenario", heartbeat(10)), answer])
    assert twice.rows == once.rows


def test_a_change_of_mind_replaces_the_answer() -> None:
    """The highest revision of an operator stands; an older one that comes later is overtaken."""
    log = [*OPEN, entry("scenario", heartbeat(1)), entry("feedback", feedback("a", Answer.LIKE, 1))]
    log += [entry("feedback", feedback("a", Answer.OVERRIDE, 1, revision=3)), entry("feedback", feedback("a", Answer.LIKE, 1, revision=2))]
    (judgement,) = run([*log, entry("scenario", heartbeat(9))]).events("judgement")
    assert [answer.kind for answer in judgement.answers] == [Answer.OVERRIDE]


def test_a_retracted_answer_leaves_the_decision_open() -> None:
    """After a retraction nothing stands, and the decision expires at its deadline as skipped."""
    log = [*OPEN, entry("feedback", feedback("a", Answer.OVERRIDE, 1)), entry("feedback", feedback("a", Answer.RETRACT, 1, revision=2))]
    folded = run([*log, entry("scenario", heartbeat(239)), entry("scenario", heartbeat(240))])
    (judgement,) = folded.events("judgement")
    assert (judgement.closed_by, judgement.target, judgement.answers) == ("silence", None, ())
    assert lives(folded)[-1] == Life.EXPIRED


def test_one_revision_with_two_contents_is_a_contradiction() -> None:
    """The first content of a revision stands; the second goes to the dead-letter topic."""
    log = [*OPEN, entry("feedback", feedback("a", Answer.LIKE, 1)), entry("feedback", feedback("a", Answer.OVERRIDE, 1))]
    folded = run([*log, entry("scenario", heartbeat(9))])
    assert folded.reasons() == ["contradictory_revision"]
    assert folded.events("judgement")[0].target == 0.0


def test_two_operators_that_disagree_both_stand() -> None:
    """Opposed answers of two operators are both in the judgement, and the decision counts as overridden."""
    log = [*OPEN, entry("feedback", feedback("a", Answer.LIKE, 1)), entry("feedback", feedback("a", Answer.OVERRIDE, 1, operator="ben"))]
    (judgement,) = run([*log, entry("scenario", heartbeat(9))]).events("judgement")
    assert [(answer.source, answer.target) for answer in judgement.answers] == [("ana", 0.0), ("ben", 1.0)]
    assert judgement.target == pytest.approx(0.5)


def test_a_late_answer_counts_for_trust_only() -> None:
    """An answer after the deadline moves its source's coins, and neither class nor budget."""
    log = [*OPEN, entry("scenario", heartbeat(300))]
    before, after = run(log), run([*log, entry("feedback", feedback("a", Answer.OVERRIDE, 290))])
    assert msgspec.structs.replace(class_of(after), kept=0) == class_of(before)
    source = msgspec.msgpack.decode(after.rows[row_key(SourceRow, "shop", "ana")], type=SourceRow)
    assert source.answered == 0
    assert source.wanted + source.unwanted == pytest.approx(11)
    assert after.events("recommendation")[-1].late


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (entry("feedback", feedback("nobody", Answer.LIKE, 1)), "unknown_decision"),
        (entry("feedback", feedback("b", Answer.LIKE, 1)), "not_surfaced"),
        (entry("feedback", feedback("a", Answer.LIKE, 1, operator="outcome:made-up")), "undecodable"),
        (entry("feedback", feedback("a", Answer.LIKE, 1, operator=OTHERS)), "undecodable"),
        (Entry("feedback", b"shop", b"{}"), "undecodable"),
        (Entry("feedback", b"", entry("feedback", feedback("a", Answer.LIKE, 1)).value), "undecodable"),
        (Entry("feedback", b"shop", entry("feedback", feedback("a", Answer.LIKE, 1)).value, START_MS - 2 * 60 * MINUTE_MS), "future_time"),
        (entry("outcome", Outcome("web-1", START_MS, START_MS, Verdict.NONE, START_MS)), "undecodable"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter_and_its_neighbours_go_on(answer: Entry, reason: str) -> None:
    """A record that cannot be used is kept with its reason, unchanged, and touches nothing."""
    start = [*OPEN, entry("scenario", scenario("b", 1, entity="web-2", score=0.51))]
    good = entry("feedback", feedback("a", Answer.LIKE, 1))
    with_poison, without = run([*start, answer, good], cuts=set()), run([*start, good], cuts=set())
    assert with_poison.reasons() == [reason]
    (letter,) = [output for output in with_poison.outputs if output.topic.endswith(".dlq")]
    assert letter.value == answer.value
    assert with_poison.rows == without.rows


def test_a_scope_in_the_wrong_partition_is_a_dead_letter() -> None:
    """A record under a key of another partition says so, instead of being an answer to an unknown decision."""
    folded = run([*OPEN, entry("feedback", feedback("a", Answer.LIKE, 1), "bank")], partitions=64)
    assert folded.reasons() == ["wrong_partition"] * 2


def test_a_repeat_of_an_open_decision_updates_it() -> None:
    """A repeat of the same entity and class writes `updated`: no decision, no draw, no count."""
    folded = run([*OPEN, entry("scenario", scenario("again", 30, score=12.0))])
    assert lives(folded) == [Life.OPENED, Life.UPDATED]
    assert len(folded.events("decision")) == 1
    assert folded.events("recommendation")[-1].repeats == 1


def test_a_repeat_within_the_cooldown_is_withheld() -> None:
    """After an entity has cleared, a repeat within the cooldown is withheld for that reason, one after it is not."""
    clear = entry("scenario", Cleared("c", "shop", "web-1", START_MS + MINUTE_MS, ()))
    log = [*OPEN, clear, entry("scenario", scenario("again", 59, score=9.0)), entry("scenario", scenario("later", 60, score=9.0))]
    assert [decision.reason for decision in run(log).events("decision")] == [Reason.PASSED, Reason.COOLDOWN, Reason.PASSED]


def test_a_blocked_decision_touches_no_score_arm_or_budget() -> None:
    """With everything denied, answers and outcomes and scenarios leave classes, sources, arms and budget as they were."""
    denied = msgspec.structs.replace(DEFAULT, policy=Policy("deny", (Rule("all", "scenario.score >= 0.0"),)))
    folded = run(busy_log(5), denied, set())
    assert {decision.status for decision in folded.events("decision")} == {Status.BLOCKED}
    assert not [key for key in folded.rows if key.startswith((b"class\x1f", b"source\x1f"))]
    for name in ("shop", "bank"):
        scope = msgspec.msgpack.decode(folded.rows[row_key(ScopeRow, name)], type=ScopeRow)
        fresh = ScopeRow()
        assert (scope.arm_likes, scope.arm_overrides, scope.table) == (fresh.arm_likes, fresh.arm_overrides, fresh.table)
        assert (scope.open, scope.earned_trusted, scope.answered, scope.overridden) == (0, 0.0, 0, 0)


def test_what_the_policy_cannot_judge_is_denied() -> None:
    """A scenario with a fact that is no number is blocked, with the error in its verdict."""
    broken = msgspec.structs.replace(scenario("a", 0), score=9.0, peers_seen=2**70)
    (decision,) = run([entry("scenario", broken)]).events("decision") or [None]
    assert decision is not None
    assert (decision.status, decision.verdict.allowed) == (Status.BLOCKED, False)
    assert decision.verdict.error


@pytest.mark.parametrize("scope", ["shop", None])
def test_kill_stops_recommendations_at_once(scope: str | None) -> None:
    """After the block that read a kill nothing is surfaced or updated, until resume."""
    start = [*OPEN, entry("control", Control(Command.KILL, START_MS, "ana", scope=scope))]
    killed = [*start, entry("scenario", scenario("again", 9, score=9.0)), entry("scenario", scenario("b", 9, entity="web-2", score=9.0))]
    folded = run(killed)
    assert lives(folded) == [Life.OPENED]
    assert [decision.status for decision in folded.events("decision")[1:]] == [Status.BLOCKED] * 2
    resumed = [*killed, entry("control", Control(Command.RESUME, START_MS, "ana", scope=scope))]
    assert lives(run([*resumed, entry("scenario", scenario("c", 10, entity="web-3", score=9.0))])) == [Life.OPENED] * 2


@pytest.mark.parametrize("how", ["freeze", "setting"])
def test_what_does_not_learn_counts_and_moves_nothing(how: str) -> None:
    """With learning frozen or off, classes and sources stay at their prior while the window counts the answers."""
    settings = (
        DEFAULT
        if how == "freeze"
        else msgspec.structs.replace(DEFAULT, scopes=dict.fromkeys(("shop", "bank"), ScopeSettings(learning=False)))
    )
    log = [item for item in busy_log(5) if item.topic != "control"]
    folded = run([entry("control", Control(Command.FREEZE, START_MS, "ana")), *log] if how == "freeze" else log, settings, set())
    classes = [msgspec.msgpack.decode(value, type=ClassRow) for key, value in folded.rows.items() if key.startswith(b"class\x1f")]
    assert {(row.offset, row.information) for row in classes} == {(0.0, 0.25)}
    assert sum(row.likes + row.overrides for row in classes) > 10
    sources = [msgspec.msgpack.decode(value, type=SourceRow) for key, value in folded.rows.items() if key.startswith(b"source\x1f")]
    assert {source.wanted + source.unwanted for source in sources} == {10.0}
    # A freeze stops learning and not the budget: what was surfaced meanwhile was surfaced.
    assert (sum(source.answered for source in sources) > 0) == (how == "freeze")


def test_an_outcome_moves_every_decision_of_its_interval() -> None:
    """Surfaced and withheld decisions inside [start, end) are told, those outside are not, and a second verdict changes nothing."""
    log = [
        *OPEN,
        entry("scenario", scenario("b", 5, label="disk:up", score=0.51)),
        entry("scenario", scenario("c", 20, label="net:up", score=0.51)),
    ]
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + 20 * MINUTE_MS, Verdict.INCIDENT, START_MS + 30 * MINUTE_MS))
    other = entry("outcome", Outcome("web-1", START_MS, START_MS + 20 * MINUTE_MS, Verdict.NONE, START_MS + 31 * MINUTE_MS))
    folded, twice = run([*log, outcome]), run([*log, outcome, other])
    assert class_of(folded, "shop|disk:up|restart").outcomes == class_of(folded).outcomes == 1
    assert class_of(folded, "shop|net:up|restart").outcomes == 0
    assert class_of(folded).offset > 0
    assert twice.rows == folded.rows


def test_an_outcome_after_closing_revises_the_judgement() -> None:
    """An outcome on a closed decision writes the next revision, with every answer listed, and tells the coins of who answered."""
    log = [*OPEN, entry("feedback", feedback("a", Answer.LIKE, 1)), entry("scenario", heartbeat(30))]
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS + 30 * MINUTE_MS))
    first, second = run([*log, outcome]).events("judgement")
    assert (first.revision, second.revision) == (1, 2)
    assert [answer.source for answer in second.answers] == ["ana", "outcome:outcome"]
    source = msgspec.msgpack.decode(run([*log, outcome]).rows[row_key(SourceRow, "shop", "ana")], type=SourceRow)
    assert source.wanted > 10


def test_the_order_of_answer_and_outcome_does_not_change_trust() -> None:
    """An outcome before the answer closes counts for its source's coins like one after it."""
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    answer = entry("feedback", feedback("a", Answer.OVERRIDE, 1))
    for log in ([*OPEN, outcome, answer, entry("scenario", heartbeat(9))], [*OPEN, answer, entry("scenario", heartbeat(9)), outcome]):
        source = msgspec.msgpack.decode(run(log).rows[row_key(SourceRow, "shop", "ana")], type=SourceRow)
        assert source.wanted + source.unwanted == pytest.approx(16)


def test_the_budget_closes_and_explores_openly() -> None:
    """Without wealth nothing is surfaced but about 1 % with its propensity, and an alarm says so once."""
    settings = settings_with(budget="raw", budget_start=1.0, override_rate=0.0)
    log = [entry("scenario", scenario(f"s{n}", n, entity=f"web-{n}", score=9.0)) for n in range(1500)]
    folded = run([log[0], *log], settings, set())
    decisions = folded.events("decision")
    assert decisions[0].reason == Reason.PASSED
    explored = [decision for decision in decisions if decision.reason == Reason.EXPLORATION]
    withheld = [decision for decision in decisions if decision.reason == Reason.BUDGET]
    assert 4 <= len(explored) <= 35
    assert {decision.propensity for decision in explored + withheld} == {0.01}
    assert folded.events("alignment")[0].name == "override_budget"
    # What was explored held no unit, so its end gives none back.
    assert run([entry("scenario", heartbeat(1500 + 240))], settings, onto=folded).row(ScopeRow, "shop").open == 0


def test_silence_pulls_no_logit() -> None:
    """With the `logit` score skipped and neutral leave the class alone, whatever the profile says of silence."""
    settings = settings_with(silence="pull")
    log = [*OPEN, entry("feedback", feedback("a", Answer.NEUTRAL, 1)), entry("scenario", scenario("b", 20, entity="web-2", score=9.0))]
    folded = run([*log, entry("scenario", heartbeat(300))], settings)
    assert [(judgement.closed_by, judgement.target) for judgement in folded.events("judgement")] == [("answer", None), ("silence", None)]
    assert class_of(folded).offset == 0
    assert folded.reasons() == []


def test_a_model_is_taken_up_at_its_position() -> None:
    """Decisions before a model record use the former model, those after it the new one, and say which."""
    model = entry("model", Model("m2", "shop", START_MS, -30.0, {"share_high": 2.0}))
    before, after = run([*OPEN, model, entry("scenario", scenario("b", 1, entity="web-2", score=9.0))]).events("decision")
    assert (before.versions["model"], after.versions["model"]) == ("initial", "m2")
    assert after.contributions == {"share_high": 0.5}
    assert after.model_output == pytest.approx(-29.5)


def test_what_nothing_can_reach_any_more_is_forgotten() -> None:
    """Seven days after a decision its rows are gone, so state is bounded by the rate of decisions."""
    log = busy_log(11)
    folded = run([*log, *(entry("scenario", heartbeat(60 * 24 * 12, scope), scope) for scope in ("shop", "bank"))], cuts=set())
    assert not [key for key in folded.rows if key.startswith((b"decision", b"entity", b"due"))]
    assert folded.rows.get(row_key(DecisionRow, "shop", decision_of("s0"))) is None
    assert row_key(GlobalRow) in folded.rows


def test_windows_publish_what_was_counted() -> None:
    """Every full window publishes loss, totals, threshold table and trust, and their counts add up."""
    folded = run(busy_log(13, scenarios=200), settings_with(window_scenarios=20), set())
    windows = [event for event in folded.events("alignment") if type(event).__name__ == "LossWindow"]
    for window in windows:
        assert window.scenarios == window.surfaced + window.withheld + window.blocked
        assert window.loss_low <= (window.loss if window.loss is not None else window.loss_low) <= window.loss_high
    closed = [window for window in windows if window.window >= 0 and window.scope == "shop"]
    assert [window.window for window in closed] == list(range(len(closed)))
    totals = [window for window in windows if window.window < 0 and window.scope == "shop"]
    assert totals[-1].scenarios == sum(window.scenarios for window in closed)


def test_a_reward_is_counted_once() -> None:
    """An outcome delivered twice adds its reward once."""
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS, reward_minutes=7.0))
    scope = msgspec.msgpack.decode(run([outcome, outcome]).rows[row_key(ScopeRow, "shop")], type=ScopeRow)
    assert scope.total.reward_minutes == pytest.approx(7.0)


def test_a_fault_that_builds_up_is_looked_at_again() -> None:
    """Within the cooldown what was withheld is judged again once it is more confident, and not before."""
    weak, same, strong = (
        entry("scenario", scenario(name, minute, score=score)) for name, minute, score in (("a", 0, 0.6), ("b", 5, 0.6), ("c", 9, 9.0))
    )
    assert [decision.reason for decision in run([weak, same, strong]).events("decision")] == [
        Reason.BELOW_THRESHOLD,
        Reason.COOLDOWN,
        Reason.PASSED,
    ]


def test_a_scenario_delivered_twice_is_decided_once() -> None:
    """The same scenario again changes no row and writes nothing."""
    once, twice = run(OPEN), run([*OPEN, *OPEN])
    assert (twice.rows, len(twice.outputs)) == (once.rows, len(once.outputs))


def test_an_update_needs_the_policy_too() -> None:
    """A repeat that the policy no longer allows is blocked, and no update of the open recommendation."""
    policy = Policy("peers", (Rule("peers", "scenario.peers_alike > 5"),))
    repeat = msgspec.structs.replace(scenario("again", 9, score=9.0), peers_alike=6)
    folded = run([*OPEN, entry("scenario", repeat)], msgspec.structs.replace(DEFAULT, policy=policy))
    assert lives(folded) == [Life.OPENED]
    assert folded.events("decision")[-1].status == Status.BLOCKED


def test_a_late_answer_counts_once_for_trust_in_either_order_with_an_outcome() -> None:
    """Revisions of a late answer add nothing, and late answer and outcome commute."""
    start = [*OPEN, entry("scenario", heartbeat(300))]
    late = [entry("feedback", feedback("a", Answer.LIKE, 290, operator="eve", revision=revision)) for revision in range(1, 30)]
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    for log in ([*start, *late, outcome], [*start, outcome, *late]):
        source = msgspec.msgpack.decode(run(log).rows[row_key(SourceRow, "shop", "eve")], type=SourceRow)
        assert source.wanted + source.unwanted == pytest.approx(16)


def test_a_decision_is_known_once() -> None:
    """Three operators and an outcome make one known decision in the threshold table, never more than were surfaced."""
    log = [*OPEN, *(entry("feedback", feedback("a", Answer.LIKE, 1, operator=name)) for name in ("ana", "ben", "cho"))]
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    folded = run([*log, entry("scenario", heartbeat(9)), outcome])
    table = msgspec.msgpack.decode(folded.rows[row_key(ScopeRow, "shop")], type=ScopeRow).table
    assert [row[:2] for row in table] == [[1, 1]] * 5


def test_a_flood_of_accounts_is_bounded() -> None:
    """A decision takes a hundred answers, the rest are dead letters; made-up accounts beyond the limit share one row."""
    flood = [entry("feedback", feedback("a", Answer.LIKE, 1, operator=f"bot-{number}")) for number in range(130)]
    assert run([*OPEN, *flood], cuts=set()).reasons() == ["too_many_answers"] * 30
    full = msgspec.msgpack.encode(SourcesRow(names=[f"bot-{number}" for number in range(SOURCES_MAX)]))
    log = [*OPEN, entry("feedback", feedback("a", Answer.LIKE, 1, operator="one-more")), entry("scenario", heartbeat(9))]
    folded = run(log, onto=Folded(rows={row_key(SourcesRow, "shop"): full}))
    assert [key for key in folded.rows if key.startswith(b"source\x1f")] == [row_key(SourceRow, "shop", OTHERS)]


def test_a_flood_of_accounts_takes_no_known_ones_place() -> None:
    """Beyond the limit a name of the roster has a row and a count of its own, a source of outcomes a count; unknown ones share one."""
    bots = [f"bot-{number}" for number in range(SOURCES_MAX)]
    flooded = msgspec.structs.replace(learning.new_class(), by_source=dict.fromkeys(bots, 1))
    rows: dict[bytes, bytes] = {
        row_key(SourcesRow, "shop"): msgspec.msgpack.encode(SourcesRow(names=bots)),
        row_key(ClassRow, "shop", CLASS): msgspec.msgpack.encode(flooded),
    }
    log = [*OPEN, *(entry("feedback", feedback("a", Answer.LIKE, 1, operator=name)) for name in ("ana", "new", "newer"))]
    outcome = entry("outcome", Outcome("web-1", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    folded = run([*log, entry("scenario", heartbeat(9)), outcome], onto=Folded(rows=rows))
    assert folded.row(SourcesRow, "shop").names == [*bots, "ana", OTHERS]
    counted = {name: count for name, count in class_of(folded).by_source.items() if name not in set(bots)}
    assert counted == {"ana": 1, OTHERS: 2, "outcome:outcome": 1}


def told_of(source: int, minutes: int = 1) -> Entry:
    """An outcome of one of many sources, on what happened in the first minutes."""
    return entry(
        "outcome", Outcome("web-1", START_MS, START_MS + minutes * MINUTE_MS, Verdict.INCIDENT, START_MS, source=f"system-{source}")
    )


def test_outcomes_of_one_decision_are_bounded() -> None:
    """Sixteen sources tell of a decision; another is a dead letter, or applies to what else it reaches; repeats are nothing."""
    log = [*OPEN, entry("scenario", scenario("b", 2, label="disk:up", score=9.0)), *map(told_of, range(learner.OUTCOMES_MAX))]
    full, more = run(log, cuts=set()), run([*log, *map(told_of, range(learner.OUTCOMES_MAX + 4))], cuts=set())
    assert (full.reasons(), more.reasons()) == ([], ["too_many_answers"] * 4)
    assert more.rows == full.rows
    assert len(more.row(DecisionRow, "shop", decision_of("a")).judged) == learner.OUTCOMES_MAX
    wide = run([told_of(99, 9)] * 2, onto=full)
    assert wide.reasons() == []
    judged = [[judged.source for judged in wide.row(DecisionRow, "shop", decision_of(name)).judged] for name in "ab"]
    assert (len(judged[0]), judged[1]) == (learner.OUTCOMES_MAX, ["outcome:system-99"])


@pytest.mark.parametrize("kind", [Answer.LIKE, Answer.OVERRIDE])
def test_who_is_not_trusted_at_all_gives_no_verdict(kind: Answer) -> None:
    """What only a source of weight 0 answered is neither answered nor overridden in rates, table, teams; the raw budget has it."""
    liar = msgspec.msgpack.encode(SourceRow(likes=2.0, wanted=5.0, overrides=2.0, unwanted=5.0, team="sre"))
    rows = {row_key(SourceRow, "shop", "ana"): liar, row_key(SourcesRow, "shop"): msgspec.msgpack.encode(SourcesRow(names=["ana"]))}
    folded = run([*OPEN, entry("feedback", feedback("a", kind, 1)), entry("scenario", heartbeat(9))], onto=Folded(rows=rows))
    row = folded.row(ScopeRow, "shop")
    assert folded.events("judgement")[0].weight == 0
    assert (row.total.answered, row.total.overridden, row.total.skipped, row.total.teams) == (0, 0, 0, {})
    assert [counts[1:] for counts in row.table] == [[0, 0, 0]] * len(row.table)
    assert (row.answered, row.overridden) == (1, kind == Answer.OVERRIDE)


def test_a_name_cannot_reach_into_another_scope() -> None:
    """A decision's name with the separator of row keys is a dead letter."""
    answer = msgspec.structs.replace(feedback("a", Answer.LIKE, 1), decision="x\x1fy")
    assert run([entry("feedback", answer)]).reasons() == ["undecodable"]


def test_kept_judgements_fold_to_the_class_again() -> None:
    """The answers of a class, in the order of their sequence and with what counted of each, give its offset and information again."""
    log = [item for item in busy_log(17, answers=120) if item.topic not in {"control", "model"}]
    folded = run(log, settings_with(budget="off"), set())
    value = folded.rows[row_key(ClassRow, "shop", CLASS)]
    row = msgspec.msgpack.decode(value, type=ClassRow)
    latest = {judgement.decision: judgement for judgement in folded.events("judgement") if judgement.scenario_class == CLASS}
    answers = sorted(
        (
            (answer.sequence, judgement.model_output, answer)
            for judgement in latest.values()
            for answer in judgement.answers
            if answer.sequence
        ),
        key=lambda each: each[0],
    )
    assert [sequence for sequence, _, _ in answers] == list(range(1, row.answers + 1))
    state, drift = scoring.PRIOR_OFFSETS, scoring.Drift(0.0, 0.0)
    for _, model_output, answer in answers:
        channel, liked = scoring.Channel(answer.alpha, answer.beta), 1.0 - (answer.target or 0.0)
        wanted = scoring.confidence(model_output, state.offset)
        drift, state = scoring.forget(drift, scoring.update(state, liked, channel, wanted, answer.counted), liked, channel, wanted)
    assert (state.offset, state.information, state.draw_information) == (row.offset, row.information, row.draw_information)
