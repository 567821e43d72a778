"""Studies of the whole loop, made tiny: finite, repeatable, and each with what a wrong implementation would fail."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from experiments.simulator.run import Run, run
from experiments.simulator.world import World
from experiments.studies import (
    budget,
    closed,
    default_against_paper,
    exploration,
    mis_declared_costs,
    noise,
    red_button_ablation,
    threshold_ablation,
)
from experiments.studies.study import Trial, number
from schemas.settings import DEPLOY, Profile, read_yaml

DEFAULT, PAPER = (read_yaml(DEPLOY / "profiles" / f"{name}.yaml", Profile) for name in ("default", "paper"))
MODULES = (threshold_ablation, red_button_ablation, budget, exploration, mis_declared_costs, default_against_paper, noise)
TINY, SHORT = 450, 1200
Shorten = Callable[[ModuleType, int], None]


@pytest.fixture
def shorten(monkeypatch: pytest.MonkeyPatch) -> Shorten:
    """Give a function that makes the runs of a study so many scenarios long."""

    def shortened(module: ModuleType, scenarios: int) -> None:
        several = isinstance(module.SCENARIOS, dict)
        monkeypatch.setattr(module, "SCENARIOS", dict.fromkeys(module.SCENARIOS, scenarios) if several else scenarios)
        if hasattr(module, "WINDOW"):
            monkeypatch.setattr(module, "WINDOW", 200)

    return shortened


def tried(module: ModuleType, condition: str, seed: int = 0, profile: Profile = DEFAULT) -> Trial:
    """Return a trial of a study's condition."""
    trial: Trial = module.STUDY.trial(seed, profile, **module.STUDY.conditions[condition])
    return trial


def test_each_study_is_finite_and_repeats(shorten: Shorten) -> None:
    """The same seed gives the same numbers, all finite, in the last condition of each study, whose names are the study's."""
    for module in MODULES:
        shorten(module, TINY)
        condition = list(module.STUDY.conditions)[-1]
        found = tried(module, condition)
        assert found == tried(module, condition), module.STUDY.name
        measures = {each.name: number(found, each.name) for each in module.STUDY.measures}
        assert all(np.isfinite(value) for name, value in measures.items() if name not in ("fidelity", "loss")), measures


def test_conditions_of_a_study_meet_the_same_scenarios(monkeypatch: pytest.MonkeyPatch, shorten: Shorten) -> None:
    """Whatever a condition sets, its seed has the same P(wanted) and the same answers in waiting, but for what the condition says."""
    met: list[Run] = []

    def noted(world: World, profile: Profile, seed: int) -> Run:
        met.append(run(world, profile, seed))
        return met[-1]

    monkeypatch.setattr(closed, "run", noted)
    for module in (threshold_ablation, mis_declared_costs):
        shorten(module, TINY)
        met.clear()
        for condition in list(module.STUDY.conditions)[:3]:
            tried(module, condition)
        assert all(np.array_equal(each.truth.probability, met[0].truth.probability) for each in met)
        assert all(each.replies.kind == met[0].replies.kind for each in met)


def test_a_threshold_that_nothing_reaches_earns_nothing(shorten: Shorten) -> None:
    """At a fixed threshold of 1 nothing is surfaced, so recall, overrides and reward are 0; at .5 all three are not."""
    shorten(threshold_ablation, SHORT)
    none = threshold_ablation.trial(0, DEFAULT, selector="fixed", threshold=1.0)
    some = threshold_ablation.trial(0, DEFAULT, selector="fixed", threshold=0.5)
    for name in ("recall", "overrides_per_scenario", "reward"):
        assert none[name] == 0
        assert number(some, name) > 0


def test_fixed_without_a_number_is_the_threshold_of_the_costs(shorten: Shorten) -> None:
    """`fixed` without a threshold decides as `fixed` at k/(k + m) = .8."""
    shorten(threshold_ablation, TINY)
    named = threshold_ablation.trial(0, DEFAULT, selector="fixed", threshold=0.8)
    assert named == threshold_ablation.trial(0, DEFAULT, selector="fixed", threshold=None)


def test_only_a_button_that_is_learned_from_withholds(shorten: Shorten) -> None:
    """Surfaced until overridden, all stays surfaced where answers move nothing; learned overrides leave fewer of them to give."""
    shorten(red_button_ablation, SHORT)
    found = {
        button: tried(red_button_ablation, f"{name}, surfaced until overridden") for button, name in red_button_ablation.BUTTONS.items()
    }
    overrides = {button: number(trial, "overrides_per_surfaced") for button, trial in found.items()}
    assert number(found["unheard"], "recall") > 0.9
    assert number(found["none"], "recall") > number(found["learned"], "recall") > 0.5
    assert overrides["learned"] < 0.7 * min(overrides["none"], overrides["unheard"])


def test_without_learning_what_is_withheld_stays_so(shorten: Shorten) -> None:
    """From a start below the threshold, answers that move nothing leave recall near 0; likes alone, heard, bring it up."""
    shorten(red_button_ablation, SHORT)
    unheard, none = (
        number(tried(red_button_ablation, f"{name}, withheld until liked"), "recall") for name in ("not learned from", "no button")
    )
    assert unheard < 0.1
    assert none > 2 * unheard


def test_only_the_raw_budget_bounds_overrides_and_only_it_is_shut_by_liars(shorten: Shorten) -> None:
    """With liars and a small B₀, `raw` is at no answer beyond its bound and closed; without a budget the bound is passed."""
    shorten(budget, SHORT)
    raw, off = (budget.trial(0, DEFAULT, name="liars", budget=each, start=10.0) for each in ("raw", "off"))
    assert number(raw, "beyond") <= 0 < number(off, "beyond")
    assert number(raw, "closed") > 0.2
    assert off["closed"] == 0


def test_a_fixed_threshold_needs_outcomes_or_a_hopeful_start(shorten: Shorten) -> None:
    """From R = .5 and without outcomes, a fixed .8 surfaces nothing; drawing, outcomes or a start of .9 each surface something."""
    shorten(exploration, SHORT)
    assert tried(exploration, "fixed τ, no outcomes")["recall"] == 0
    for condition in ("fixed τ, outcomes", "posterior, no outcomes", "fixed τ, start at .9, no outcomes"):
        assert number(tried(exploration, condition), "recall") > 0.05, condition


def test_costs_are_counted_as_they_are_not_as_declared(shorten: Shorten) -> None:
    """Of two declared costs so high that nothing is surfaced, the regret is the same: what the oracle saves by the true ones."""
    shorten(mis_declared_costs, TINY)
    dear, dearer = (mis_declared_costs.trial(0, DEFAULT, cost=cost, drift="none") for cost in (1e6, 1e7))
    assert dear["recall"] == dearer["recall"] == 0
    assert dear["regret"] == dearer["regret"]
    assert 0 < number(dear, "regret") < 1


def test_a_higher_declared_cost_surfaces_less(shorten: Shorten) -> None:
    """Recall falls as the declared cost of an override rises, on average over seeds."""
    shorten(mis_declared_costs, SHORT)
    low, high = (
        np.mean([number(mis_declared_costs.trial(seed, DEFAULT, cost=cost, drift="none"), "recall") for seed in range(2)])
        for cost in (1.0, 16.0)
    )
    assert low > high


def test_the_choices_are_the_papers() -> None:
    """Each replacement is what paper.yaml has and default.yaml has not; only `never` is nobody's."""
    for name, changes in default_against_paper.CHOICES.items():
        for field, value in changes.items():
            assert value == getattr(PAPER, field) or name == "monitor: never"
            assert value != getattr(DEFAULT, field)


def test_the_default_with_nothing_replaced_is_the_given_profile_and_paper_is_its_file(shorten: Shorten) -> None:
    """The row `default` follows `--profile`; the row `paper` does not, and is what that file alone would be."""
    shorten(default_against_paper, TINY)
    given = tried(default_against_paper, "default, liar", profile=PAPER)
    assert given == tried(default_against_paper, "paper, liar")
    assert given != tried(default_against_paper, "default, liar")


def test_noise_enters_the_published_loss(shorten: Shorten) -> None:
    """The share of overrides among answers grows with the mislabelled ones, and with it the published loss."""
    shorten(noise, SHORT)
    clean, noisy = (tried(noise, noise.NAMES[rate]) for rate in (0.0, 0.4))
    assert number(noisy, "overrides_per_answered") > number(clean, "overrides_per_answered") + 0.1
    assert number(noisy, "loss") > number(clean, "loss")


def test_a_course_is_the_mean_of_stretches() -> None:
    """A course has POINTS means whose own mean is that of the whole, where the stretches are of one length."""
    values = np.arange(closed.POINTS * 5.0)
    assert len(closed.course(values)) == closed.POINTS
    assert np.mean(closed.course(values)) == pytest.approx(values.mean())
