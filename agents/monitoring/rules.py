"""The monitors: plain functions that weigh one more window, and say whether its end is the time to retrain.

A study drives them without events: it makes `Window`s in a row, each with a `Sight` of what the decider has told, and calls

    evidence, before, learned = Evidence(), None, Learned()
    for window, sight in ...:
        weighed = weigh(evidence, before, window, sight, profile, learned)
        evidence, learned, before = weighed.evidence, weighed.learned, window
        if weighed.passes: ...  # deploy window.next; the window after that has it as `in_force`

and, for `learned`, hands the windows so far to `learned.teach` before each call. What schedule would have been cheapest is told by
`hindsight.cheapest`, over windows with true costs (oracle) or with the trainer's.
"""

from collections.abc import Callable, Sequence
from math import ceil, inf, sqrt
from typing import Literal, NamedTuple

import numpy as np

from agents.monitoring import learned as learning
from agents.monitoring.hindsight import price_of
from agents.monitoring.rows import Evidence, Learned, Sight, Window
from agents.training.commands import DIFFERING_LEAST, SAMPLE_SIZE_LEAST, shortfall
from agents.training.turn import HISTORY_WINDOWS
from schemas.alignment import OffPolicy
from schemas.settings import Profile

# Share of the price by which a challenger has to be cheaper in every window: less is chance. A share, so that it is the same evidence
# in whatever unit costs are declared.
SLACK = 0.04
CAUTION = 3.0  # standard deviations of what was saved
STALE_WINDOWS, STALE_ERRORS, AGE_MAX = 8, 2.0, 20
# Of CAUTION and STALE_ERRORS while another model was in force lately: what has moved since is not all of what challengers are fitted on.
CAUTION_SHARE_AFTER = 0.5
# A command is carried out in the window after its own, whose costs are then those of two models: the next whole one tells.
COOLDOWN_WINDOWS = 2
LEARNED_LEAST = 0.5  # probability that hindsight will want it


class Weighed(NamedTuple):
    """What a monitor makes of a window: its evidence, whether that is enough, why in numbers, and what it has learned."""

    evidence: Evidence
    passes: bool
    said: str
    learned: Learned = Learned()


Monitor = Callable[[Evidence, Window, Sight, Profile, Learned], Weighed]


def by_challenger(evidence: Evidence, window: Window, sight: Sight, profile: Profile, _learned: Learned) -> Weighed:
    """Retrain when what the challengers would have saved passes the price, and is more than chance: see `added`."""
    evidence, strength, said = added(evidence, window, sight, profile)
    return Weighed(evidence, strength > 1, said)


def added(evidence: Evidence, window: Window, sight: Sight, profile: Profile) -> tuple[Evidence, float, str]:
    """Add up what the challengers would have saved: s <- max(0, s + cost in force - cost of challenger - slack).

    Slack is a share of the price. The bound of s is the price, and CAUTION standard deviations of what was added up, so that chance
    does not pass. Or `staleness` of the model in force passes the price, and STALE_ERRORS standard errors. Half as many of either do
    where the model in force is new, see `changed_lately`. The evidence is every window since the one after s was last 0. A scope's
    first model has neither price nor caution: it is wanted as soon as it is better. A window in which nothing was compared leaves s
    alone.

    Returns:
        The evidence; the larger of the two as a share of its bound, above 1 where it passes; what there is to say.

    Source: one-sided CUSUM, Page, Biometrika 41 (1954); DESIGN section 7.
    """
    price, statistic, since, variance = price_of(window, profile.retraining_price), evidence.statistic, evidence.since, evidence.variance
    if window.advantage is None:
        said = "no challenger was compared in this window"
    else:
        since, variance = (since, variance) if statistic > 0 else (window.window, 0.0)
        statistic = max(0.0, statistic + window.advantage - SLACK * price)
        variance += 0.0 if window.first else window.deviation**2
        said = f"challenger cheaper by {window.advantage:.4g} over {window.judged} judgements"
    share = CAUTION_SHARE_AFTER if changed_lately(window, sight) else 1.0
    bound = max(price, share * CAUTION * sqrt(variance))
    strength, said = share_of(statistic, bound), f"{said}; s {statistic:.4g} of {bound:.4g}"
    if statistic > 0 and strength <= 1 and window.advantage is not None and not window.first:
        cost, error = staleness([*sight.past, window], SLACK * price)
        strength = max(strength, share_of(cost, max(price, share * STALE_ERRORS * error)))
        said = f"{said}; models of its age have cost {cost:.4g} ± {error:.4g} more than challengers"
    return Evidence(statistic, since, variance), strength, said


def changed_lately(window: Window, sight: Sight) -> bool:
    """Tell whether another model than the one in force was so in a window that is fitted on, the initial one aside; however it came."""
    recent = [past for past in sight.past[-HISTORY_WINDOWS:] if past.window >= window.window - HISTORY_WINDOWS]
    return any(past.in_force != window.in_force and not past.first for past in recent)


def share_of(value: float, bound: float) -> float:
    """Return a value as a share of its bound; what passes a bound of 0 passes it by far."""
    if bound > 0:
        return value / bound
    return inf if value > 0 else 0.0


def staleness(windows: Sequence[Window], slack: float) -> tuple[float, float]:
    """Return what a model of the age of the one in force has cost more than challengers over its life, and the standard error of it.

    In each of the last STALE_WINDOWS windows v, over the ages a up to that of the model in force:

        q_v = sum over a of cost_v(the challenger of a windows before) - cost_v(the challenger of v) - slack

    Every window tells of every age, whatever is in force: where a drift goes on, that is known long before the model in force alone
    could show it. Mean and standard error of q_v; (0, 0) where the windows are too few, or the age is not known.

    Args:
        windows: up to now, oldest first.
        slack: in the costs' unit.
    """
    fitted = [window.next for window in windows]
    if len(windows) <= STALE_WINDOWS or windows[-1].in_force not in fitted:
        return 0.0, 0.0
    age = min(AGE_MAX, len(windows) - 2 - fitted.index(windows[-1].in_force))
    told = []
    for place in range(len(windows) - STALE_WINDOWS, len(windows)):
        costs, challenger = windows[place].costs, windows[place].cost_challenger
        older = fitted[max(0, place - 1 - age) : place - 1]
        told.append(
            0.0 if challenger is None else sum(costs[name] - challenger - slack for name in older if name is not None and name in costs)
        )
    return float(np.mean(told)), float(np.std(told, ddof=1) / sqrt(STALE_WINDOWS))


def by_learned(evidence: Evidence, window: Window, sight: Sight, profile: Profile, learned: Learned) -> Weighed:
    """Add up as the challenger's monitor does, and let a logistic that hindsight teaches say when that is enough.

    The statistic is the challenger's; see `agents.monitoring.learned` for what else is seen.
    """
    evidence, strength, told = added(evidence, window, sight, profile)
    seen = learning.features(strength, window, sight, profile)
    chance = learning.probability(learned, seen)
    passes = chance > LEARNED_LEAST and evidence.statistic > 0
    said = f"hindsight will want it with probability {chance:.2f}; {told}"
    return Weighed(evidence, passes, said, learning.note(learned, window, seen))


def by_threshold(evidence: Evidence, window: Window, sight: Sight, profile: Profile, _learned: Learned) -> Weighed:
    """Hold the window's loss, the mean target y, against a bound, whatever a challenger would have cost.

    The evidence is every window since the model in force came, or since it was last found no worse than a challenger.

    Source: arXiv:2507.21131, the paper's rule.
    """
    since = window.window if evidence.since is None else evidence.since
    if sight.paper_loss is None:
        return Weighed(Evidence(0.0, since), passes=False, said="no decision closed in this window")
    said = f"loss {sight.paper_loss:.3f} of {profile.loss_bound:g}"
    return Weighed(Evidence(sight.paper_loss, since), sight.paper_loss > profile.loss_bound, said)


def by_period(evidence: Evidence, window: Window, sight: Sight, profile: Profile, _learned: Learned) -> Weighed:
    """Retrain every so many windows; the statistic is the windows since the last command, or since the scope's first."""
    since = window.window if evidence.since is None else evidence.since
    period = profile.retraining_period_windows
    return Weighed(Evidence(float(sight.since), since), sight.since >= period, said=f"{sight.since} of {period} windows")


def by_lot(evidence: Evidence, window: Window, sight: Sight, profile: Profile, _learned: Learned) -> Weighed:
    """Retrain at random, in one of so many windows; the statistic is the draw."""
    since, share = window.window if evidence.since is None else evidence.since, 1 / profile.retraining_period_windows
    return Weighed(Evidence(sight.draw, since), sight.draw < share, said=f"drew {sight.draw:.3f}, below {share:.3f} it retrains")


def always(evidence: Evidence, window: Window, _sight: Sight, _profile: Profile, _learned: Learned) -> Weighed:
    """Retrain at the end of every window."""
    since = window.window if evidence.since is None else evidence.since
    return Weighed(Evidence(0.0, since), passes=True, said="the profile's monitor retrains always")


def never(_evidence: Evidence, _window: Window, _sight: Sight, _profile: Profile, _learned: Learned) -> Weighed:
    """Never retrain."""
    return Weighed(Evidence(), passes=False, said="the profile's monitor never retrains")


MONITORS: dict[str, Monitor] = {
    "challenger": by_challenger,
    "learned": by_learned,
    "threshold": by_threshold,
    "periodic": by_period,
    "random": by_lot,
    "always": always,
    "never": never,
}
# What a command gives as its reason.
REASONS: dict[str, Literal["challenger", "learned", "loss", "periodic", "random", "always"]] = {
    "challenger": "challenger",
    "learned": "learned",
    "threshold": "loss",
    "periodic": "periodic",
    "random": "random",
    "always": "always",
}
# These need what the decider tells of the window: its loss, and trust, which comes last.
SEES_LOSS, SEES_TRUST = frozenset({"learned", "threshold"}), frozenset({"learned"})


def weigh(evidence: Evidence, before: Window | None, window: Window, sight: Sight, profile: Profile, learned: Learned) -> Weighed:
    """Weigh one more window by the profile's monitor; the evidence speaks of one model in force.

    Where another one has come, by a result, a rollback or an import, it starts anew after this window, whose costs are of both.

    Args:
        evidence: what the windows before came to.
        before: the window before, None for a scope's first.
        window: as the trainer tells it.
        sight: what else is known of it.
        profile: names the monitor and what it needs.
        learned: what the monitor `learned` has learned so far.
    """
    if before is not None and before.in_force != window.in_force:
        return Weighed(Evidence(), passes=False, said=f"{window.in_force} has come into force in this window", learned=learned)
    return MONITORS[profile.monitor](evidence, window, sight, profile, learned)


def judgements_needed(evaluation: OffPolicy | None) -> int:
    """Return how many judgements evidence of the same kind must hold for the trainer to compare two models, 0 where it could."""
    if evaluation is None or lack(evaluation) <= 1:
        return 0
    return ceil(evaluation.judged * lack(evaluation))


def lack(evaluation: OffPolicy) -> float:
    """Return how many times its judgements an evaluation would have needed: in effect, and of those on which the two act differently."""
    return max(SAMPLE_SIZE_LEAST / max(evaluation.effective_sample_size, 1.0), DIFFERING_LEAST / max(evaluation.differing, 1))


def settled(evaluation: OffPolicy | None, *, adopted: bool) -> bool:
    """Tell whether a result answers the evidence, so that it starts anew.

    It does not where the evaluation lacked judgements, or there was none: then more of the same evidence may be enough, and the
    monitor commands again when there is, or after the cooldown. A challenger that was compared and is no better settles it.
    """
    if adopted or evaluation is None:
        return adopted
    return lack(evaluation) <= 1 and shortfall(evaluation) is not None
