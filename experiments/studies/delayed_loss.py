"""The monitors under estimates of the loss that come late."""

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, card
from experiments.studies.noisy_loss import MEASURES, PRICE, SETUP, draw_lines, trial
from experiments.studies.study import Conditions, Results, Study

LAGS = (0, 1, 2, 5, 10)
LINES = {"challenger": BLUE, "threshold": ORANGE, "periodic": GREY}
CONDITIONS: Conditions = {f"{name}, {lag} windows late": {"monitor": name, "lag": lag} for name in LINES for lag in LAGS}


def draw(results: Results) -> Figure:
    """Draw the monitors against the delay."""
    figure, panels = card(f"Simulated: monitors that are told of each window late (price {PRICE:.0f}; bands: 95 %)", 3)
    return draw_lines(figure, panels, results, LINES, [(float(lag), f", {lag} windows late") for lag in LAGS], "windows late")


def words(results: Results) -> list[str]:
    """Say what delay costs."""
    at = {lag: results.mean(f"challenger, {lag} windows late", "over_hindsight") for lag in LAGS}
    bound = {lag: results.mean(f"threshold, {lag} windows late", "over_hindsight") for lag in LAGS}
    still = max(results.mean(f"challenger, {lag} windows late", "retrainings_still") for lag in LAGS)
    fidelity = {lag: results.mean(f"challenger, {lag} windows late", "fidelity") for lag in LAGS}
    return [
        (
            f"Told two windows late, the challenger's monitor costs {at[2]:.2f} times hindsight instead of {at[0]:.2f}, ten late"
            f" {at[10]:.2f} (threshold on the loss {bound[2]:.2f} and {bound[10]:.2f}); F falls from {fidelity[0]:.2f} to"
            f" {fidelity[10]:.2f}."
        ),
        f"Delay makes it late, not nervous: without drift it retrains {still:.2f} times in a run at most, however late it is told.",
        (
            f"F alone misleads: five windows late the threshold has F = {results.mean('threshold, 5 windows late', 'fidelity'):.2f}, the"
            f" challenger's monitor {fidelity[5]:.2f}, at {bound[5]:.2f} and {at[5]:.2f} times the cost of hindsight."
        ),
    ]


STUDY = Study(
    name="delayed-loss",
    question="What does a monitor cost that is told the loss late?",
    setup=SETUP
    + """
Trainer and monitor hear of a window only so many windows after it: the challenger that can be deployed is as old. Hindsight and the
ideal of F are not late, so part of the cost is what nobody could avoid.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=MEASURES,
    draw=draw,
    words=words,
    cpu_seconds=40,
)
