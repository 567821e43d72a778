"""Whether a monitor that acts on what the loop has learned comes to act rightly as the loop's own loss falls."""

import numpy as np
from matplotlib.figure import Figure

from agents.scoring import SCHEDULES, Array, mean_update
from experiments.pictures_of_rules_card import BLUE, GREEN, ORANGE, PURPLE, WIDE, card, name_ends
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

CLASSES, ANSWERS = 500, 5000
SPREAD = (0.0, 0.6)
SHOWN = np.unique([*np.geomspace(1, ANSWERS, 40).astype(int), 10, 1000])
EARLY, LATE = 10, 1000
CONDITIONS: Conditions = {
    "Λ = 2": {"steepness": 2.0, "at_the_bound": False},
    "Λ = 5": {"steepness": 5.0, "at_the_bound": False},
    "Λ = 20": {"steepness": 20.0, "at_the_bound": False},
    "Λ = 5, all at the bound": {"steepness": 5.0, "at_the_bound": True},
    "hard bound, all at the bound": {"steepness": None, "at_the_bound": True},
}
DRAWN = (
    ("Λ = 2", "Λ = 2", GREEN),
    ("Λ = 5", "Λ = 5", BLUE),
    ("Λ = 20", "Λ = 20", PURPLE),
    ("hard bound, all at the bound", "hard bound", ORANGE),
)


def trial(seed: int, profile: Profile, *, steepness: float | None, at_the_bound: bool) -> Trial:
    """Return loss and infidelity of a monitor along the answers, and how close 1 - F ever comes to Λ L."""
    random = generator(seed, "reducibility", f"{at_the_bound}")
    misalignment = np.full(CLASSES, profile.loss_bound) if at_the_bound else random.uniform(*SPREAD, CLASSES)
    losses, infidelities = [], []
    told, step = np.full(CLASSES, profile.prior_mean), SCHEDULES["harmonic"]
    for answer in range(1, ANSWERS + 1):
        overridden = (random.random(CLASSES) < misalignment).astype(float)
        told = np.asarray(mean_update(told, overridden, step(profile.prior_weight, float(answer - 1), 1.0)))
        if answer in SHOWN:
            losses.append(float(np.mean(np.abs(told - misalignment))))
            apart = np.abs(policy(told, steepness, profile.loss_bound) - policy(misalignment, steepness, profile.loss_bound))
            infidelities.append(float(np.mean(apart)))
    at = {int(count): place for place, count in enumerate(SHOWN)}
    nearest = max(infidelity / loss for infidelity, loss in zip(infidelities, losses, strict=True))
    return {
        "loss_early": losses[at[EARLY]],
        "loss_late": losses[at[LATE]],
        "infidelity_early": infidelities[at[EARLY]],
        "infidelity_late": infidelities[at[LATE]],
        "share_of_bound": nearest / steepness if steepness else np.nan,
        "losses": losses,
        "infidelities": infidelities,
    }


def policy(misalignment: Array, steepness: float | None, bound: float) -> Array:
    """Return the probability of stepping in: a ramp of slope Λ through one half at the bound, or a step for None."""
    if steepness is None:
        return np.where(misalignment >= bound, 1.0, 0.0)
    return np.clip(0.5 + steepness * (misalignment - bound), 0.0, 1.0)


def draw(results: Results) -> Figure:
    """Draw 1 - F against L with the bounds, and L + (1 - F) along the answers."""
    figure, (against, both) = card("Simulated: loss L and infidelity 1 − F of a monitor that acts on what was learned", 2)
    against.set(title="1 − F as L falls; dashed: the bound Λ L", xlabel="L = E|M − p|")
    both.set(title="L + (1 − F)", xlabel="answers of each class", xlim=(1, ANSWERS))
    sums = []
    for condition, name, colour in DRAWN:
        loss, infidelity = (results.course(condition, each).mean(axis=0) for each in ("losses", "infidelities"))
        from_early = SHOWN >= EARLY  # before, few values of M are possible and the lines jump
        against.loglog(loss[from_early], infidelity[from_early], color=colour, linewidth=WIDE, label=name)
        steepness = CONDITIONS[condition]["steepness"]
        if steepness:
            against.loglog(loss, steepness * loss, color=colour, linewidth=1, linestyle=(0, (4, 3)))
        both.loglog(SHOWN, loss + infidelity, color=colour, linewidth=WIDE)
        sums.append((float(loss[-1] + infidelity[-1]), name, colour))
    against.set_xlim(0.12, 4e-3)
    against.set_ylim(5e-3, 2.5)
    both.set_ylim(5e-3, 2.5)
    against.legend(loc="lower left", frameon=False)
    name_ends(both, sums, 1.4)
    return figure


def words(results: Results) -> list[str]:
    """Say what of the third theorem is seen."""
    smooth = [condition for condition, sets in CONDITIONS.items() if sets["steepness"]]
    nearest = max(results.mean(condition, "share_of_bound") for condition in smooth)
    early, late = (results.mean("Λ = 5", f"infidelity_{when}") for when in ("early", "late"))
    hard = results.mean("hard bound, all at the bound", "infidelity_late")
    return [
        (
            f"A monitor whose policy is Lipschitz comes to act rightly as the loss falls: with Λ = 5, 1 − F falls from {early:.3f} after"
            f" {EARLY} answers a class to {late:.3f} after {LATE:,}, and is never above {nearest:.2f} of Λ L at any Λ."
        ),
        (
            f"It takes a Lipschitz policy: a hard bound with all classes on it is still wrong in {hard:.0%} of its actions after"
            f" {LATE:,} answers, however small the loss."
        ),
        "This is our own statement of the paper's third theorem, whose proof we have not read: 1 − F ≤ Λ E|M − p|, hence L + (1 − F) → 0.",
    ]


STUDY = Study(
    name="reducibility",
    question="Does a monitor that acts on what the loop has learned act rightly once the loop's own loss is gone?",
    setup=f"""
{CLASSES} classes a seed, unwanted with rates p from U({SPREAD[0]}, {SPREAD[1]}), or all exactly at the bound b of the profile (.3); each is
learned from {ANSWERS:,} answers by the paper's running mean M. The monitor steps in on a class with probability `π(M)`, a ramp of slope Λ
through one half at b; the ideal one with `π(p)`, both by the same coin. So `1 − F = E|π(M) − π(p)|`, and the loss is `L = E|M − p|`.

Our own statement of the third theorem (meta-alignment reduces to alignment), of which only the abstract was at hand: if π is
Lipschitz with constant Λ, then `1 − F ≤ Λ L`; so where the loop's loss goes to 0, the monitor's fidelity goes to 1 at least as fast,
and their sum `L + (1 − F) ≤ (1 + Λ) L` goes to 0. That much is arithmetic; what is simulated is that L falls, and how near 1 − F comes
to its bound. Without a Lipschitz policy no such bound holds, as the last condition shows.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("loss_early", f"L after {EARLY} answers a class", better="less"),
        Measure("loss_late", f"L after {LATE:,}", better="less"),
        Measure("infidelity_early", f"1 − F after {EARLY} answers a class", better="less"),
        Measure("infidelity_late", f"1 − F after {LATE:,}", better="less"),
        Measure("share_of_bound", "the largest (1 − F)/(Λ L) at any moment; at most 1 if the statement holds"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=60,
)
