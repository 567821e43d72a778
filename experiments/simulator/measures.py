"""What a run came to, against the truth that only a simulation knows."""

import math

import numpy as np
from numpy.typing import NDArray

from experiments.simulator.run import Run
from schemas.alignment import Alarm, Fidelity, TrustSummary

COST_OVERRIDE, COST_MISS = 4.0, 1.0


def costs(
    probability: NDArray[np.float64], surfaced: NDArray[np.bool_], k: float = COST_OVERRIDE, m: float = COST_MISS
) -> NDArray[np.float64]:
    """Return the expected cost of each scenario: k where it is surfaced and unwanted, m where it is withheld and wanted."""
    expected: NDArray[np.float64] = np.where(surfaced, k * (1 - probability), m * probability)
    return expected


def oracle(probability: NDArray[np.float64], k: float = COST_OVERRIDE, m: float = COST_MISS) -> NDArray[np.bool_]:
    """Return what a policy surfaces that knows P(wanted) and need not explore."""
    surfaces: NDArray[np.bool_] = probability >= k / (k + m)
    return surfaces


def recall(probability: NDArray[np.float64], surfaced: NDArray[np.bool_]) -> float:
    """Return the share of what was wanted that was surfaced, in expectation."""
    return float((probability * surfaced).sum() / probability.sum())


def relative_recall(probability: NDArray[np.float64], surfaced: NDArray[np.bool_]) -> float:
    """Return recall over the oracle's; NaN where the oracle surfaces nothing."""
    best = oracle(probability)
    return recall(probability, surfaced) / recall(probability, best) if best.any() else math.nan


def measure(run: Run) -> dict[str, float]:
    """Return a run's measures.

    `regret`: cost per scenario above the oracle's over the last third; `excess` the same over the whole run; `relative_recall`: recall
    over the oracle's, last third, NaN where that surfaces nothing, beside `recall` itself; overrides with three denominators, over the
    last third, of the answers that were given; `deployments`: models adopted; `quarantined_honest`: honest accounts in quarantine in some
    scope at the end; `fidelity`: the last of each scope, on average, where one was published.
    """
    probability, surfaced = run.truth.probability, run.surfaced
    late = np.arange(len(surfaced)) >= 2 * len(surfaced) // 3
    regret = costs(probability, surfaced) - costs(probability, oracle(probability))
    kinds = np.array(run.replies.kind)
    answered = surfaced & np.isin(kinds, ["like", "override"])
    overridden = surfaced & (kinds == "override")
    trust = {event.scope: event for event in run.alignment if isinstance(event, TrustSummary)}
    quarantined = {source.source for last in trust.values() for source in last.sources if source.quarantined}
    found = {
        "regret": float(regret[late].mean()),
        "excess": float(regret.mean()),
        "recall": recall(probability[late], surfaced[late]),
        "relative_recall": relative_recall(probability[late], surfaced[late]),
        "overrides_per_surfaced": _ratio(overridden[late], surfaced[late]),
        "overrides_per_answered": _ratio(overridden[late], answered[late]),
        "overrides_per_scenario": float(overridden[late].mean()),
        "deployments": float(sum(result.status == "adopted" for result in run.results)),
        "commands": float(len(run.commands)),
        "quarantined": float(len(quarantined)),
        "quarantined_honest": float(len(quarantined & set(run.replies.honest))),
        "alarms": float(sum(isinstance(event, Alarm) and event.raised for event in run.alignment)),
    }
    fidelity = {event.scope: event.fidelity for event in run.alignment if isinstance(event, Fidelity)}
    if fidelity:
        found |= {"fidelity": float(np.mean(list(fidelity.values())))}
    return found


def _ratio(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / max(whole.sum(), 1))
