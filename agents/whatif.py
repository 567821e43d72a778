"""What another policy would have cost on the scenarios of a log: an estimate, an interval, and what the log cannot tell.

A policy is its probability of surfacing each scenario, given the past as it was logged. A judgement tells what surfacing and what
withholding would each have cost (docs/decisions/0013), so nothing is unknown but the targets of scenarios that nobody judged.
"""

from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from agents.scoring import Array
from agents.training.offpolicy import OBSERVED_LEAST

BoolArray = NDArray[np.bool_]
EFFECTIVE_LEAST = 100.0  # judged decisions, in effect, that an interval rests on: the trainer's bound for a deployment
STANDARD_ERRORS = 1.96  # the two-sided 5 % of a normal error


class Scenarios(NamedTuple):
    """Scored decisions of one scope as columns of equal length.

    Attributes:
        surfaced: whether each was, in the log.
        logged: p, the logged probability that it would be.
        other: pi, the other policy's.
        trust: how much those who judged it are trusted, in [0, 1]; 0 where nobody did.
        target: y, in [0, 1]; anything where nobody judged.
        unwanted: y as the scores of both policies expected it, from before either learned the target.
        reachable: whether it could be judged at all; what a safety policy blocks cannot.
        group: number of those that may have been judged together, from 0.
    """

    surfaced: Array
    logged: Array
    other: Array
    trust: Array
    target: Array
    unwanted: Array
    reachable: Array
    group: Array


class Linear(NamedTuple):
    """A quantity of each scenario that is known but for its target: what it is if the scenario was wanted, and if it was not."""

    wanted: Array
    unwanted: Array


class Estimate(Struct, frozen=True):
    """A mean per scenario and its 95 % interval; without a value where only worst and best case are known."""

    value: float | None
    low: float
    high: float


class Side(Struct, frozen=True):
    """One policy on the log's scenarios, in expectation over its draws: rates, and cost per scenario."""

    surfaced: float
    overrides_per_answered: Estimate | None
    missed: Estimate
    cost: Estimate


class WhatIf(Struct, frozen=True):
    """Two policies on the scored decisions of a log, and how much the log knows.

    `difference` is the cost of the other policy less that of the logged one. `differing` is the share of scenarios that the other
    would have decided otherwise, in expectation, and `effective_differing` the effective sample size of what was judged of them.
    `unsupported` is the share of scenarios that nothing judged stands for; `unsupported_differing` that share of `differing`.
    """

    scenarios: int
    surfaced: int
    judged: int
    effective: float
    differing: float
    effective_differing: float
    unsupported: float
    unsupported_differing: float
    logged: Side
    other: Side
    difference: Estimate


def costs(surfacing: Array, k: float, m: float) -> Linear:
    """Return the expected cost of surfacing with these probabilities: k for an unwanted recommendation, m for a miss."""
    return Linear((1 - surfacing) * m, surfacing * k)


def chances(scenarios: Scenarios) -> Array:
    """Return the chance of each to be judged, p a + (1 - p) r, weighted by trust: a and r are what was judged of either kind.

    The same as `offpolicy.observed`, over all decisions instead of the judged ones.
    """
    shown = scenarios.surfaced > 0
    a, r = (float(scenarios.trust[kind].mean()) if kind.any() else 0.0 for kind in (shown, ~shown & (scenarios.reachable > 0)))
    chance: Array = np.where(scenarios.reachable > 0, scenarios.logged * a + (1 - scenarios.logged) * r, 0.0)
    return chance


def effective_size(weight: Array, trust: Array) -> float:
    """Return (sum w)^2 / sum w^2, and no more than the trust in those who judged."""
    squares = float((weight**2).sum())
    return min(float(weight.sum()) ** 2 / squares, float(trust[weight > 0].sum())) if squares > 0 else 0.0


def estimate(quantity: Linear, scenarios: Scenarios, chance: Array, supported: BoolArray) -> Estimate:
    """Estimate the mean of a quantity over all scenarios, doubly robust where the log has support, by its extremes elsewhere.

        V = 1/n sum_i [ q^_i + w_i (q_i(y_i) - q^_i) ],   w_i ~ u_i / chance_i,   q^_i = q_i(y^_i)

    The standard error is that of the terms, summed over scenarios that may have been judged together. Scenarios without support
    enter the value by what was expected of them, and the interval by the least and the most that they can come to.

    Args:
        quantity: of each scenario.
        scenarios: n of them.
        chance: of being judged.
        supported: whether what was judged stands for it too.

    Source: Robins, Rotnitzky, Zhao, JASA 89 (1994); bounds: Manski, American Economic Review 80 (1990).
    """
    slope = quantity.unwanted - quantity.wanted
    expected = quantity.wanted + slope * scenarios.unwanted
    least, most = np.minimum(*quantity)[~supported].sum(), np.maximum(*quantity)[~supported].sum()
    count = len(expected)
    if not supported.any():
        return Estimate(None, float(least / count), float(most / count))
    weight = scenarios.trust[supported] / chance[supported]
    weight *= supported.sum() / weight.sum()
    surprise = slope[supported] * (scenarios.target - scenarios.unwanted)[supported]
    known = expected[supported].sum() + (weight * surprise).sum()
    spread = expected[supported] - expected[supported].mean() + weight * (surprise - (weight * surprise).mean())
    together = np.bincount(scenarios.group[supported].astype(int), weights=spread)
    error = STANDARD_ERRORS * float(np.sqrt((together**2).sum()))
    value = known + expected[~supported].sum()
    return Estimate(float(value / count), float((known + least - error) / count), float((known + most + error) / count))


def compare(scenarios: Scenarios, k: float, m: float) -> WhatIf:
    """Hold another policy against the logged one on the log's scenarios.

    Args:
        scenarios: at least one.
        k: cost of an unwanted recommendation.
        m: cost of a miss.
    """
    chance = chances(scenarios)
    within = (chance >= OBSERVED_LEAST) & (scenarios.reachable > 0)
    weight = np.where(within, scenarios.trust / np.maximum(chance, OBSERVED_LEAST), 0.0)
    shift = scenarios.other - scenarios.logged
    effective, effective_differing = (effective_size(each, scenarios.trust) for each in (weight, weight * abs(shift)))
    supported = within & (effective >= EFFECTIVE_LEAST)
    tellable = within & (effective_differing >= EFFECTIVE_LEAST)
    moved = float(abs(shift).sum())
    before, after = costs(scenarios.logged, k, m), costs(scenarios.other, k, m)
    change = Linear(after.wanted - before.wanted, after.unwanted - before.unwanted)
    return WhatIf(
        scenarios=len(chance),
        surfaced=int(scenarios.surfaced.sum()),
        judged=int((scenarios.trust > 0).sum()),
        effective=effective,
        differing=moved / len(chance),
        effective_differing=effective_differing,
        unsupported=float(1 - within.mean()),
        unsupported_differing=float(abs(shift)[~within].sum()) / moved if moved > 0 else 0.0,
        logged=_side(scenarios.logged, scenarios, chance, supported, k, m),
        other=_side(scenarios.other, scenarios, chance, supported, k, m),
        difference=estimate(change, scenarios, chance, tellable) if moved > 0 else Estimate(0.0, 0.0, 0.0),
    )


def _side(surfacing: Array, scenarios: Scenarios, chance: Array, supported: BoolArray, k: float, m: float) -> Side:
    shown, nothing = float(surfacing.mean()), np.zeros(len(surfacing))
    overridden = estimate(Linear(nothing, surfacing), scenarios, chance, supported)
    rates = [None if rate is None else rate / shown for rate in (overridden.value, overridden.low, overridden.high)] if shown > 0 else None
    return Side(
        surfaced=shown,
        overrides_per_answered=None if rates is None else Estimate(rates[0], rates[1] or 0.0, rates[2] or 0.0),
        missed=estimate(Linear(1 - surfacing, nothing), scenarios, chance, supported),
        cost=estimate(costs(surfacing, k, m), scenarios, chance, supported),
    )


def verdict(told: WhatIf, name: str) -> str:
    """Say in one sentence what the log says of the other policy, or that it cannot tell and why."""
    difference = told.difference
    interval = f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    if told.differing == 0:
        return f"{name} decides every scenario as the log did: no difference"
    if told.judged == 0:
        return f"the log cannot tell: nobody judged any of its {told.scenarios:,} scenarios; the difference lies in {interval}"
    if told.unsupported_differing > 0 and difference.low <= 0 <= difference.high:
        return (
            f"the log cannot tell: of what {name} decides otherwise, {told.unsupported_differing:.0%} was neither shown nor reviewed, nor "
            f"anything like it; whatever it was, the difference lies in {interval}"
        )
    if told.effective_differing < EFFECTIVE_LEAST and difference.low <= 0 <= difference.high:
        return (
            f"the log cannot tell: what was judged of what {name} decides otherwise counts as {told.effective_differing:.0f} judgements, "
            f"{EFFECTIVE_LEAST:.0f} are needed; whatever it was, the difference lies in {interval}"
        )
    if difference.low <= 0 <= difference.high:
        return f"no difference to be seen: it lies in {interval}"
    return f"{name} would have cost {'less' if difference.high < 0 else 'more'}: the difference per scenario lies in {interval}"
