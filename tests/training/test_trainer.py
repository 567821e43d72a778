"""The trainer: challengers are compared fairly, deployed once and only for the better, and everything replays."""

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.training.turn import HISTORY_WINDOWS
from schemas.alignment import ChallengerWindow, RetrainingCommand
from schemas.events import Command, Control, Judgement, Model, Reason, Status, Verdict
from schemas.settings import ScopeSettings
from tests.deciding.logs import START_MS, settings_with
from tests.training.streams import SCOPE, Entry, Folded, answer, command, judgement, judgements, log_of


def with_commands(seed: int, windows: int = 5, **world: float) -> list[Entry]:
    """A log with a command at the start of each window from the third on."""
    log: list[Entry] = []
    last = 0
    for event in judgements(seed, windows, **world):  # type: ignore[arg-type]  # its numbers are floats and ints alike
        log.append(("judgement", event))
        if event.window > last and event.window >= 2:
            log.append(("retraining-command", command(f"c{event.window}", (0, event.window - 1), len(log))))
        last = event.window
    return log


def test_a_better_challenger_is_adopted() -> None:
    """Where a feature tells what is wanted and the model in force ignores it, the challenger costs less and comes into force."""
    folded = Folded().run(with_commands(1))
    results = folded.events("retraining-result")
    model = folded.events("model")[0]
    assert not folded.dead()
    assert results[0].status == "adopted"
    assert results[0].model == model
    assert (model.parent, model.origin) == ("initial", "trained")
    assert model.weights["x"] > 1
    assert results[0].evaluation.difference > 2 * results[0].evaluation.standard_error > 0
    # Nothing here brings the model back to the trainer: what came into force stays the initial one, and so do its costs.
    assert results[-1].in_force == "initial"
    assert model.evaluation["effective_sample_size"] >= 100


def test_a_worse_challenger_is_refused() -> None:
    """A challenger fitted on a past that has turned costs more than the model in force, and is refused in 10 of 10 worlds."""
    truth = Model("truth", SCOPE, START_MS, 1.5, {"x": -3.0})
    for seed in range(10):
        log: list[Entry] = [("model", truth), *log_of(judgements(seed, 4, turn_at=2)), ("retraining-command", command("c", (2, 2), 800))]
        (result,) = Folded().run(log, cuts=set()).events("retraining-result")
        assert result.status == "refused", seed
        assert result.evaluation.difference < -result.evaluation.standard_error


def test_equals_seldom_pass() -> None:
    """Where the model in force is the truth, what was fitted on a finite sample passes by chance, in one of twenty at most."""
    truth = Model("truth", SCOPE, START_MS, 1.5, {"x": 3.0})
    adopted = 0
    for seed in range(20):
        log: list[Entry] = [("model", truth), *with_commands(seed, 4)]
        adopted += sum(result.status == "adopted" for result in Folded().run(log, cuts=set()).events("retraining-result"))
    assert adopted <= 2  # of 40 commands


def test_a_command_delivered_twice_retrains_once() -> None:
    """The second record of a command's id changes nothing: one result, one model, the same rows."""
    log = with_commands(2, 4)
    place = next(place for place, (topic, _) in enumerate(log) if topic == "retraining-command")
    twice = [*log[: place + 1], log[place], *log[place + 1 :]]
    once, again = Folded().run(log), Folded().run(twice)
    assert once.rows == again.rows
    for topic in ("retraining-result", "model"):
        assert [event.id for event in once.events(topic)] == [event.id for event in again.events(topic)]


def test_little_evidence_is_refused_with_its_size() -> None:
    """Under an effective sample size of 100 nothing is deployed, and the result says how much there was."""
    results = Folded().run(with_commands(3, 4, answered=0.2)).events("retraining-result")
    assert {result.status for result in results[:1]} == {"refused"}
    assert 0 < results[0].evaluation.effective_sample_size < 100
    assert f"{results[0].evaluation.effective_sample_size:.1f}" in results[0].reason


def test_nothing_is_refused_without_a_challenger() -> None:
    """A command before anything was fitted, or where all answers say the same, is answered with why not."""
    early = Folded().run([("retraining-command", command("c", (0, 0), 0))])
    alike = [("judgement", judgement(number, number // 50, 0.0, liked=True)) for number in range(120)]
    same = Folded().run([*alike, ("retraining-command", command("c", (0, 2), 120))])
    for folded in (early, same):
        (result,) = folded.events("retraining-result")
        assert (result.status, result.model) == ("refused", None)
        assert "no challenger" in result.reason


@pytest.mark.parametrize("everywhere", [True, False])
def test_frozen_learning_deploys_nothing(*, everywhere: bool) -> None:
    """While learning is frozen, in the scope or in all, commands are refused; resume ends it."""
    scope = None if everywhere else SCOPE
    log = with_commands(1)
    freeze = Control(Command.FREEZE, START_MS, "ana", scope)
    frozen = Folded().run([("control", freeze), *log], cuts=set())
    assert {result.status for result in frozen.events("retraining-result")} == {"refused"}
    assert not frozen.events("model")
    resumed = Folded().run([("control", freeze), ("control", Control(Command.RESUME, START_MS, "ana", scope)), *log], cuts=set())
    assert resumed.events("model")


def test_learning_off_keeps_nothing() -> None:
    """A scope whose learning is off by setting has no challengers and no rows of examples."""
    settings = settings_with()
    off = msgspec.structs.replace(settings, scopes={SCOPE: ScopeSettings(learning=False)})
    folded = Folded(off).run(with_commands(1), cuts=set())
    assert not folded.events("alignment")
    assert not [key for key in folded.rows if key.startswith((b"example", b"offsets"))]
    assert {result.status for result in folded.events("retraining-result")} == {"refused"}


def test_mean_is_not_trained() -> None:
    """A score that uses no model gets none."""
    folded = Folded(settings_with(score="mean")).run(with_commands(1), cuts=set())
    assert {result.status for result in folded.events("retraining-result")} == {"refused"}


@hypothesis.settings(max_examples=15, deadline=None)
@given(st.integers(0, 3), st.sets(st.integers(1, 900)))
def test_any_cut_gives_the_same_bytes(seed: int, cuts: set[int]) -> None:
    """However a log is cut into blocks, outputs and rows are the same, byte for byte."""
    log = with_commands(seed, 4, a_window=60)
    whole, cut = Folded().run(log, cuts=set()), Folded().run(log, cuts)
    assert [output.value for output in whole.outputs] == [output.value for output in cut.outputs]
    assert whole.rows == cut.rows


def test_costs_stand_for_their_kind() -> None:
    """A window's cost is n times the mean cost of each kind: judged ones stand for all surfaced, all withheld decisions."""
    log: list[Entry] = []
    for number in range(40):
        withheld = number % 4 == 0
        changed = {
            "status": Status.WITHHELD if withheld else Status.SURFACED,
            "reason": Reason.BELOW_THRESHOLD if withheld else Reason.PASSED,
            "closed_by": "outcome" if withheld else "answer",
            "features": {"log_score": 0.0 if withheld else 2.0},
            "scored_surfaced": 0,
            "answers": (msgspec.structs.replace(answer("ana", liked=True), counted=1e-12),),
        }
        log.append(("judgement", judgement(number, 0, 0.0, liked=number % 8 == 0, **changed)))
    log.append(("judgement", judgement(40, 1, 0.0, liked=True, scored_surfaced=300, scored_withheld=100)))
    (window,) = Folded().run(log).events("alignment")
    assert (window.judged, window.surfaced, window.withheld) == (40, 30, 10)
    # All 30 surfaced ones are unwanted: k = 4 each, for 300; of the 10 withheld ones half are wanted: m = 1 each, for 100.
    assert window.cost_in_force == pytest.approx(300 * 4.0 + 100 * 0.5)
    assert window.costs == {"initial": pytest.approx(1250.0)}


def test_no_model_is_charged_for_what_it_was_fitted_on() -> None:
    """A candidate has its first cost in the window after the one that it was fitted on."""
    windows = Folded().run(log_of(judgements(4, 6)), cuts=set()).events("alignment")
    fitted: dict[str, int] = {}
    for window in windows:
        assert isinstance(window, ChallengerWindow)
        for name in window.costs:
            assert fitted.get(name, -1) < window.window
        assert all(name in window.costs for name, since in fitted.items() if since < window.window)
        if window.next is not None:
            fitted[window.next] = window.window
    assert len(fitted) == 5


def test_a_challenger_tells_a_drift() -> None:
    """When the feature turns its sign, the model in force costs more than the next challenger, and before it does not."""
    truth = Model("truth", SCOPE, START_MS, 1.5, {"x": 3.0})
    log: list[Entry] = [("model", truth), *log_of(judgements(5, 12, turn_at=6))]
    windows = Folded().run(log, cuts=set()).events("alignment")
    advantage = {window.window: window.cost_in_force - window.cost_challenger for window in windows if window.cost_challenger is not None}
    assert max(advantage[window] for window in range(2, 6)) < 20
    assert sum(advantage[window] for window in range(8, 11)) > 100


def test_a_rollback_is_compared_from_the_next_window_on() -> None:
    """A model that comes within a window is charged in whole windows only, and is the one in force at once."""
    log = log_of(judgements(6, 4))
    given_model = Model("given", SCOPE, START_MS, 0.3, {"x": 1.0}, origin="rollback")
    place = next(place for place, (_, event) in enumerate(log) if getattr(event, "window", 0) == 1) + 50
    windows = Folded().run([*log[:place], ("model", given_model), *log[place:]], cuts=set()).events("alignment")
    assert "given" not in windows[1].costs
    assert windows[1].in_force == "given"
    assert "given" in windows[2].costs
    assert windows[2].cost_in_force == pytest.approx(windows[2].costs["given"])


def test_a_later_outcome_is_learned_from_once() -> None:
    """A second revision adds its new answer to the offsets and does not charge anyone again."""
    first = judgement(0, 0, 0.0, liked=True)
    outcome = msgspec.structs.replace(answer("outcome:review", liked=True, sequence=2), kind=Verdict.INCIDENT.value)
    second = msgspec.structs.replace(first, revision=2, closed_by="outcome", answers=(*first.answers, outcome))
    nxt = judgement(1, 1, 0.0, liked=True)
    once = Folded().run([("judgement", first), ("judgement", nxt)])
    both = Folded().run([("judgement", first), ("judgement", second), ("judgement", nxt)])
    assert once.events("alignment")[0].judged == both.events("alignment")[0].judged == 1
    assert once.rows != both.rows
    thrice = Folded().run([("judgement", first), ("judgement", second), ("judgement", second), ("judgement", nxt)])
    assert thrice.rows == both.rows


def test_what_is_adopted_is_the_newest_fit() -> None:
    """The model of an adopted result is the one fitted at the end of the window of the command, as in hindsight's schedules."""
    folded = Folded().run(with_commands(1), cuts=set())
    results = [result for result in folded.events("retraining-result") if result.status == "adopted"]
    assert results
    fitted = {window.window: window.next for window in folded.events("alignment")}
    assert [result.model.id for result in results] == [fitted[result.window - 1] for result in results]


def test_a_late_command_adopts_what_it_would_have_adopted() -> None:
    """Whenever a command is carried out, nothing that was fitted after its window goes in force."""
    on_time = with_commands(1)
    place, asked = next((place, event) for place, (_, event) in enumerate(on_time) if isinstance(event, RetrainingCommand))
    later = [(topic, event) for topic, event in on_time if isinstance(event, Judgement) and event.window <= asked.evidence_to + 3]
    (early,) = Folded().run(on_time[: place + 1], cuts=set()).events("retraining-result")
    (late,) = Folded().run([*later, ("retraining-command", asked)], cuts=set()).events("retraining-result")
    assert (early.status, late.status) == ("adopted", "adopted")
    assert late.model.id == early.model.id


def test_evidence_is_about_the_model_in_force() -> None:
    """What challengers saved against an earlier model says nothing of the one in force."""
    log = log_of(judgements(5, 6))
    place = next(place for place, (_, event) in enumerate(log) if getattr(event, "window", 0) == 4)
    truth = Model("truth", SCOPE, START_MS, 1.5, {"x": 3.0})
    asked = ("retraining-command", command("c", (0, 5), 1200))
    nxt = ("judgement", judgement(1200, 6, 0.0, liked=True, scored_surfaced=600, scored_withheld=600))
    (result,) = Folded().run([*log[:place], ("model", truth), *log[place:], nxt, asked], cuts=set()).events("retraining-result")
    assert result.status == "refused"
    assert result.evaluation.judged <= 400


def test_a_model_on_its_way_is_not_adopted_again() -> None:
    """Of two commands before the adopted model has come back, the second is refused, also where another one was fitted in between."""
    for windows in (3, 4):
        log = [
            (topic, event) for topic, event in with_commands(1, windows) if isinstance(event, Judgement) or getattr(event, "id", "") == "c2"
        ]
        asked = command("again", (0, windows - 2), len(log))
        first, second = Folded().run([*log, ("retraining-command", asked)], cuts=set()).events("retraining-result")
        assert (first.status, second.status) == ("adopted", "refused")
        assert "already" in second.reason


def test_another_model_does_not_end_the_wait() -> None:
    """While an adopted model is on its way a rollback that was before it lets no second one be adopted."""
    log = [(topic, event) for topic, event in with_commands(1) if isinstance(event, Judgement) or getattr(event, "id", "") == "c2"]
    place = next(place for place, (_, event) in enumerate(log) if isinstance(event, RetrainingCommand))
    rollback = ("model", Model("initial", SCOPE, START_MS, 0.0, {}, origin="rollback"))
    again = ("retraining-command", command("again", (3, 3), len(log)))
    results = Folded().run([*log[: place + 1], rollback, *log[place + 1 :], again], cuts=set()).events("retraining-result")
    assert [result.status for result in results] == ["adopted", "refused"]
    assert "on its way" in results[1].reason


def test_nobody_is_no_evidence() -> None:
    """Judgements of sources that are hardly trusted add up to their trust, however many they are."""
    log = [(topic, msgspec.structs.replace(event, weight=0.01) if topic == "judgement" else event) for topic, event in with_commands(1)]
    results = Folded().run(log, cuts=set()).events("retraining-result")
    assert {result.status for result in results} == {"refused"}
    assert all(result.evaluation.effective_sample_size < 10 for result in results)


def test_answers_that_moved_nothing_teach_nothing() -> None:
    """What was said while learning was frozen, or from quarantine, is fitted on by no challenger and charges no one."""
    log = []
    for topic, event in log_of(judgements(1, 4)):
        answers = tuple(msgspec.structs.replace(each, counted=0.0) for each in event.answers)  # type: ignore[attr-defined]  # judgements
        log.append((topic, msgspec.structs.replace(event, answers=answers)))
    windows = Folded().run(log, cuts=set()).events("alignment")
    assert [window.judged for window in windows] == [0] * 3
    assert {window.next for window in windows} == {None}


def test_an_outcome_beyond_memory_is_left_out() -> None:
    """A later revision of a decision that is not held any more changes no row of examples or offsets."""
    log = log_of(judgements(8, 12, a_window=30))
    revised = msgspec.structs.replace(log[0][1], revision=2, window=11)
    once, again = Folded().run(log, cuts=set()), Folded().run([*log, ("judgement", revised)], cuts=set())
    assert once.rows == again.rows


def test_silent_windows_do_not_inflate() -> None:
    """A window's costs are those of one window, however many pass before the next judgement tells that it ended."""
    log = log_of(judgements(9, 2))
    usual = Folded().run(log, cuts=set()).events("alignment")[0]
    late: list[Entry] = []
    for event in judgements(9, 2):
        shown, withheld = event.scored_surfaced + 800, event.scored_withheld + 800
        later = msgspec.structs.replace(event, window=8, scored_surfaced=shown, scored_withheld=withheld)
        late.append(("judgement", later if event.window else event))
    assert Folded().run(late, cuts=set()).events("alignment")[0].cost_in_force == pytest.approx(usual.cost_in_force, rel=0.15)


def test_a_replaced_model_is_still_held_against_the_others() -> None:
    """Hindsight knows what the model before would have cost, for 50 windows after it was last in force."""
    log = log_of(judgements(10, 56, a_window=25))
    place = next(place for place, (_, event) in enumerate(log) if getattr(event, "window", 0) == 53)
    other = Model("other", SCOPE, START_MS, 1.0, {"x": 1.0})
    windows = Folded().run([*log[:place], ("model", other), *log[place:]], cuts=set()).events("alignment")
    assert "initial" in windows[-1].costs
    assert len(windows[-1].costs) <= 52


def test_mean_costs_what_it_did() -> None:
    """With a score that uses no model, costs are those of the confidence that decided, and there are no candidates."""
    log = [(topic, msgspec.structs.replace(event, confidence=0.95)) for topic, event in log_of(judgements(11, 2))]
    (window,) = Folded(settings_with(score="mean")).run(log, cuts=set()).events("alignment")
    unwanted = sum(event.target for _, event in log if event.window == 0)  # type: ignore[attr-defined]  # judgements
    assert (window.costs, window.next) == ({}, None)
    assert window.cost_in_force == pytest.approx(4 * unwanted, rel=0.1)


def test_what_is_kept_is_bounded() -> None:
    """Only the examples of the last windows are kept, however long a scope lives."""
    folded = Folded().run(log_of(judgements(7, 30, a_window=30)), cuts=set())
    kept = [key for key in folded.rows if key.startswith(b"example\x1f")]
    assert 0 < len(kept) <= HISTORY_WINDOWS * 30
