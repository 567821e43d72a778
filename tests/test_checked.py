"""`checked`: a rule takes every number that it is defined for, and refuses every other one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents import alignment, scoring, thresholds, trust
from agents.checked import checked
from agents.monitoring import hindsight
from agents.monitoring.rows import Window
from schemas.errors import DomainError

COINS = trust.prior(on_roster=True)
CHANNEL = trust.channel(COINS)
RATE, FIRST = alignment.rate(3, 100), False
WINDOWS = [Window(number, number, "m0", FIRST, None, "m1", 10, 5.0, None, {"m0": 5.0}) for number in range(3)]
# A rule, arguments that it is defined for, and by name some that it is not.
RULES: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    (scoring.confidence, {"model_output": 2.0, "offset": -1.0}, {"offset": np.inf}),
    (scoring.cap, {"class_answers": 10, "source_answers": 1}, {"source_answers": 0}),
    (
        scoring.update,
        {"before": scoring.PRIOR_OFFSETS, "liked": 1.0, "channel": CHANNEL, "wanted": 0.9, "kappa": 1.0},
        {"wanted": 5.0, "kappa": 1.1, "liked": -1, "channel": scoring.Channel(2.0, 0.5)},
    ),
    (thresholds.arm_probabilities, {"likes": np.ones(5), "overrides": np.ones(5)}, {"overrides": np.zeros(5)}),
    (thresholds.propensity_of_mean, {"misaligned": 1.0, "aligned": 3.0, "threshold": 0.8}, {"misaligned": 0.0, "aligned": 0.0}),
    (thresholds.fixed, {"confidence": 0.5, "threshold": 0.8}, {"confidence": np.float32("nan"), "threshold": np.float64(1.5)}),
    (trust.channel, {"coins": COINS}, {"coins": COINS._replace(wanted=-1.0)}),
    (trust.posterior, {"coins": COINS, "liked": 1.0, "wanted": 0.5}, {"wanted": 5.0}),
    (
        trust.count,
        {"coins": COINS, "liked": 1.0, "wanted": 0.5, "amount": 1.0},
        {"amount": -1.0, "coins": COINS._replace(overrides=np.nan)},
    ),
    (trust.wealth, {"source": CHANNEL, "answers": 10, "overrides": 0, "rate": 0.1}, {"rate": 1.1, "overrides": -1}),
    (trust.suspected, {"source": CHANNEL, "statistic": 3.0}, {"statistic": -3.0}),
    (trust.standing, {"coins": COINS}, {"coins": COINS._replace(unwanted=np.inf)}),
    (
        alignment.beta_binomial_interval,
        {"events": np.array([3.0]), "trials": np.array([9.0])},
        {"events": np.array([-1.0]), "miscoverage": 0.0},
    ),
    (
        alignment.alignment_loss,
        {"override": RATE, "miss": RATE, "surfaced_share": 0.6, "withheld_share": 0.4, "k": 4.0, "m": 1.0},
        {"surfaced_share": 1.6, "k": -4.0},
    ),
    (
        alignment.paper_loss,
        {"answers": {"override": 3, "like": 9}, "silence_target": 0.3},
        {"answers": {"override": -3}, "silence_target": 3.0},
    ),
    (hindsight.cheapest, {"windows": WINDOWS, "price": 20.0}, {"price": -5.0}),
]


@pytest.mark.parametrize(("rule", "defined", "undefined"), RULES, ids=lambda each: getattr(each, "__name__", ""))
def test_a_checked_rule_refuses_what_it_is_not_defined_for(
    rule: Callable[..., Any], defined: dict[str, Any], undefined: dict[str, Any]
) -> None:
    """With numbers in their ranges it answers as the plain rule; with one outside it raises and names the rule."""
    assert repr(checked(rule)(**defined)) == repr(rule(**defined))
    for name, wrong in undefined.items():
        with pytest.raises(DomainError, match=rule.__name__):
            checked(rule)(**defined | {name: wrong})
