"""The means of a class's features, as features of their own beside the scenario's.

A feature that tells classes apart says little about one scenario of a class whose answers are known, and a model with one weight for
both takes the noise inside the class for signal. With the class's mean beside it the two have a weight each.

Source: Mundlak, On the pooling of time series and cross section data, Econometrica 46 (1978).
"""

from agents.deciding.rows import MeansRow
from agents.deciding.turn import Turn
from schemas.events import METRICS_MAX, NAME_LENGTH_MAX, Scenario

PREFIX = "class:"
SCENARIOS_MAX = 1000  # that a mean remembers: older ones fade, so that it follows a class that drifts
VALUE_MOST = 1e3  # that enters a mean, either way: features are logarithms and shares, and one wild value must not drown the rest


def with_means(turn: Turn, scenario: Scenario) -> dict[str, float]:
    """Return a scenario's features with the mean of each over the class's scenarios until now, this one among them.

    There is none of a feature whose name is too long to become another, and none at all where there are more than a model could name.
    """
    profile, features = turn.settings.profile, scenario.features
    if not profile.class_means or profile.score != "logit" or 2 * len(features) > METRICS_MAX:
        return features
    row = turn.state.find(MeansRow, turn.scope, scenario.scenario_class) or MeansRow()
    count = min(row.scenarios + 1, SCENARIOS_MAX)
    means = {}
    for name, value in features.items():
        if len(name) + len(PREFIX) <= NAME_LENGTH_MAX:
            bounded = max(-VALUE_MOST, min(VALUE_MOST, value))
            before = row.means.get(name, bounded)
            means[PREFIX + name] = before + (bounded - before) / count
    return {**features, **means}


def remember_means(turn: Turn, scenario: Scenario, features: dict[str, float]) -> None:
    """Keep the means of a scenario that was decided; of features that it lacks none is kept."""
    means = {name: features[PREFIX + name] for name in scenario.features if PREFIX + name in features}
    if turn.settings.profile.class_means and means:
        row = turn.state.get(MeansRow, turn.scope, scenario.scenario_class)
        row.scenarios, row.means = min(row.scenarios + 1, SCENARIOS_MAX), means
