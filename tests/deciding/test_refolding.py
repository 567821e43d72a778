"""What was judged is folded again: under another model, and without a source that is revoked."""

import re
from dataclasses import replace
from math import isfinite

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.deciding import learning
from agents.deciding.rows import KeptRow, ScopeRow, SourceRow
from agents.state import read_row, row_key
from agents.trust import QUARANTINE_BOUND
from schemas import codecs
from schemas.alignment import ModelTaken, SourceRevoked
from schemas.events import MEASUREMENT_MAX, Answer, Command, Control, Model, Outcome, Verdict
from schemas.settings import ScopeSettings, Settings
from tests.deciding.logs import (
    DEFAULT,
    MINUTE_MS,
    PAPER_FIELDS,
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
from tests.deciding.told import IN_TIME, LIAR, SETTINGS, Told, classes, close_to, coins, disagreement, log_of, scores, told_logs

CLASS = "shop|cpu:up|restart"
OTHER = Model("m2", "shop", START_MS, -0.5, {"log_score": 1.0, "share_high": 3.0, "unknown": 9.0})
OTHER_ENTRY = entry("model", OTHER)
REVOKE = entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", LIAR))


def in_force(folded: Folded, scope: str, name: str) -> Entry:
    """A model record with the numbers of the model in force, under another name."""
    row = folded.row(ScopeRow, scope)
    return entry("model", Model(name, scope, START_MS, row.intercept, row.weights), scope)


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=25)
def test_the_same_model_again_changes_no_score(seed: int) -> None:
    """Folded again under the same numbers, every class is where it stood, whatever else the log held."""
    before = run(busy_log(seed), cuts=set())
    expected = {scope: scores(before, scope) for scope in ("shop", "bank")}
    assume(any(row.answers for scope in expected for row in classes(before, scope).values()))
    again = run([in_force(before, scope, "again") for scope in expected], onto=before)
    for scope, values in expected.items():
        assert scores(again, scope) == close_to(values)
        assert all(row.kept <= learning.KEPT_MAX for row in classes(again, scope).values())


@given(told=told_logs)
@hypothesis_settings(max_examples=40)
def test_a_model_taken_up_scores_as_if_it_had_been_there(told: list[Told]) -> None:
    """Without trust to remember the old model, answers folded again under a new one give what they give heard under it."""
    log, model = log_of(told, lies=True), entry("model", OTHER)
    settings = SETTINGS["no trust"]
    after, first = run([*log, model], settings, set()), run([model, *log], settings, set())
    assert scores(after) == close_to(scores(first))
    (taken,) = [event for event in after.events("alignment") if isinstance(event, ModelTaken)]
    heard = sum(row.answers for row in classes(after).values())
    assert (taken.model, taken.replaced, taken.classes, taken.answers) == ("m2", "initial", len(classes(after)), heard)


@pytest.mark.parametrize("profile", [PAPER_FIELDS, {"score": "mean"}])
def test_a_model_moves_no_mean(profile: dict[str, object]) -> None:
    """Where the score is a mean, a model is taken up and nothing is folded."""
    log = busy_log(19)
    before, after = run(log, settings_with(**profile), set()), run([*log, entry("model", OTHER)], settings_with(**profile), set())
    assert scores(after) == scores(before)
    taken = after.events("alignment")[-1]
    assert (taken.model, taken.classes, taken.answers) == ("m2", 0, 0)


def test_the_model_in_force_again_changes_nothing() -> None:
    """A record with the id and the numbers of the model in force writes nothing and changes no row."""
    log = [
        *log_of([Told("cpu:up", 1.0, {"ana": Answer.LIKE})], lies=False),
        entry("model", OTHER),
    ]
    once, twice = run(log), run([*log, entry("model", msgspec.structs.replace(OTHER, time_ms=START_MS + 5, by="ben"))])
    assert (twice.rows, len(twice.outputs)) == (once.rows, len(once.outputs))


def test_a_decision_closes_beside_the_model_in_force() -> None:
    """A decision of the former model moves its class by the output of the one in force when it closes."""
    start = [entry("scenario", scenario("a", 0, score=9.0)), entry("feedback", feedback("a", Answer.OVERRIDE, 0))]
    model, beat = entry("model", OTHER), entry("scenario", heartbeat(9))
    between, after = run([*start, model, beat]), run([*start, beat, model])
    assert scores(between) == close_to(scores(after))


def test_a_given_model_is_taken_up_where_nothing_is_learned() -> None:
    """With learning off by setting or frozen, a model that a person gives decides from its position on."""
    off = msgspec.structs.replace(DEFAULT, scopes={"shop": ScopeSettings(learning=False)})
    freeze = entry("control", Control(Command.FREEZE, START_MS, "ana"))
    log = [entry("model", OTHER), entry("scenario", scenario("a", 1))]
    for folded in (run(log, off), run([freeze, *log])):
        assert folded.events("decision")[0].versions["model"] == "m2"


@pytest.mark.parametrize("number", ["1.7e308", "-1e400", "NaN", "null"])
@pytest.mark.parametrize("place", ["intercept", "share_high"])
def test_a_model_without_finite_numbers_is_refused(number: str, place: str) -> None:
    """A model with a number that is none, infinite, or so huge that outputs overflow is a dead letter, and the former one stays."""
    log = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE})], lies=False)
    model = entry("model", Model("huge", "shop", START_MS, 77.5, {"share_high": 77.5}))
    broken = replace(model, value=re.sub(f'"{place}":77.5'.encode(), f'"{place}":{number}'.encode(), model.value))
    assert broken != model
    folded = run([*log, broken])
    assert folded.reasons() == ["undecodable"]
    assert folded.row(ScopeRow, "shop").model == "initial"


def test_the_hugest_model_that_is_taken_scores_everything() -> None:
    """Numbers at the schema's bounds, in model and features alike, give a finite output: decided, judged, revoked, expressed again."""
    huge = replace(OTHER_ENTRY, value=codecs.encode(Model("m3", "shop", START_MS, -MEASUREMENT_MAX, {"share_high": MEASUREMENT_MAX})))
    event = msgspec.structs.replace(scenario("z", 500, entity="z"), features={"share_high": MEASUREMENT_MAX})
    answers = [entry("feedback", feedback("z", Answer.OVERRIDE, 500)), entry("scenario", heartbeat(600))]
    told = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE}, Answer.OVERRIDE)], lies=True)
    folded = run([*told, huge, entry("scenario", event), *answers, OTHER_ENTRY, huge, REVOKE], SETTINGS["default"])
    assert folded.reasons() == []
    assert folded.events("decision")[-1].model_output == pytest.approx(MEASUREMENT_MAX**2)
    assert folded.events("judgement")[-1].answers[0].sequence == 3
    assert all(isfinite(value) for value in scores(folded)[CLASS])


@pytest.mark.parametrize("reach", ["shop", None])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(told=told_logs, place=st.integers(1, 200))
@hypothesis_settings(max_examples=15)
def test_a_revoked_source_was_never_there(settings: Settings, reach: str | None, told: list[Told], place: int) -> None:
    """Revoking a liar, at any moment, ends in the scores, counts by source, coins and budget of the log without its answers."""
    end = [entry("scenario", heartbeat(999))]
    with_lies, without = log_of(told, lies=True), [*log_of(told, lies=False), *end]
    place = min(place, len(with_lies))
    revoke = entry("control", Control(Command.REVOKE, START_MS, "ana", reach, LIAR))
    revoked = run([*with_lies[:place], revoke, *with_lies[place:], *end], settings, set())
    honest = run(without, settings, set())
    assume({*revoked.row(ScopeRow, "shop").quarantined, *honest.row(ScopeRow, "shop").quarantined} <= {LIAR})
    assert scores(revoked) == close_to(scores(honest))
    for name, row in classes(honest).items():
        assert {source: count for source, count in classes(revoked)[name].by_source.items() if count} == row.by_source
        said = [[(each.source, each.liked) for each in heard.recent] for heard in (classes(revoked)[name], row)]
        assert said[0] == said[1]
    for name in (*IN_TIME, "cho"):
        assert coins(revoked, name) == pytest.approx(coins(honest, name), rel=1e-9)
        assert disagreement(revoked, name) == pytest.approx(disagreement(honest, name), rel=1e-9, abs=1e-9)
    assert coins(revoked, LIAR) == pytest.approx([2.65, 5, 2.65, 5]) or row_key(SourceRow, "shop", LIAR) not in revoked.rows
    budgets = [folded.row(ScopeRow, "shop").earned_trusted for folded in (revoked, honest)]
    assert budgets[0] == pytest.approx(budgets[1], rel=1e-9, abs=1e-9)
    (event,) = [event for event in revoked.events("alignment") if isinstance(event, SourceRevoked)]
    assert (event.source, event.scope) == (LIAR, "shop")


def test_sums_and_voices_are_those_without_the_revoked() -> None:
    """Where others disagree too, their sums and what the classes remember end as in the log without the revoked source."""
    others = {"ana": Answer.LIKE, "gil": Answer.LIKE, "fay": Answer.OVERRIDE}
    log, rest = (log_of([Told("cpu:up", 1.6, answers)] * 6, lies=False) for answers in (others | {"ben": Answer.OVERRIDE}, others))
    revoke = entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", "ben"))
    beside, revoked, without = (run(each, SETTINGS["default"], set()) for each in (log, [*log, revoke], rest))
    assert 0 < disagreement(without, "fay") != pytest.approx(disagreement(beside, "fay"), rel=0.1)
    assert disagreement(revoked, "fay") == pytest.approx(disagreement(without, "fay"))
    for name, row in classes(without).items():
        expected = [(each.source, each.liked, pytest.approx(each.predicted), pytest.approx(each.weight)) for each in row.recent]
        assert [msgspec.structs.astuple(each) for each in classes(revoked)[name].recent] == expected
    sums = [(row.trusted, row.erring) for row in (folded.row(ScopeRow, "shop") for folded in (revoked, without))]
    assert sums[0] == pytest.approx(sums[1])


def test_what_a_silenced_source_had_taught_outlives_a_revocation_of_another() -> None:
    """Who was silenced stays so with its sum; what it said before is heard again through a channel of its own, not as a coin's."""
    answers = {"ana": Answer.LIKE, "ben": Answer.LIKE}
    found = run(log_of([Told("cpu:up", 1.6, answers, Answer.OVERRIDE)] * 30, lies=True), SETTINGS["default"], set())
    before = disagreement(found, LIAR)
    assert before > QUARANTINE_BOUND
    revoked = run([entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", "ben"))], SETTINGS["default"], onto=found)
    assert disagreement(revoked, LIAR) == before
    assert LIAR in revoked.row(ScopeRow, "shop").quarantined
    kept = [read_row(KeptRow, value) for key, value in revoked.rows.items() if key.startswith(row_key(KeptRow, "shop", CLASS, ""))]
    heard = [step.alpha for row in kept for step in row.steps if step.source == LIAR]
    assert heard
    assert 0.5 not in heard


@given(told=told_logs, verdict=st.sampled_from(["early", "afterwards"]))
@hypothesis_settings(max_examples=20)
def test_a_revoked_source_of_outcomes_was_never_there(told: list[Told], verdict: str) -> None:
    """A source of outcomes can be revoked like an operator: what it told of scores and of who answered is taken out."""
    revoke = entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", f"outcome:{verdict}"))
    silenced: list[Told] = [replace(each, **{verdict: None}) for each in told]  # type: ignore[arg-type]  # both fields take None
    revoked, honest = (run(log, SETTINGS["default"]) for log in ([*log_of(told, lies=False), revoke], log_of(silenced, lies=False)))
    assert scores(revoked) == close_to(scores(honest))
    for name in ("ana", "ben", "cho"):
        assert coins(revoked, name) == pytest.approx(coins(honest, name), rel=1e-9)


def test_what_is_older_than_the_kept_judgements_keeps_its_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ring of three, revoking leaves every other source as many counts in its coins and classes as it had."""
    monkeypatch.setattr(learning, "KEPT_MAX", 3)
    told = [Told("cpu:up", 1.6, {"ana": Answer.LIKE}, Answer.OVERRIDE)] * 9
    before, after = run(log_of(told, lies=True)), run([*log_of(told, lies=True), REVOKE])
    assert sum(coins(after, "ana")[1::2]) == pytest.approx(sum(coins(before, "ana")[1::2])) == 19
    assert classes(after)[CLASS].by_source == {"ana": 9, LIAR: 0}
    event = after.events("alignment")[-1]
    assert (event.classes, event.answers) == (1, 3)
    # Three answers from the prior, damped by the counts of all nine.
    assert classes(after)[CLASS].information < classes(before)[CLASS].information


def test_the_ring_keeps_what_is_told_late_of_its_judgements_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ring of three, late answers and outcomes on all of six judgements are kept with the last three, each with its own."""
    monkeypatch.setattr(learning, "KEPT_MAX", 3)
    closed = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE})] * 6, lies=False)
    late = [entry("feedback", feedback(f"s{number}", Answer.OVERRIDE, 20 * number, operator="ben")) for number in range(6)]
    for number in range(6):
        at_ms = START_MS + 20 * number * MINUTE_MS
        late.append(entry("outcome", Outcome(f"web-{number}", at_ms, at_ms + 1, Verdict.INCIDENT, at_ms)))
    folded = run([*closed, *late], SETTINGS["default"])
    kept = [folded.row(KeptRow, "shop", CLASS, str(slot)) for slot in range(3)]
    assert [row.decision for row in kept] == [decision_of(f"s{number}") for number in (3, 4, 5)]
    told = [("answer", "ana"), ("late", "ben"), ("outcome", "outcome:outcome"), ("verified", "ana"), ("verified", "ben")]
    assert [[(step.kind, step.source) for step in row.steps] for row in kept] == [told] * 3
    assert row_key(KeptRow, "shop", CLASS, "3") not in folded.rows


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=25)
def test_revoking_touches_nobody_elses_counts(seed: int) -> None:
    """In any log, the other sources' coins and counts by class hold as many answers after a revocation as before."""
    before, after = run(busy_log(seed), cuts=set()), run([*busy_log(seed), REVOKE], cuts=set())
    for name in ("ana", "ben"):
        assert sum(coins(after, name)[1::2]) == pytest.approx(sum(coins(before, name)[1::2]))
    for name, row in classes(before).items():
        others = {source: count for source, count in row.by_source.items() if source != LIAR}
        assert {source: count for source, count in classes(after)[name].by_source.items() if source != LIAR} == others
        assert (classes(after)[name].answers, classes(after)[name].likes) == (row.answers, row.likes)


def test_arms_lose_what_the_revoked_source_gave_them() -> None:
    """With the paper's selector each like and override of the revoked source is taken from the arm that it rewarded."""
    settings = settings_with(selector="thompson")
    told = [Told("cpu:up", 9.0, {"ana": Answer.LIKE}, Answer.OVERRIDE)] * 9
    scope = run([*log_of(told, lies=True), REVOKE], settings).row(ScopeRow, "shop")
    assert (sum(scope.arm_likes), sum(scope.arm_overrides)) == (5 + 9, 5)


def test_later_revisions_list_a_revoked_source_with_weight_0() -> None:
    """An outcome after the revocation writes the judgement again: the liar's answer is there, weighs and moves nothing."""
    told = [Told("cpu:up", 1.6, {"ana": Answer.LIKE}, Answer.OVERRIDE)]
    outcome = entry("outcome", Outcome("web-0", START_MS, START_MS + MINUTE_MS, Verdict.INCIDENT, START_MS))
    first, second = run([*log_of(told, lies=True), REVOKE, outcome]).events("judgement")
    lies = [answer for judgement in (first, second) for answer in judgement.answers if answer.source == LIAR]
    assert lies[0].weight > 0
    assert (lies[1].weight, lies[1].moved, lies[1].counted, lies[1].sequence) == (0.0, 0.0, 0.0, 0)
    assert first.target > 0
    assert second.target == 0


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=15)
def test_a_place_in_a_class_is_never_given_twice(seed: int) -> None:
    """Whatever is revoked, the sequence numbers of a class's answers name one answer each."""
    log = busy_log(seed)
    places: dict[tuple[str, str, int], set[tuple[str, str]]] = {}
    for judgement in run([*log[:200], REVOKE, *log[200:]], cuts=set()).events("judgement"):
        for answer in judgement.answers:
            if answer.sequence:
                key = (judgement.scope, judgement.scenario_class, answer.sequence)
                places.setdefault(key, set()).add((judgement.decision, answer.source))
    assume(places)
    assert all(len(named) == 1 for named in places.values())


def test_the_budget_follows_a_revoked_verdict() -> None:
    """An answer that was booked while learning was frozen, and then verified, earns what it did before once the verdict is revoked."""
    told = log_of([Told("cpu:up", 1.6, {"ana": Answer.LIKE})], lies=False)
    frozen = run(
        [entry("control", Control(Command.FREEZE, START_MS, "ana")), *told, entry("control", Control(Command.RESUME, START_MS, "ana"))]
    )
    earned = frozen.row(ScopeRow, "shop").earned_trusted
    verified = run([entry("outcome", Outcome("web-0", START_MS, START_MS + 1, Verdict.INCIDENT, START_MS))], onto=frozen)
    assert verified.row(ScopeRow, "shop").earned_trusted != earned
    revoked = run([entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", "outcome:outcome"))], onto=verified)
    assert revoked.row(ScopeRow, "shop").earned_trusted == pytest.approx(earned)


def test_revoking_who_was_never_heard_folds_nothing() -> None:
    """A source that has never answered is revoked by name alone: no score is folded again, and the event says so."""
    before = run(busy_log(29), cuts=set())
    expected = scores(before)
    after = run([entry("control", Control(Command.REVOKE, START_MS, "ana", "shop", "nobody"))], onto=before)
    assert scores(after) == expected
    event = after.events("alignment")[-1]
    assert (event.source, event.classes, event.answers) == ("nobody", 0, 0)
    assert after.row(ScopeRow, "shop").quarantined[-1] == "nobody"
