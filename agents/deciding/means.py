"""The means of a class's features, as features of their own beside the scenario's.

A feature that tells classes apart says little about one scenario of a class whose answers are known, and a model with one weight for
both takes the noise inside the class for signal. With the class's mean beside it the two have a weight each.

Source: Mundlak, On the pooling of time series and cross section data, Econometrica 46 (1978).
"""

from agents.deciding.rows import MeansRow
from agents.deciding.turn import Turn
from schemas.events import Scenario

PREFIX = "class:"
SCENARIOS_MAX = 1000  # that a mean remembers: older ones fade, so that it follows a class that drifts


def with_means(turn: Turn, scenario: Scenario) -> dict[str, float]:
    """Return a scenario's features with the mean of each over the class's scenarios until now, this one among them."""
    profile = turn.settings.profile
    if not profile.class_means or profile.score != "logit":
        return scenario.features
    row = turn.state.get(MeansRow, turn.scope, scenario.scenario_class)
    row.scenarios = min(row.scenarios + 1, SCENARIOS_MAX)
    found = dict(scenario.features)
    for name, value in scenario.features.items():
        before = row.means.get(name, value)
        found[PREFIX + name] = row.means[name] = before + (value - before) / row.scenarios
    return found
