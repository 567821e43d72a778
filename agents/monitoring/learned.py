"""A monitor that learns from hindsight when retraining pays: an online logistic over what one can see at the end of a window.

A study drives it by plain calls, as `agents.monitoring.rules` says.
"""

from collections.abc import Sequence
from math import log1p

import numpy as np
from scipy.special import expit

from agents.monitoring.hindsight import NEIGHBOUR_WINDOWS, cheapest
from agents.monitoring.rows import Learned, Seen, Sight, Window
from schemas.settings import Profile

LABEL_WINDOWS = 10  # after which hindsight tells what should have been done at the end of a window
RATE = 0.1
# At the start it is the challenger's CUSUM: it retrains when s passes its bound. What else is seen has to show what it is worth.
FEATURES = ("always", "advantage", "level", "slope", "width", "volume", "trust", "time")
START = (-4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
WEIGHT_MAX = 20.0
ADVANTAGE_MAX = 4.0  # bounds
JUDGED_SCALE = log1p(1000)
TIME_MAX = 20  # windows


def features(strength: float, window: Window, sight: Sight, profile: Profile) -> tuple[float, ...]:
    """Return what the logistic sees, in the order of FEATURES, each about 1; costs in k.

    Args:
        strength: the challenger's advantage, added up, as a share of its bound.
        window: as the trainer tells it.
        sight: what else is known of it.
        profile: names k.
    """
    k = profile.override_cost
    level = sight.loss or 0.0
    slope = 0.0 if sight.loss is None or sight.before is None else sight.loss - sight.before
    time = min(sight.since, TIME_MAX) / TIME_MAX
    return (
        1.0,
        min(strength, ADVANTAGE_MAX),
        level / k,
        slope / k,
        sight.width / k,
        log1p(window.judged) / JUDGED_SCALE,
        sight.trust,
        time,
    )


def probability(learned: Learned, seen: Sequence[float]) -> float:
    """Return the probability that hindsight will have wanted a retraining here."""
    return float(expit(np.dot(learned.weights or START, seen)))


def label(windows: Sequence[Window], price: float) -> bool:
    """Tell whether the cheapest schedule from a window on, with the model then in force, deploys at its end or its neighbour's.

    Args:
        windows: that window and those after it.
        price: of a deployment.
    """
    ideal = cheapest(windows, price).deployed
    return bool(ideal) and ideal[0] <= windows[0].window + NEIGHBOUR_WINDOWS


def teach(learned: Learned, windows: Sequence[Window], profile: Profile) -> Learned:
    """Take one step on the window of which hindsight now knows enough: w <- w + RATE (G - p) x.

    Args:
        learned: weights, and what was seen at the ends of the last windows.
        windows: the scope's windows up to now, oldest first.
        profile: names the price.

    Source: stochastic gradient of the logistic loss; G of DESIGN section 7.
    """
    after = windows[-LABEL_WINDOWS - 1 :]
    due = next((seen for seen in learned.seen if seen.window == after[0].window), None)
    if len(after) <= LABEL_WINDOWS or due is None:
        return learned
    x = np.array(due.features)
    error = float(label(after, profile.retraining_price)) - probability(learned, due.features)
    weights = np.clip((learned.weights or START) + RATE * error * x, -WEIGHT_MAX, WEIGHT_MAX)
    return Learned(tuple(weights.tolist()), learned.seen)


def note(learned: Learned, window: Window, seen: tuple[float, ...]) -> Learned:
    """Remember what was seen at the end of a window, until hindsight knows."""
    return Learned(learned.weights, (*learned.seen, Seen(window.window, seen))[-LABEL_WINDOWS - 1 :])
