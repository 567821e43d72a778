"""Teams of operators: what each counts, how often each overrides, where they differ, and how to make one number of theirs.

All functions are plain and vectorised; the last axis is the teams where there is one. Trust works inside a team first, so that what
comes in here is what a team's trusted members say.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.scoring import Array, Number
from schemas.errors import DomainError

Flags = NDArray[np.bool_]

TEAMS_MAX = 20  # names of teams that a scope or a class counts by; the rest are one
SHARE_MOST = 2.0  # one answer counts at most double, however few its team has given


def share(answers: Number, teams: Number, team_answers: Number) -> Number:
    """Return min(2, n / (T n_team)): what kappa is multiplied by where teams count equally.

    Args:
        answers: n, the class's answers with this one.
        teams: T, the teams that have answered in the class, with this one's.
        team_answers: n_team, this team's answers among them with this one.

    Unbounded, the first answer of a new team would outweigh n/T answers of the others. With the bound, teams of at least 1/(2 T) of
    the answers count equally, and smaller ones double. Source: DESIGN section 7; the bound from simulation (docs/learning/teams.md).
    """
    counted: Number = np.minimum(SHARE_MOST, np.asarray(answers) / (np.asarray(teams) * np.asarray(team_answers)))[()]
    return counted


def overrides(overriding: Number, decided: Number) -> bool | Flags:
    """Tell where overrides have the larger part of the trust; an even split is an override: the red button weighs more than a like.

    Args:
        overriding: trust of those who override.
        decided: trust of all who like or override.
    """
    against: bool | Flags = (2 * np.asarray(overriding) >= np.asarray(decided))[()]
    return against


def conflict(overridden: Flags, answered: Flags) -> Flags:
    """Tell which decisions are answered by two teams or more that differ, shape (decisions,).

    Args:
        overridden: whether each team's majority overrides, shape (decisions, teams), boolean.
        answered: whether the team has answered, same shape, boolean.
    """
    said, against = np.asarray(answered, dtype=np.bool_), np.asarray(overridden, dtype=np.bool_)
    disagree: Flags = np.asarray((said & against).any(axis=-1) & (said & ~against).any(axis=-1))
    return disagree


def override_rates(overridden: Array, answered: Array) -> Array:
    """Return each team's overridden decisions over those it has answered, shape (teams,); 0 where it has answered none.

    Args:
        overridden: counts by team.
        answered: counts by team, at least as many.
    """
    answers = np.asarray(answered, dtype=np.float64)
    rates: Array = np.divide(overridden, answers, out=np.zeros_like(answers), where=answers > 0)
    return rates


def worst(overridden: Array, answered: Array) -> int | None:
    """Return the index of the team that overrides most often, the first of equals; None where no team has answered."""
    if not np.any(np.asarray(answered) > 0):
        return None
    return int(np.argmax(np.where(np.asarray(answered) > 0, override_rates(overridden, answered), -1.0)))


def weighted_mean(estimates: Array, weights: Array) -> Array:
    """Return the mean by volume: a team counts as much as it has answered."""
    values, heard = _checked(estimates, weights)
    mean: Array = (values * heard).sum(axis=-1) / heard.sum(axis=-1)
    return mean


def equal_mean(estimates: Array, weights: Array) -> Array:
    """Return the mean over the teams that have answered, each alike."""
    values, heard = _checked(estimates, weights)
    return weighted_mean(values, (heard > 0).astype(np.float64))


def minimax(estimates: Array, weights: Array) -> Array:
    """Return the middle between the teams that want it most and least.

    Surfacing where that passes k/(k + m) makes the regret of the worst team smallest: it is linear in each team's estimate.
    """
    values, heard = _checked(estimates, weights)
    least, most = np.where(heard > 0, values, np.inf).min(axis=-1), np.where(heard > 0, values, -np.inf).max(axis=-1)
    middle: Array = (least + most) / 2
    return middle


def median(estimates: Array, weights: Array) -> Array:
    """Return the median over the teams that have answered, each alike."""
    values, heard = _checked(estimates, weights)
    middle: Array = np.nanmedian(np.where(heard > 0, values, np.nan), axis=-1)
    return middle


def veto(estimates: Array, weights: Array) -> Array:
    """Return what the team that wants it least says: any team can keep it from being surfaced."""
    values, heard = _checked(estimates, weights)
    least: Array = np.where(heard > 0, values, np.inf).min(axis=-1)
    return least


# Ways to make one estimate of how wanted something is of the teams' own, for study: by name, a function of the estimates, in [0, 1],
# and of what each team has answered (0: nothing, and its estimate does not count), shape (..., teams) each, that returns shape (...).
AGGREGATORS: dict[str, Callable[[Array, Array], Array]] = {
    "volume": weighted_mean,
    "equal": equal_mean,
    "minimax": minimax,
    "median": median,
    "veto": veto,
}


def _checked(estimates: Array, weights: Array) -> tuple[Array, Array]:
    """Return both as floats of one shape.

    Raises:
        DomainError: an estimate outside [0, 1], a weight below 0, something that is no number, or nobody that has answered.
    """
    values, heard = np.broadcast_arrays(np.asarray(estimates, dtype=np.float64), np.asarray(weights, dtype=np.float64))
    if not np.all((values >= 0) & (values <= 1)):
        raise DomainError(f"estimates of teams must be in [0, 1], they are {values}; give shares of wanted")
    if not np.all((heard >= 0) & np.isfinite(heard)):
        raise DomainError(f"weights of teams must be numbers from 0 on, they are {heard}; give counts of answers")
    if not np.all((heard > 0).any(axis=-1)):
        raise DomainError("no team has answered; leave out what nobody has answered")
    return values, heard
