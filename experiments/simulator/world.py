"""Simulated worlds: what operators want of each scenario, known exactly, and how it drifts.

Everything is drawn ahead from one seed, scenario by scenario, whatever is decided: two profiles in one world with one seed meet
the same scenarios, and the same people would say the same of them.
"""

from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import expit, logit

from experiments.simulator.people import HONEST, People
from schemas.identity import generator

Array = NDArray[np.float64]

PROBABILITY_EDGE = 1e-4
WITHIN = 4  # features with signal inside a class
FEATURES = ("between", "nuisance", *(f"within_{number}" for number in range(1, WITHIN + 1)))
TURN_DEGREES = 80.0
FLIPPED_SHARE = 0.25  # of the classes, whose logit changes sign


class World(Struct, frozen=True, kw_only=True):
    """All that is declared of a simulated world; shares are in [0, 1], times in scenarios.

    Attributes:
        name: seeds the draws, with the seed.
        scenarios: of one run.
        scopes: as likely each, every one with classes of its own under the same names.
        classes: of a scope, drawn by Zipf with exponent `zipf`.
        zipf: exponent.
        good: parameters of the Beta of P(wanted) of good classes.
        good_share: of the classes; the others but the mixed ones are bad, Beta(1, 19).
        mixed_share: of the classes, U(.05, .95).
        within: length of the vector by which features move the logit inside a class; 0 where they tell nothing.
        hidden: standard deviation of what moves it and no feature shows.
        entity: standard deviation of an entity's own part.
        drift: from `drift_at` on. `abrupt`: a quarter of the classes change sign, the features' vector turns by 80 degrees; `features`:
            the vector alone; `gradual`: both, over the rest of the run; `recurring`: abrupt there and back, every `drift_at` scenarios.
        drift_at: when.
        people: who answers.
        outcomes: share of all decisions of which an outcome tells.
        outcome_error: share of outcomes that tell the opposite.
        delay: mean time of answers and outcomes, exponential.
        conflict: share of the classes of which each team wants what it wants, drawn apart.
        reward: minutes that an outcome brings: `wanted`, for what was wanted and surfaced; `surfaced`, for all that was.
    """

    name: str
    scenarios: int = 45_000
    scopes: int = 1
    classes: int = 60
    zipf: float = 0.8
    good: tuple[float, float] = (99.0, 1.0)
    good_share: float = 0.55
    mixed_share: float = 0.0
    within: float = 0.0
    hidden: float = 0.0
    entity: float = 0.0
    drift: Literal["none", "abrupt", "features", "gradual", "recurring"] = "none"
    drift_at: int = 18_000
    people: People = HONEST
    outcomes: float = 0.1
    outcome_error: float = 0.0
    delay: float = 50.0
    conflict: float = 0.0
    reward: Literal["none", "wanted", "surfaced"] = "none"


class Truth(NamedTuple):
    """What there is to know of a run's scenarios, in order.

    Attributes:
        classes: class of each, those of scope s from s * world.classes on, shape (scenarios,).
        features: shape (scenarios, features).
        probability: that it is wanted, by the volume of the teams, shape (scenarios,).
        by_team: that each team wants it, shape (scenarios, teams).
        wanted: whether each team does, shape (scenarios, teams).
        incident: what an outcome tells, shape (scenarios,).
    """

    classes: NDArray[np.int64]
    features: Array
    probability: Array
    by_team: Array
    wanted: NDArray[np.bool_]
    incident: NDArray[np.bool_]


ENTITIES = 600


def truth(world: World, seed: int) -> Truth:
    """Draw a run's scenarios."""
    random = generator(seed, world.name, "scenarios")
    teams = np.array([team.share for team in world.people.teams])
    ranks = np.arange(1, world.classes + 1) ** -world.zipf
    classes = random.choice(world.classes, size=world.scenarios, p=ranks / ranks.sum())
    classes += world.classes * generator(seed, world.name, "scopes").integers(world.scopes, size=world.scenarios)
    count = world.scopes * world.classes
    logits = np.stack([_class_logits(world, random) for _ in teams], axis=1)
    apart = random.random(count) < world.conflict
    logits[~apart] = logits[~apart, :1]
    flipped = random.random(count) < FLIPPED_SHARE
    angle = np.radians(TURN_DEGREES) * _progress(world)
    start, end = np.linalg.qr(random.standard_normal((WITHIN, 2)))[0].T
    drawn = random.standard_normal((world.scenarios, len(FEATURES)))
    turned = np.cos(angle)[:, None] * start + np.sin(angle)[:, None] * end
    sign = 1 - 2 * _progress(world) if world.drift != "features" else np.ones(world.scenarios)
    own = logits[classes] * np.where(flipped[classes], sign, 1.0)[:, None]
    drawn[:, 0] += 0.5 * own[:, 0]
    common = world.within * (turned * drawn[:, 2:]).sum(axis=1) + world.hidden * random.standard_normal(world.scenarios)
    common += world.entity * random.standard_normal(ENTITIES)[np.arange(world.scenarios) % ENTITIES]
    by_team = expit(own + common[:, None])
    # One draw for all teams: where they want the same, they want it of the same scenarios.
    drawn_wanted = random.random(world.scenarios)
    probability = by_team @ teams / teams.sum()
    incident = (drawn_wanted < probability) ^ (random.random(world.scenarios) < world.outcome_error)
    return Truth(classes, drawn, probability, by_team, drawn_wanted[:, None] < by_team, incident)


def _class_logits(world: World, random: np.random.Generator) -> Array:
    """Draw each class's logit from the mixture of good, bad and mixed classes."""
    count = world.scopes * world.classes
    kind = random.random(count)
    good, bad = random.beta(*world.good, size=count), random.beta(1, 19, size=count)
    mixed = random.uniform(0.05, 0.95, size=count)
    plain = 1 - world.mixed_share
    probability = np.where(kind < world.mixed_share, mixed, np.where(kind < world.mixed_share + world.good_share * plain, good, bad))
    drawn: Array = logit(np.clip(probability, PROBABILITY_EDGE, 1 - PROBABILITY_EDGE))
    return drawn


def _progress(world: World) -> Array:
    """Return how far the world has drifted at each scenario, in [0, 1]."""
    time = np.arange(world.scenarios, dtype=np.float64)
    if world.drift == "none":
        return np.zeros(world.scenarios)
    if world.drift == "gradual":
        return np.clip((time - world.drift_at) / (world.scenarios - world.drift_at), 0.0, 1.0)
    if world.drift == "recurring":
        return np.floor(time / world.drift_at) % 2
    return (time >= world.drift_at).astype(np.float64)


def shortened(world: World, scenarios: int) -> World:
    """Return a world of fewer scenarios in which people and truth turn at the same share of the run."""
    share = scenarios / world.scenarios
    groups = tuple(replace(group, honest_until=round(group.honest_until * share)) for group in world.people.groups)
    return replace(world, scenarios=scenarios, drift_at=max(1, round(world.drift_at * share)), people=replace(world.people, groups=groups))
