"""The studies of adversaries, trust, teams, drift, reward, retraining and monitors, in a small form."""

import numpy as np
import pytest

from experiments.simulator.run import Run, run
from experiments.studies import adversaries, drift, reward_against_alignment, targeted_retraining, teams_in_the_loop, trust
from experiments.studies.closed import fitted, small
from experiments.studies.monitor_ablation import CONDITIONS as MONITORS
from experiments.studies.monitor_ablation import trial as monitored
from experiments.studies.study import number
from schemas.settings import Profile

PROFILE = Profile(name="default")


def test_a_liar_is_found_and_honest_people_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """One account that inverts 40 % is put in quarantine and nobody else is; believed, it costs most of the recall."""
    monkeypatch.setattr(adversaries, "CLASSES", 10)
    found, believed = (adversaries.trial(1, PROFILE, name="liar", defence=defence) for defence in ("default", "no trust"))
    assert (found["found"], found["honest"], found["liars_trusted"]) == (1.0, 0.0, 0.0)
    assert 0 < number(found, "found_after") < adversaries.SCENARIOS
    assert number(found, "relative_recall") > number(believed, "relative_recall") + 0.3
    assert believed["found"] == 0.0
    assert np.isnan(number(believed, "found_after"))


def test_nobody_is_found_before_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is honest until the drift is counted from the drift on, and a world without liars has nobody to find."""
    monkeypatch.setattr(adversaries, "SCENARIOS", 600)
    world = adversaries.world_of("liar-turning-at-drift")
    (liar,) = (group for group in world.people.groups if group.manner != "honest")
    assert liar.honest_until == world.drift_at == 240
    loud = adversaries.trial(0, PROFILE, name="loud", defence="default")
    assert np.isnan([number(loud, name) for name in ("found", "found_after", "liars_trusted")]).all()


@pytest.fixture(scope="module")
def said() -> Run:
    """One run of the study of trust."""
    world = small("mixed", 1200, people=trust.people(), outcomes=0.3)
    return run(world, fitted(PROFILE, window_scenarios=150, initial_intercept=1.4), 0)


def test_the_true_channels_are_what_people_do(said: Run) -> None:
    """How often each kind says what is wanted, over all that it would say, is the α and β that learned ones are held against."""
    kinds = np.array(said.replies.kind)
    names = np.array([name.split("-")[0] for name in said.replies.names])[said.replies.account]
    wanted = said.truth.wanted[:, 0]
    for name, kind in trust.KINDS.items():
        of = (names == name) & np.isin(kinds, ["like", "override"])
        likes, overrides = (
            float(np.mean(kinds[of & (wanted == is_wanted)] == said)) for is_wanted, said in ((True, "like"), (False, "override"))
        )
        assert likes == pytest.approx(kind.alpha, abs=0.12)
        assert overrides == pytest.approx(kind.beta, abs=0.12)


def test_errors_are_of_the_sources_that_have_said_so_much(said: Run) -> None:
    """Without an answer a source stands at the prior of the roster, J = .6, and a liar's J is learned to be below zero."""
    told = trust.channels(said)
    assert trust.along(np.array([[0.0, 0.8, 0.8, 0.6, 0.0]]), -0.98)[0] == pytest.approx(1.58)
    assert trust.last_of(told["liar"])[:, 3].max() < 0.3
    assert trust.last_of(told["careful"])[:, 3].min() > 0.5


def test_conflict_that_is_seen_is_that_of_what_two_teams_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teams that want the same never differ truly; where they differ, less of it is asked about than there is."""
    monkeypatch.setattr(teams_in_the_loop, "SCENARIOS", 1000)
    monkeypatch.setattr(teams_in_the_loop, "BOTH", 1.0)
    one, torn = (teams_in_the_loop.trial(0, PROFILE, teams="volume", conflict=conflict) for conflict in (0.0, 0.5))
    assert one["conflict_all"] == one["conflict_asked"] == 0.0
    assert number(one, "regret_volume") == pytest.approx(number(one, "regret_worst")) == pytest.approx(number(one, "regret"))
    assert 0 < number(torn, "conflict_asked") < number(torn, "conflict_all")
    assert number(torn, "conflict_seen") == pytest.approx(number(torn, "conflict_asked"), abs=0.1)
    assert number(torn, "regret_worst") > number(torn, "regret_volume")


def test_lag_is_counted_from_the_turn_to_the_return() -> None:
    """A course that falls under its bound is back where it passes it after its least; one that never falls has no lag."""
    course = np.array([1.0, 0.95, 0.5, 0.4, 0.7, 0.92, 0.8])
    assert drift.back(course, 0.9) == 5
    assert drift.back(course, 0.3) == 0
    assert drift.back(course, 0.99) == 7
    assert drift.stretches(np.ones(400), np.full(400, 2.0), 100, 300) == pytest.approx(np.full(200 - drift.STRETCH + 1, 0.5))


def test_a_threshold_that_follows_late_is_late() -> None:
    """A step of the threshold is half way gone where a stretch has as much after it as before; one that stays has no lag."""
    turn, late = 500, 200
    threshold = np.where(np.arange(1000) < turn + late, 0.6, 0.8)
    assert drift.threshold_lag(threshold, turn, 1000) == pytest.approx(late - drift.STRETCH / 2, abs=2)
    assert np.isnan(drift.threshold_lag(np.full(1000, 0.6), turn, 1000))


def test_reward_that_rises_with_a_loss_is_told_from_either_alone() -> None:
    """Learning that is frozen while wishes turn and reward doubles makes both rise; of either alone one does."""
    both, reward = (
        reward_against_alignment.trial(0, PROFILE, **reward_against_alignment.CONDITIONS[name])
        for name in (reward_against_alignment.TRULY, "reward rises alone")
    )
    assert number(both, "loss_rise") > 0.2 > number(reward, "loss_rise")
    assert min(number(both, "reward_rise"), number(reward, "reward_rise")) > 2
    assert number(both, "raised_settled") > number(reward, "raised_settled")
    assert both["before"] == 0.0


def test_a_bound_on_judgements_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No challenger is fitted on more judgements than the profile allows, and all are more than that."""
    monkeypatch.setattr(targeted_retraining, "SCENARIOS", 1000)
    whole, few = (targeted_retraining.trial(0, PROFILE, retraining="targeted", bound=bound) for bound in (0, 40))
    assert number(few, "examples") <= 40 < number(whole, "examples")


def test_never_is_faithful_where_nothing_drifts_and_dear_where_something_does() -> None:
    """F of `never` is 1 without drift, at several times the cost of the challenger's monitor with it; nothing is 0, never -0."""
    never, challenger = (monitored(0, PROFILE, **MONITORS[name]) for name in ("never", "challenger"))
    assert never["fidelity_none"] == 1.0
    assert str(never["prices_none"]) == str(never["retrainings_none"]) == "0.0"
    assert number(never, "over_best") > 4 * number(challenger, "over_best")
