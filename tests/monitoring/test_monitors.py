"""The monitors as plain functions: each commands when it says it does, and the default is worth it where the truth is known."""

from typing import get_args

import numpy as np
import pytest
from msgspec.structs import replace

from agents.monitoring import hindsight, learned, rules
from agents.monitoring.rows import Evidence, Learned, Sight, Window
from experiments.studies.monitors import Drifts, trial
from schemas.settings import Profile
from tests.deciding.logs import settings_with
from tests.monitoring.streams import Folded, at, challenger

SEEDS = range(4)
FIRST = False


def window(number: int, saved: float, *, deviation: float = 0.0, in_force: str = "m0") -> Window:
    """A window in which the challenger would have saved so much."""
    costs = {in_force: 100.0, f"m{number}": 100.0 - saved}
    return Window(number, at(number), in_force, FIRST, f"m{number}", f"m{number + 1}", 120, 100.0, 100.0 - saved, costs, deviation)


def passes(profile: Profile, windows: list[Window], sights: list[Sight]) -> list[int]:
    """The windows at whose end a monitor would retrain, were nothing ever deployed."""
    evidence, taught, found = Evidence(), Learned(), []
    for each, sight in zip(windows, sights, strict=True):
        weighed = rules.weigh(evidence, None, each, sight, profile, taught)
        evidence, taught = weighed.evidence, weighed.learned
        found += [each.window] if weighed.passes else []
    return found


def test_noise_is_not_evidence() -> None:
    """What passes the price passes only if it is more than chance: the same savings, told by few judgements, do not."""
    profile = settings_with().profile
    for deviation, found in ((0.0, [1]), (30.0, [])):
        told = [window(0, 0.0, deviation=deviation), window(1, 30.0, deviation=deviation)]
        assert passes(profile, told, [Sight()] * 2) == found


def test_after_a_deployment_less_is_asked() -> None:
    """Evidence that is too little in peace is enough while another model was in force lately, unless that was the initial one."""
    profile, now = settings_with().profile, window(20, 30.0, deviation=12.0, in_force="m11")
    past: list[Window] = []
    for before, ago, found in (("m11", 3, False), ("m2", 3, True), ("m2", 8, True), ("m2", 9, False)):
        past = [window(number, 0.0, in_force=before if number == 20 - ago else "m11") for number in range(10, 20)]
        assert rules.weigh(Evidence(), past[-1], now, Sight(past=past), profile, Learned()).passes == found
    sparse = [replace(each, window=2 * each.window - 20, in_force="m2" if each.window == 14 else "m11") for each in past]
    assert not rules.changed_lately(now, Sight(past=sparse))
    assert rules.changed_lately(now, Sight(past=[*sparse[:-1], replace(sparse[-1], in_force="m2")]))
    first = [window(number, 0.0, in_force="m2") for number in range(10, 20)]
    assert rules.added(Evidence(), now, Sight(past=first), profile)[1] > 1
    assert rules.added(Evidence(), now, Sight(past=[replace(each, first=True) for each in first]), profile)[1] < 1


def test_staleness_is_what_a_model_of_that_age_has_cost() -> None:
    """Where each model costs 3 more a window, one of age 4 has cost 3 (1 + 2 + 3 + 4) more than challengers, less the slack of each."""
    costs = [{f"m{fitted}": 10.0 + 3.0 * (number - fitted) for fitted in range(number + 1)} for number in range(20)]
    windows = [
        Window(number, at(number), "m15", FIRST, f"m{number}", f"m{number + 1}", 120, known.get("m15", 10.0), 10.0, known)
        for number, known in enumerate(costs)
    ]
    assert rules.staleness(windows, 0.5) == pytest.approx((3 * (1 + 2 + 3 + 4) - 4 * 0.5, 0))


def test_periodic_counts_from_the_last_command() -> None:
    """`periodic` commands every N windows, `random` in about one of N, `always` outside the cooldown, `never` not at all."""
    log = [challenger(number, 100, 100) for number in range(61)]
    commanded = {
        name: Folded(settings_with(monitor=name, retraining_period_windows=10)).run(log).commanded()
        for name in ("periodic", "random", "always", "never")
    }
    assert commanded["periodic"] == [10, 20, 30, 40, 50, 60]
    assert 1 <= len(commanded["random"]) <= 14
    assert commanded["always"] == [number for number in range(61) if number in commanded["always"]]
    assert len(commanded["always"]) > len(commanded["periodic"])
    assert commanded["never"] == []


def test_mean_has_nothing_to_retrain() -> None:
    """Under a score that uses no model nothing is commanded, and each decision says why."""
    folded = Folded(settings_with(monitor="always", score="mean")).run([challenger(number) for number in range(12)])
    assert folded.commanded() == []


def test_learned_begins_as_the_challengers_and_learns() -> None:
    """Before its first label it commands with `challenger`; where hindsight says yes or no, its probability moves that way."""
    told = [window(number, saved) for number, saved in enumerate([0.0, 10.0, 30.0, 10.0])]
    by_name = {name: passes(settings_with(monitor=name).profile, told, [Sight()] * 4) for name in ("challenger", "learned")}
    assert by_name["learned"] == by_name["challenger"] != []
    profile, seen = settings_with(monitor="learned").profile, (1.0, 0.8, 0.1, 0.0, 0.1, 0.5, 1.0, 0.2)
    for saved, sign in ((20.0, 1), (-20.0, -1)):
        costs = [{"m0": 100.0, "m1": 100.0 - saved}] * (learned.LABEL_WINDOWS + 1)
        after = [Window(number, at(number), "m0", FIRST, None, "m1", 120, 100.0, None, each) for number, each in enumerate(costs)]
        noted = learned.note(Learned(), after[0], seen)
        taught = learned.teach(noted, after, profile)
        assert np.sign(learned.probability(taught, seen) - learned.probability(noted, seen)) == sign
        assert learned.teach(noted, after[:-1], profile) == noted


def test_delay_waits_for_what_has_not_come() -> None:
    """Early is at once, late is as late as it is, and what never came is as late as the last window."""
    assert hindsight.delay((), (3,), 9) is None
    assert hindsight.delay((4,), (3,), 9) == 0
    assert hindsight.delay((4, 6), (5,), 9) == (1 + 0) / 2
    assert hindsight.delay((4,), (2,), 9) == 5


@pytest.mark.parametrize("price", [20.0, 50.0, 100.0, 200.0])
def test_the_default_is_worth_it(price: float) -> None:
    """Simulated: near the best schedule in hindsight under drift, no dearer than one price without; pooled, cheaper than its rivals."""
    profile = settings_with().profile

    def mean(measure: str, drift: str, monitor: str, **sets: float) -> float:
        return float(np.mean([trial(seed, profile, drift=drift, monitor=monitor, price=price, **sets)[measure] for seed in SEEDS]))  # type: ignore[arg-type]  # a drift

    assert mean("over_hindsight", "abrupt", "challenger") <= 1.35
    assert mean("over_hindsight", "gradual", "challenger") <= 1.45
    assert mean("prices_above_never", "none", "challenger") <= 1
    pooled = {
        name: sum(mean("cost", drift, name, **sets) for drift in get_args(Drifts))
        for name, sets in (("challenger", {}), ("never", {}), ("always", {}), ("threshold", {"loss_bound": 0.16}))
    }
    assert min(pooled, key=pooled.__getitem__) == "challenger"
