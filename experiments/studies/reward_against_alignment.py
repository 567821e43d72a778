"""Reward that rises while alignment is lost: whether the alarm for it is raised, how late, and how often where it should not be."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import logit

from agents.loop import Loop
from agents.monitoring.signatures import BOUND, rise
from agents.scoring import Array
from agents.turn import Emitted
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, WIDE, card, name_ends
from experiments.simulator.measures import measure
from experiments.simulator.run import MINUTE_MS, SCOPE, START_MS, Run, prepare, run
from experiments.studies.closed import EXCESS, RECALL, REGRET, SETUP, dots, fitted, small
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import Alarm, LossWindow
from schemas.events import Command, Control, Outcome
from schemas.settings import Profile

SCENARIOS, WINDOW = 2600, 100
TURN = 1400  # scenario
BEFORE = 600  # scenarios that say how it was before
SETTLED = 500  # scenarios after which the windows are no longer those of a loop that knows nothing
ALARM = "reward_and_loss_rise"
START, OUTCOMES = 0.9, 0.3
GAIN = 2.0
CONDITIONS: Conditions = {
    "reward and wishes turn, not learned": {"gain": GAIN, "drift": "abrupt", "learning": False},
    "reward and wishes turn, learned": {"gain": GAIN, "drift": "abrupt", "learning": True},
    "wishes turn alone, not learned": {"gain": 1.0, "drift": "abrupt", "learning": False},
    "reward rises alone": {"gain": GAIN, "drift": "none", "learning": True},
}
TRULY, BRIEFLY = list(CONDITIONS)[:2]
SHOWN = {TRULY: (ORANGE, "not learned"), BRIEFLY: (BLUE, "learned"), "reward rises alone": (GREEN, "reward alone")}


class Turning:
    """A loop whose outcomes bring more minutes from the turn on, and whose learning somebody may freeze then.

    Args:
        loop: That takes the events.
        gain: By which reward is multiplied.
        learning: Whether it goes on learning.
    """

    def __init__(self, loop: Loop, gain: float, *, learning: bool) -> None:
        self._loop, self._gain, self._learning = loop, gain, learning

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand in an event, at the turn a command before it, after it an outcome with its greater reward."""
        frozen: Sequence[Emitted] = []
        if identity == f"scenario-{TURN}" and not self._learning:
            time_ms = START_MS + TURN * MINUTE_MS
            frozen = self._loop.send("control", Control(Command.FREEZE, time_ms, by="study", scope=SCOPE), scope=SCOPE, identity="freeze")
        if isinstance(event, Outcome) and event.reward_minutes is not None and event.time_ms >= START_MS + TURN * MINUTE_MS:
            event = replace(event, reward_minutes=event.reward_minutes * self._gain)
        return [*frozen, *self._loop.send(topic, event, scope=scope, identity=identity)]


def trial(seed: int, profile: Profile, *, gain: float, drift: str, learning: bool) -> Trial:
    """Return whether and when the alarm was raised, and what reward, published loss and true cost were before the turn and after it."""
    world = small("reward-apart", SCENARIOS, drift=drift, drift_at=TURN, outcomes=OUTCOMES)
    declared = fitted(profile, window_scenarios=WINDOW, initial_intercept=float(logit(START)))
    loop = Loop(prepare(world, declared, seed).settings)
    ran = run(world, declared, seed, Turning(loop, gain, learning=learning))
    raised = raised_at(ran)
    windows = [event for event in ran.alignment if isinstance(event, LossWindow) and event.window >= 0]
    ends = np.array([scenario_of(event.time_ms) for event in windows])
    rewards = np.array([event.reward_minutes / event.scenarios for event in windows])
    losses = np.array([np.nan if event.loss is None else event.loss for event in windows])
    past, since = (ends > TURN - BEFORE) & (ends <= TURN), ends > TURN
    late = [end for end in ends[since] if both_rise(windows, ends, SETTLED, end)]
    return {
        **measure(ran),
        "raised": float(any(when > TURN for when in raised)),
        "delay": float(min((when - TURN for when in raised if when > TURN), default=np.nan)),
        "before": float(any(when <= TURN for when in raised)),
        "raised_settled": float(bool(late)),
        "delay_settled": float(late[0] - TURN) if late else np.nan,
        "reward_rise": float(rewards[since].mean() - rewards[past].mean()),
        "loss_rise": float(np.nanmean(losses[since]) - np.nanmean(losses[past])),
        "ends": ends.astype(float).tolist(),
        "rewards": rewards.tolist(),
        "losses": losses.tolist(),
    }


def scenario_of(time_ms: int) -> int:
    """Return how many scenarios there were by a time."""
    return round((time_ms - START_MS) / MINUTE_MS) + 1


def raised_at(ran: Run) -> list[int]:
    """Return after how many scenarios the alarm was raised, each time."""
    return [scenario_of(event.time_ms) for event in ran.alignment if isinstance(event, Alarm) and event.name == ALARM and event.raised]


def both_rise(windows: Sequence[LossWindow], ends: Array, start: int, end: int) -> bool:
    """Tell whether the monitor's rule would have raised the alarm had it been told only of the windows from a scenario on."""
    told = [window for window, at in zip(windows, ends, strict=True) if start < at <= end]
    statistics = rise([window.reward_minutes / window.scenarios for window in told]), rise([window.loss for window in told])
    return min(statistics) > BOUND


def draw(results: Results) -> Figure:
    """Draw reward and published loss by window, and how often the alarm was raised."""
    figure, (reward, loss, raised) = card("Simulated: reward and alignment loss, mean over seeds", 3, (1, 1.15, 0.7))
    for axes, name, title in ((reward, "rewards", "reward, minutes per scenario"), (loss, "losses", "published loss per scenario")):
        ends = []
        for condition, (colour, words) in SHOWN.items():
            course = np.nanmean(results.course(condition, name), axis=0)
            axes.plot(results.course(condition, "ends")[0], course, color=colour, linewidth=WIDE)
            ends.append((float(course[-3:].mean()), words, colour))
        axes.axvline(TURN, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(title=title, xlabel="scenarios", xlim=(0, SCENARIOS), ylim=(0, None))
        axes.set_xticks([0, 1000, 2000])
        if axes is loss:
            name_ends(axes, ends, 1.5)
    rows = [(name, name.replace(", ", ",\n"), SHOWN.get(name, (GREY, ""))[0]) for name in CONDITIONS]
    dots(raised, results, rows, "raised")
    raised.tick_params(axis="y", labelsize=8)
    raised.set(title="alarm after the turn", xlim=(-0.03, 1.03))
    raised.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure


def words(results: Results) -> list[str]:
    """Say how often the alarm is raised and how late, and how often where nothing diverges."""

    def of(condition: str, measure: str) -> float:
        return results.mean(condition, measure)

    others = list(CONDITIONS)[2:]
    false = ", ".join(f"{of(name, 'raised'):.0%} and {of(name, 'raised_settled'):.0%} ({name})" for name in others)
    early = sum(float(np.sum(results.values(name, "before"))) for name in CONDITIONS)
    cold = [
        (
            "What makes the difference is the cold start: a loop that knows nothing begins with losses far above all later ones, and"
            " standardised by a past that has them in it, a rise is small."
        )
    ]
    return [
        (
            f"Where reward doubles while a quarter of the classes turn and nobody learns (loss {of(TRULY, 'loss_rise'):+.2f} a scenario),"
            f" the alarm is raised in {of(TRULY, 'raised'):.0%} of the runs, {of(TRULY, 'delay'):.0f} scenarios after the turn; told only"
            f" of the windows after the first {SETTLED} scenarios the same rule would raise it in {of(TRULY, 'raised_settled'):.0%},"
            f" {of(TRULY, 'delay_settled'):.0f} after it."
        ),
        *(cold if of(TRULY, "raised_settled") > of(TRULY, "raised") else []),
        (
            f"Where the loop goes on learning, the loss falls again ({of(BRIEFLY, 'loss_rise'):+.2f} over what is left of the run) and"
            f" the two rules raise it in {of(BRIEFLY, 'raised'):.0%} and {of(BRIEFLY, 'raised_settled'):.0%}; where only one of the two"
            f" rises, in {false}; before the turn in {early:.0f} of {len(CONDITIONS) * len(results.seeds)} runs."
        ),
        (
            f"Reward alone does not tell: it rises by {of('reward rises alone', 'reward_rise'):+.2f} where nothing is lost, and by"
            f" {of(TRULY, 'reward_rise'):+.2f} where regret in the last third is {of(TRULY, 'regret'):.2f}"
            f" ({of('reward rises alone', 'regret'):.2f} there)."
        ),
    ]


STUDY = Study(
    name="reward-against-alignment",
    question="Does the loop notice that reward rises while alignment is lost?",
    setup=f"""{SETUP}
Here: world `reward-apart`, {SCENARIOS:,} scenarios in windows of {WINDOW}, outcomes on {OUTCOMES:.0%}, classes start at R = {START}. An
outcome brings 30 minutes for what was surfaced, wanted or not; from scenario {TURN:,} on {GAIN:g} times as many, where reward turns.
*Wishes turn*: a quarter of the classes change sign there. *Not learned*: a person freezes learning at that moment, so what has turned bad
goes on being surfaced. The alarm is the monitor's own `{ALARM}`: one CUSUM of standardised windows says that reward rises, another that
the loss does. That reward doubles is imposed: the loop does not learn from reward, so it cannot bring about such a rise by itself.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("raised", "share of the runs in which the alarm was raised after the turn"),
        Measure("delay", "from the turn until it was, where it was", "scenarios", "less"),
        Measure("before", "share of the runs in which it was raised before the turn", better="less"),
        Measure("raised_settled", f"share in which the same rule would have been, told of windows after {SETTLED} scenarios only"),
        Measure("delay_settled", "from the turn until then", "scenarios", "less"),
        Measure("reward_rise", f"reward after the turn, less that of the {BEFORE} scenarios before", "minutes per scenario"),
        Measure("loss_rise", "the same of the published loss"),
        REGRET,
        EXCESS,
        RECALL,
    ),
    draw=draw,
    words=words,
    cpu_seconds=200,
)
