"""What each monitor costs over the best schedule in hindsight, how often and how late it retrains, and what F says of it."""

from typing import Any

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, card
from experiments.studies import monitors
from experiments.studies.closed import dots
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.settings import Profile

PRICE, WINDOWS = 100.0, 80
PERIODS = (5, 10, 20)
BOUNDS = (0.1, 0.2, 0.3)
CONDITIONS: Conditions = {
    "challenger": {"monitor": "challenger"},
    "learned": {"monitor": "learned"},
    **{f"threshold {bound:g}": {"monitor": "threshold", "loss_bound": bound} for bound in BOUNDS},
    **{f"every {period}": {"monitor": "periodic", "retraining_period_windows": period} for period in PERIODS},
    "random, one in 10": {"monitor": "random", "retraining_period_windows": 10},
    "never": {"monitor": "never"},
    "always": {"monitor": "always"},
}
DRIFTS: tuple[monitors.Drifts, ...] = ("abrupt", "gradual", "none")
FAMILY = {"challenger": BLUE, "learned": GREEN, "threshold": ORANGE, "every": PURPLE}
POOLED = "over_best"


def trial(seed: int, profile: Profile, **sets: Any) -> Trial:  # noqa: ANN401  # what `monitors.trial` takes
    """Run a monitor over three streams of windows: one that turns abruptly, one that turns slowly, one that does not."""
    found = {drift: monitors.trial(seed, profile, drift=drift, price=PRICE, windows=WINDOWS, **sets) for drift in DRIFTS}
    whole = sum(each["cost"] for each in found.values())
    return {
        POOLED: whole / sum(each["cost_best"] for each in found.values()),
        **{f"over_{drift}": found[drift]["over_hindsight"] for drift in DRIFTS[:2]},
        # Two sums of the same costs differ in the last bit, by the processor above or below; 0.0 is added because of -0.0.
        "prices_none": round(found["none"]["prices_above_never"], 9) + 0.0,
        **{f"fidelity_{drift}": each["fidelity"] for drift, each in found.items()},
        **{f"retrainings_{drift}": each["retrainings"] for drift, each in found.items()},
        "delay": found["abrupt"]["delay"],
    }


def draw(results: Results) -> Figure:
    """Draw what each monitor costs, and F, with drift and without."""
    figure, (cost, bent, still) = card(f"Simulated: monitors, total of losses and prices ({PRICE:.0f} each)", 3, (1.15, 1, 1), height=4.6)
    rows = [(name, name, FAMILY.get(name.split()[0], GREY)) for name in CONDITIONS]
    cost.set_xscale("log")
    dots(cost, results, rows, POOLED)
    cost.set(title="cost over hindsight's, pooled", xlim=(0.9, None))
    cost.xaxis.set_major_formatter("{x:.3g}")
    cost.axvline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    dots(bent, results, rows, "fidelity_abrupt", named=False)
    bent.set(title="fidelity F, abrupt drift", xlim=(0, 1.02))
    dots(still, results, rows, "fidelity_none", named=False)
    still.set(title="fidelity F, no drift", xlim=(0, 1.02))
    return figure


def words(results: Results) -> list[str]:
    """Say what the default costs against the rest, where it loses, and why F is no headline."""

    def of(name: str, measure: str) -> float:
        return results.mean(name, measure)

    others = [name for name in CONDITIONS if name not in {"challenger", "learned"}]
    best = min(others, key=lambda name: of(name, POOLED))
    slow = min(CONDITIONS, key=lambda name: of(name, "over_gradual"))
    faithful = max(CONDITIONS, key=lambda name: of(name, "fidelity_abrupt"))
    return [
        (
            f"Over abrupt, slow and no drift together the challenger's monitor costs {of('challenger', POOLED):.2f} times what the best"
            f" schedule in hindsight does, the learned one {of('learned', POOLED):.2f}, and the best of the others, `{best}`, which was"
            f" found by trying, {of(best, POOLED):.2f}; never retraining {of('never', POOLED):.1f}, always {of('always', POOLED):.1f}."
        ),
        (
            f"Under abrupt drift it costs {of('challenger', 'over_abrupt'):.2f} and is {of('challenger', 'delay'):.1f} windows late"
            f" (`{best}` {of(best, 'over_abrupt'):.2f}); under slow drift `{slow}` costs least ({of(slow, 'over_gradual'):.2f}; challenger"
            f" {of('challenger', 'over_gradual'):.2f}), and pays {of(slow, 'prices_none'):+.1f} prices where nothing drifts, the"
            f" challenger's {of('challenger', 'prices_none'):+.2f}, `learned` {of('learned', 'prices_none'):+.2f}."
        ),
        (
            f"F alone is no headline: under abrupt drift the best F is that of `{faithful}` ({of(faithful, 'fidelity_abrupt'):.2f}), at"
            f" {of(faithful, 'over_abrupt'):.2f} times hindsight; `never` has F = {of('never', 'fidelity_abrupt'):.2f} there, above"
            f" `every 10` ({of('every 10', 'fidelity_abrupt'):.2f}), at {of('never', 'over_abrupt'):.1f} times hindsight against"
            f" {of('every 10', 'over_abrupt'):.1f}, and F = {of('never', 'fidelity_none'):.0f} without drift. F counts windows in which a"
            " monitor acted as hindsight did, not what the others cost."
        ),
    ]


STUDY = Study(
    name="monitor-ablation",
    question="What is the monitor worth against fixed intervals, a bound on the loss, chance, never and always?",
    setup=f"""
The stream of windows of `experiments/studies/monitors.py`: {WINDOWS} windows of {monitors.SCENARIOS:,} scenarios, {monitors.JUDGED} of them
judged, four features; the direction that tells turns {monitors.TURNS} times by {monitors.TURN_DEGREES:.0f}° (*abrupt*), by
{monitors.GRADUAL_DEGREES}° a window (*gradual*), or not (*none*). Monitors are the pipeline's own, with the constants of the profile but
for what a name says: bound on the share overridden, period in windows. A command deploys the challenger that was fitted last, at a price of
{PRICE:.0f}; there is no gate but the monitor, so a bad command deploys, and no cooldown, but that the window in which a model comes into
force only begins its evidence: so `always` deploys in every second one. Cost is excess cost in truth plus prices; hindsight's is the
cheapest schedule by the true costs. *Pooled*: costs of the three worlds added up, over hindsight's. Not in the loop: offsets, budget and
trust do not act here.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure(POOLED, "excess cost and prices of all three worlds, over hindsight's", better="less"),
        Measure("over_abrupt", "the same, abrupt drift alone", better="less"),
        Measure("over_gradual", "the same, slow drift alone", better="less"),
        Measure("prices_none", "no drift: cost above never retraining", "prices", "less"),
        Measure("fidelity_abrupt", "F against hindsight, abrupt drift", better="more"),
        Measure("fidelity_gradual", "F, slow drift", better="more"),
        Measure("fidelity_none", "F, no drift", better="more"),
        Measure("retrainings_abrupt", "commands, abrupt drift"),
        Measure("retrainings_gradual", "commands, slow drift"),
        Measure("retrainings_none", "commands, no drift", better="less"),
        Measure("delay", "abrupt drift: windows from each ideal deployment to the monitor's next", "windows", "less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=15,
)
