"""Simulated people: operators with error, silence and delay, and those who do not say what they think."""

from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.events import Answer
from schemas.identity import generator

Array = NDArray[np.float64]
Manner = Literal["honest", "inverts", "likes", "overrides", "colludes"]

COLLUSION_SHARE = 0.2  # of the classes: those of which a colluder says the opposite


class Team(Struct, frozen=True):
    """A team and its share of all answers."""

    name: str
    share: float = 1.0


class Group(Struct, frozen=True, kw_only=True):
    """Accounts of one manner, which give `share` of all answers together.

    Attributes:
        name: begins the accounts' names.
        accounts: how many.
        share: of all answers.
        manner: what they say: what they think (`honest`), the opposite, always the same, or the opposite of some classes (`colludes`).
        error: the least and the largest error of an account, drawn uniformly.
        bias: share of its likes that become overrides; below zero, of its overrides that become likes.
        known: whether they are on the roster.
        honest_until: the scenario until which they are honest whatever their manner.
    """

    name: str
    accounts: int
    share: float = 1.0
    manner: Manner = "honest"
    error: tuple[float, float] = (0.0, 0.02)
    bias: float = 0.0
    known: bool = True
    honest_until: int = 0


class People(Struct, frozen=True):
    """Who answers: of surfaced decisions `skipped` stay without an answer, `neutral` get that."""

    groups: tuple[Group, ...]
    teams: tuple[Team, ...] = (Team("operations"),)
    skipped: float = 0.4
    neutral: float = 0.1


HONEST = People((Group(name="operator", accounts=12),))


class Replies(NamedTuple):
    """What would be said of each scenario if it were surfaced.

    Attributes:
        names: of all accounts.
        teams: the team of each account, an index.
        known: the accounts on the roster.
        honest: the accounts that are honest at all times.
        account: who would answer, an index, shape (scenarios,).
        kind: `like`, `override`, `neutral`, or empty for silence, shape (scenarios,).
        delay: scenarios until the answer, at least 1, shape (scenarios,).
        outcome: scenarios until an outcome tells, 0 for never, shape (scenarios,).
    """

    names: list[str]
    teams: NDArray[np.int64]
    known: list[str]
    honest: list[str]
    account: NDArray[np.int64]
    kind: list[str]
    delay: NDArray[np.int64]
    outcome: NDArray[np.int64]


def replies(
    people: People, seed: int, name: str, classes: NDArray[np.int64], wanted: NDArray[np.bool_], delay: float, outcomes: float
) -> Replies:
    """Draw what people would say of each scenario.

    Args:
        people: who.
        seed: of the run.
        name: of the world.
        classes: shape (scenarios,).
        wanted: by team, shape (scenarios, teams).
        delay: mean, in scenarios.
        outcomes: share of the scenarios of which an outcome tells.
    """
    random = generator(seed, name, "people")
    count = len(classes)
    groups = [group for group in people.groups for _ in range(group.accounts)]
    names = [f"{group.name}-{number}" for group in people.groups for number in range(group.accounts)]
    error = np.array([random.uniform(*group.error) for group in groups])
    shares = np.array([group.share / group.accounts for group in groups])
    team_shares = np.array([team.share for team in people.teams])
    # Every team has its share of each group's accounts.
    teams = random.choice(len(people.teams), size=len(names), p=team_shares / team_shares.sum())
    account = random.choice(len(names), size=count, p=shares / shares.sum())
    thinks = wanted[np.arange(count), teams[account]]
    errs = random.random(count) < error[account]
    bias = np.array([group.bias for group in groups])[account]
    swayed = random.random(count) < np.abs(bias)
    likes = np.where(swayed, bias < 0, thinks ^ errs)
    colluded = random.random(int(classes.max(initial=0)) + 1) < COLLUSION_SHARE
    acting = np.arange(count) >= np.array([group.honest_until for group in groups])[account]
    manner = np.array([group.manner for group in groups])[account]
    says = np.select(
        [manner == "inverts", manner == "likes", manner == "overrides", (manner == "colludes") & colluded[classes]],
        [~likes, np.ones(count, dtype=bool), np.zeros(count, dtype=bool), ~likes],
        likes,
    )
    says = np.where(acting, says, likes)
    attention = random.random(count)
    kind = np.select(
        [attention < people.skipped, attention < people.skipped + people.neutral],
        ["", Answer.NEUTRAL.value],
        np.where(says, Answer.LIKE.value, Answer.OVERRIDE.value),
    )
    return Replies(
        names=names,
        teams=teams,
        known=[account_name for account_name, group in zip(names, groups, strict=True) if group.known],
        honest=[account_name for account_name, group in zip(names, groups, strict=True) if group.manner == "honest"],
        account=account,
        kind=kind.tolist(),
        delay=1 + random.exponential(delay, count).astype(np.int64),
        outcome=np.where(random.random(count) < outcomes, 1 + random.exponential(delay, count).astype(np.int64), 0),
    )
