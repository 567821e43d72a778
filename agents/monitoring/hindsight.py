"""Hindsight: which retrainings would have been cheapest, known only afterwards, and how far the monitor acted likewise."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from agents.monitoring.rows import Window

NEIGHBOUR_WINDOWS = 1  # by which an action may be early or late and still be the ideal one


class Schedule(NamedTuple):
    """What a schedule costs, losses and prices, and the windows at whose end it deploys, in order."""

    cost: float
    deployed: tuple[int, ...]


class Path(NamedTuple):
    """A schedule so far, in the order in which one is preferred: cheapest, then fewest deployments, then latest ones."""

    cost: float
    deployments: int
    earliness: tuple[int, ...]


def cheapest(windows: Sequence[Window], price: float) -> Schedule:
    """Return the cheapest schedule over the windows, by dynamic programme: best[m] is the best path that has model m in force.

        best_t[m] = cost_t(m) + min(best_{t-1}[m], min over o of best_{t-1}[o] + price if m was fitted at the end of t - 1)

    It begins with the model that was in force in the first window. At the end of each window but the last it may deploy the
    challenger fitted then; what follows the last one is not known, so nothing is deployed at its end.

    Args:
        windows: consecutive, oldest first, at least one.
        price: of a deployment, in the costs' unit; a scope's first model is free.

    Returns:
        Among equally cheap ones the schedule with the fewest deployments, among those the one whose first deployment is latest,
        then the second, and so on.

    Source: DESIGN section 7.
    """
    start = windows[0].in_force
    best = {start: Path(cost_of(windows[0], start), 0, ())}
    for ended, window in pairwise(windows):
        if ended.next is not None:
            deployed = min(deploy(path, ended, price_of(windows[0], price) if model == start else price) for model, path in best.items())
            best[ended.next] = min(deployed, best.get(ended.next, deployed))
        best = {model: path._replace(cost=path.cost + cost_of(window, model)) for model, path in best.items()}
    path = min(best.values())
    return Schedule(path.cost, tuple(-window for window in path.earliness))


def deploy(path: Path, ended: Window, price: float) -> Path:
    """Return the path that deploys at a window's end."""
    return Path(path.cost + price, path.deployments + 1, (*path.earliness, -ended.window))


def price_of(window: Window, price: float) -> float:
    """Return the price of a deployment at a window's end, given the model in force: a scope's first model costs nothing."""
    return 0.0 if window.first else price


def cost_of(window: Window, model: str) -> float:
    """Return what a model would have cost in a window; where that is not known, the worst cost that is, never a better one."""
    known = window.cost_in_force if model == window.in_force else max(window.costs.values(), default=window.cost_in_force)
    return window.costs.get(model, known)


def as_it_was(windows: Sequence[Window], price: float, deployed: Collection[int]) -> float:
    """Return what the windows have cost with the models that were in force, and the prices of the monitor's deployments.

    Args:
        windows: consecutive, oldest first.
        price: of a deployment, in the costs' unit.
        deployed: windows whose command was adopted.
    """
    prices = sum(price_of(window, price) for window in windows if window.window in deployed)
    return sum(window.cost_in_force for window in windows) + prices


def delay(ideal: Collection[int], deployed: Collection[int], last: int) -> float | None:
    """Return how many windows after each ideal deployment the next one came, on average; None where there is no ideal one.

    One that came a window early came at once; one that has not come by the last window is as late as that.

    Args:
        ideal: windows at whose end the ideal schedule deploys.
        deployed: windows at whose end the monitor's commands did.
        last: number of the last window.
    """
    came = [min((window for window in deployed if window >= best - NEIGHBOUR_WINDOWS), default=last) for best in ideal]
    waits = [max(0, window - best) for best, window in zip(ideal, came, strict=True)]
    return sum(waits) / len(waits) if waits else None


def fidelity(windows: Sequence[int], commanded: Collection[int], ideal: Collection[int]) -> float:
    """Return F = E[1(A = G)], the share of the windows' ends at which the monitor acted as the ideal schedule.

    A command, adopted or not, is matched with an ideal deployment at the same window's end or at its neighbour's; each is matched
    with one at most, as many as can be. Whatever stays unmatched on either side is a disagreement at its window, all other
    windows agree. The end of the last window is not counted, as no schedule can deploy there with profit.

    Args:
        windows: numbers of consecutive windows, oldest first, at least two.
        commanded: windows at whose end the monitor commanded.
        ideal: windows at whose end the ideal schedule deploys.
    """
    place = {window: index for index, window in enumerate(windows)}
    actions = [place[window] for window in sorted(commanded)]
    unmatched = 0
    for target in sorted(place[window] for window in ideal):
        # Earliest first leaves the most for the targets that follow.
        early = [action for action in actions if action < target - NEIGHBOUR_WINDOWS]
        unmatched += len(early)
        actions = actions[len(early) :]
        if actions and actions[0] <= target + NEIGHBOUR_WINDOWS:
            actions = actions[1:]
        else:
            unmatched += 1
    last = len(windows) - 1
    unmatched += sum(action != last for action in actions)
    return 1 - unmatched / last
