"""The monitors: plain functions that weigh one more window, and say whether its end is the time to retrain."""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from agents.monitoring.hindsight import price_of
from agents.monitoring.rows import Evidence, Window
from agents.training.commands import SAMPLE_SIZE_LEAST, shortfall
from schemas.alignment import OffPolicy
from schemas.settings import Profile

# By how much a challenger has to be cheaper in every window, in the declared costs: less is chance. Source: DESIGN section 7.
SLACK = 4.0
# A command is carried out in the window after its own, whose costs are then those of two models: the next whole one tells.
COOLDOWN_WINDOWS = 2


class Weighed(NamedTuple):
    """What a monitor makes of a window: its evidence, whether that is enough, and why in numbers."""

    evidence: Evidence
    passes: bool
    said: str


Monitor = Callable[[Evidence, Window, float | None, Profile], Weighed]


def by_challenger(evidence: Evidence, window: Window, _loss: float | None, profile: Profile) -> Weighed:
    """Add up what the challengers would have saved: s <- max(0, s + cost in force - cost of challenger - slack), against the price.

    The evidence is every window since the one after s was last 0. A scope's first model has neither price nor slack: it is
    wanted as soon as it is better. A window in which nothing was compared leaves s alone.

    Source: one-sided CUSUM, Page, Biometrika 41 (1954); DESIGN section 7.
    """
    price = price_of(window, profile.retraining_price)
    if window.advantage is None:
        said = f"no challenger was compared in this window; s {evidence.statistic:.4g} of {price:g}"
        return Weighed(evidence, evidence.statistic > price, said)
    statistic = max(0.0, evidence.statistic + window.advantage - (0.0 if window.first else SLACK))
    since = evidence.since if evidence.statistic > 0 else window.window
    said = f"challenger cheaper by {window.advantage:.4g} over {window.judged} judgements; s {statistic:.4g} of {price:g}"
    return Weighed(Evidence(statistic, since), statistic > price, said)


def by_loss(evidence: Evidence, window: Window, loss: float | None, profile: Profile) -> Weighed:
    """Hold the window's loss, the mean target y, against a bound, whatever a challenger would have cost.

    The evidence is every window since the model in force came, or since it was last found no worse than a challenger.

    Source: arXiv:2507.21131, the paper's rule.
    """
    since = window.window if evidence.since is None else evidence.since
    if loss is None:
        return Weighed(Evidence(0.0, since), passes=False, said="no decision closed in this window")
    said = f"loss {loss:.3f} of {profile.loss_bound:g}"
    return Weighed(Evidence(loss, since), loss > profile.loss_bound, said)


def by_nothing(_evidence: Evidence, _window: Window, _loss: float | None, _profile: Profile) -> Weighed:
    """Never retrain."""
    return Weighed(Evidence(), passes=False, said="the profile's monitor is off")


MONITORS: dict[str, Monitor] = {"challenger": by_challenger, "loss": by_loss, "off": by_nothing}


def weigh(evidence: Evidence, before: Window | None, window: Window, loss: float | None, profile: Profile) -> Weighed:
    """Weigh one more window by the profile's monitor; the evidence speaks of one model in force.

    Where another one has come, by a result, a rollback or an import, it starts anew after this window, whose costs are of both.
    """
    if before is not None and before.in_force != window.in_force:
        return Weighed(Evidence(), passes=False, said=f"{window.in_force} has come into force in this window")
    return MONITORS[profile.monitor](evidence, window, loss, profile)


def judgements_needed(evaluation: OffPolicy | None) -> int:
    """Return how many judgements evidence of the same kind must hold for the trainer's effective sample size, 0 where it had that."""
    if evaluation is None or evaluation.effective_sample_size >= SAMPLE_SIZE_LEAST:
        return 0
    return ceil(evaluation.judged * min(SAMPLE_SIZE_LEAST / max(evaluation.effective_sample_size, 1.0), SAMPLE_SIZE_LEAST))


def settled(evaluation: OffPolicy | None, *, adopted: bool) -> bool:
    """Tell whether a result answers the evidence, so that it starts anew.

    It does not where the evaluation lacked judgements, or there was none: then more of the same evidence may be enough, and the
    monitor commands again when there is, or after the cooldown. A challenger that was compared and is no better settles it.
    """
    if adopted or evaluation is None:
        return adopted
    return evaluation.effective_sample_size >= SAMPLE_SIZE_LEAST and shortfall(evaluation) is not None
