"""What exploring costs early, and what not exploring costs late."""

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logit

from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, card, name_ends
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, against, dots, fitted, line, regret_of, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.settings import Profile

SCENARIOS = 1600
EARLY = 5  # the first fifth
OPTIMISM = 0.9
OUTCOMES = (0.0, 0.1)
RULES = {
    "posterior": ("posterior", None, 0.5, BLUE),
    "fixed τ": ("fixed", None, 0.5, ORANGE),
    "fixed τ, start at .9": ("fixed", None, OPTIMISM, GREEN),
    "fixed .5": ("fixed", 0.5, 0.5, GREY),
    "thompson": ("thompson", None, 0.5, PURPLE),
}
CONDITIONS: Conditions = {
    f"{name}, {'outcomes' if outcomes else 'no outcomes'}": {
        "selector": selector,
        "threshold": threshold,
        "start": start,
        "outcomes": outcomes,
    }
    for outcomes in OUTCOMES
    for name, (selector, threshold, start, _) in RULES.items()
}


def trial(seed: int, profile: Profile, *, selector: str, threshold: float | None, start: float, outcomes: float) -> Trial:
    """Return early and late regret of a selector that starts at a confidence."""
    world = small("mixed", SCENARIOS, outcomes=outcomes)
    chosen = fitted(profile, selector=selector, fixed_threshold=threshold, initial_intercept=float(logit(start)))
    ran, found = tried(world, chosen, seed)
    return found | {"early": float(np.mean(regret_of(ran)[: SCENARIOS // EARLY]))}


def draw(results: Results) -> Figure:
    """Draw the cost along the run without outcomes, and early and late regret."""
    figure, (along, early, late) = card("Simulated: exploration, a quarter of the classes mixed", 3, (1.3, 1, 0.7))
    ends = [
        (line(along, results, f"{name}, no outcomes", "regrets", SCENARIOS, colour), name, colour)
        for name, (_, _, _, colour) in RULES.items()
    ]
    along.set(title="cost above the oracle's, no outcomes", xlabel="scenarios")
    along.set_ylim(bottom=0)
    name_ends(along, ends, 1.6)
    rows = [(condition, condition, RULES[condition.rsplit(", ", 1)[0]][3]) for condition in CONDITIONS]
    dots(early, results, rows, "early")
    early.tick_params(axis="y", labelsize=8)
    early.set(title="regret, first fifth", xlabel="cost per scenario")
    dots(late, results, rows, "regret", named=False)
    late.set(title="regret, last third", xlabel="cost per scenario")
    return figure


def words(results: Results) -> list[str]:
    """Say what exploration costs and buys, without outcomes and with them."""
    names = {"ours": "posterior", "fixed": "fixed τ", "hope": "fixed τ, start at .9", "half": "fixed .5", "paper": "thompson"}

    def of(measure_name: str, ending: str = "no outcomes") -> dict[str, float]:
        return {short: results.mean(f"{name}, {ending}", measure_name) for short, name in names.items()}

    early, late, recall = of("early"), of("regret"), of("recall")
    told_early, told = of("early", "outcomes"), of("regret", "outcomes")
    ours, hope = "posterior, no outcomes", "fixed τ, start at .9, no outcomes"
    return [
        (
            f"Without outcomes a fixed threshold at k/(k + m) and a start of .5 surfaces nothing for good (recall {recall['fixed']:.2f});"
            f" drawing from the posterior costs {early['ours']:.3f} a scenario in the first fifth and {late['ours']:.3f} in the last third,"
            f" recall {recall['ours']:.2f}."
        ),
        (
            "Optimism can stand in for exploration where nothing changes: a fixed threshold with a start of .9, where all is surfaced"
            f" until overridden, pays {early['hope']:.3f} early and {late['hope']:.3f} late; beside it `posterior` pays late"
            f" {against(results.gain(ours, hope, 'regret'))}, over the whole run {against(results.gain(ours, hope, 'excess'))}."
        ),
        (
            "With outcomes on 10 % of the scenarios the fixed threshold finds its classes without exploring: late regret"
            f" {told['fixed']:.3f}, `posterior` {told['ours']:.3f}; early {told_early['fixed']:.3f} and {told_early['ours']:.3f}."
        ),
        (
            f"The paper's Thompson draws a threshold, not a class: {late['paper']:.3f} late without outcomes and {told['paper']:.3f} with;"
            f" a fixed .5 {late['half']:.3f} and {told['half']:.3f}. Over the whole run `posterior` pays, beside that fixed .5,"
            f" {against(results.gain(ours, 'fixed .5, no outcomes', 'excess'))} without outcomes and"
            f" {against(results.gain('posterior, outcomes', 'fixed .5, outcomes', 'excess'))} with."
        ),
    ]


STUDY = Study(
    name="exploration",
    question="What does exploring cost early, and what does not exploring cost late?",
    setup=f"""{SETUP}
Here: world `mixed`, {SCENARIOS:,} scenarios, with outcomes on 10 % of all scenarios and without any. τ = k/(k + m) = .8. `posterior`
draws each class's offset; *fixed τ* does not; *start at .9* is an initial model that puts every class at R = .9 before its first
answer; `thompson` draws one of five thresholds for the scope. All else is the profile.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(Measure("early", "cost per scenario above the oracle's, first fifth", better="less"), REGRET, EXCESS, RECALL, ANSWERED),
    draw=draw,
    words=words,
    cpu_seconds=250,
)
