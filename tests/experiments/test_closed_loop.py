"""All rules in one small closed loop, simulated: it comes most of the way to the oracle, and typical wrong rules do not.

A policy without any knowledge surfaces everything or nothing. What the better of the two costs above the oracle, which knows P(wanted),
is the whole way; a loop has to come three quarters of it, half where all that the features tell turns within the run.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from experiments.evidence.trials import override_bound
from experiments.simulator.measures import costs, measure, oracle
from experiments.simulator.run import Run, profile_of, run
from experiments.simulator.world import World
from experiments.simulator.worlds import WORLDS


class Case(NamedTuple):
    """A world, what is left of the way at most, and profiles that are left with more, or with less of the oracle's recall."""

    world: World
    left: float
    wrong: dict[str, dict[str, Any]]
    seeds: int = 2


def small(name: str, **changes: Any) -> World:  # noqa: ANN401  # fields of a world
    """Return a world of the simulator made small: answers come after 20 scenarios."""
    return replace(WORLDS[name], **({"classes": 24, "scenarios": 2400, "delay": 20.0} | changes))


CASES = {
    "silence": Case(small("silence", scenarios=1800), 0.25, {"silence pulls": {"score": "mean", "silence": "pull"}}),
    "no outcomes": Case(small("bimodal", classes=12, outcomes=0.0, scenarios=4800), 0.5, {"no exploration": {"selector": "fixed"}}),
    "liar": Case(small("liar", scenarios=3000), 0.25, {"no trust": {"trust": False}, "raw budget": {"budget": "raw"}}),
    "features turn": Case(
        small("abrupt-feature", scenarios=4000, drift_at=1200, mixed_share=1.0, within=6.0, outcomes=0.6),
        0.5,
        {"no model": {"monitor": "never"}, "only the first model": {"retraining_price": 1e6}},
        seeds=1,
    ),
}
# A deadline of 120 scenarios and a budget that are to these worlds what 240 and 150 are to the large ones.
FITTED = {"answer_deadline_ms": 2 * 3_600_000, "budget_start": 50.0, "retraining_price": 20.0}


def left(ran: Run) -> float:
    """Return a run's regret over the last third, as a share of that of the better of two constant policies."""
    probability = ran.truth.probability
    late = np.arange(len(probability)) >= 2 * len(probability) // 3
    best = costs(probability, oracle(probability))
    constant = [float((costs(probability, np.full(len(probability), always)) - best)[late].mean()) for always in (True, False)]
    return measure(ran)["regret"] / min(constant)


def ends(case: Case, changes: dict[str, Any], seeds: range) -> tuple[float, float]:
    """Return what is left of the way, and recall relative to the oracle's, on average."""
    profile = profile_of("default", **(FITTED | {"window_scenarios": case.world.scenarios // 20} | changes))
    runs = [run(case.world, profile, seed) for seed in seeds]
    return float(np.mean([left(ran) for ran in runs])), float(np.mean([measure(ran)["relative_recall"] for ran in runs]))


@pytest.mark.parametrize("name", CASES)
def test_the_loop_comes_most_of_the_way(name: str) -> None:
    """Simulated: regret and recall of the default profile end nearer to the oracle's by the declared share."""
    regret, recall = ends(CASES[name], {}, range(CASES[name].seeds))
    assert regret <= CASES[name].left
    assert recall >= 1 - CASES[name].left


@pytest.mark.parametrize(("name", "wrong"), [(name, wrong) for name, case in CASES.items() for wrong in case.wrong])
def test_typical_wrong_rules_do_not(name: str, wrong: str) -> None:
    """Simulated, one seed: each rule left out, or put in the place of ours, fails one of the two bounds."""
    case = CASES[name]
    regret, recall = ends(case, case.wrong[wrong], range(1))
    assert regret > case.left or recall < 1 - case.left


def test_the_raw_bound_holds_among_liars_and_the_trusted_is_none() -> None:
    """Simulated: with a small budget overrides of a liar with 40 % of the answers never break the raw bound, and break it otherwise."""
    sets: dict[str, Any] = {"world": "liar", "scenarios": 1200, "budget_start": 20.0, "override_rate": 0.02}
    raw, trusted = (override_bound(0, budget=budget, **sets) for budget in ("raw", "trusted"))
    assert raw["beyond"] <= 0 < trusted["beyond"]
    assert raw["closed"] > 0
