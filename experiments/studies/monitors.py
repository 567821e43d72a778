"""The monitors over one stream of windows: what each costs over the best schedule in hindsight, in a world whose truth is known.

A scenario has four features x ~ N(0, I) and is wanted with logit BIAS + STRENGTH θ(t)·x; θ turns, or does not. At the end of each window
a challenger is fitted on the judgements of the last eight, by ridge logistic as the trainer's. What a model costs in truth is an integral;
what trainer and monitor see of it comes from the window's few judged scenarios. Costs are *excess* costs: those above the best policy's.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from msgspec.structs import replace
from scipy.special import expit, logit, ndtr

from agents.monitoring import hindsight, learned, rules
from agents.monitoring.rows import Evidence, Learned, Sight, Window
from agents.scoring import Array
from agents.training.fitting import WEIGHT_VARIANCE
from agents.training.turn import HISTORY_WINDOWS
from schemas.identity import generator
from schemas.settings import Profile

Drifts = Literal["abrupt", "gradual", "none"]
FEATURES, BIAS, STRENGTH = 4, 1.0, 2.0
SCENARIOS, JUDGED = 1000, 300  # of a window
TURN_DEGREES, TURNS = 80.0, 3  # abrupt: by so much, so often
GRADUAL_DEGREES = 2.5  # a window
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
NEWTON_STEPS = 8
# What rivals are tuned on, by what they cost pooled over all drifts.
LOSS_BOUNDS, PERIODS = (0.06, 0.08, 0.10, 0.13, 0.16, 0.19, 0.22, 0.25), (2, 3, 4, 7, 10, 15, 20, 30)
TUNING_SEEDS = range(100, 106)
# What `python -m experiments.studies.monitors` prints.
PRICES, SHOWN = (20.0, 50.0, 100.0, 200.0), range(24)
SHOWN_MONITORS = ("challenger", "learned", "threshold", "periodic", "random", "always", "never")


class Costs(NamedTuple):
    """What is declared: cost of an unwanted recommendation, of a miss, and the threshold."""

    override: float
    miss: float
    threshold: float


class World(NamedTuple):
    """One stream of windows: rows are windows, columns models; model 0 is there at the start, model t + 1 is fitted at the end of window t.

    Attributes:
        true: excess cost over the window of each model, in truth.
        told: cost over the window, as its judged scenarios tell it.
        deviation: standard deviation of the cost that model t saves over each model in window t, as its judged scenarios tell it.
        overridden: share of the judged scenarios surfaced by each model that are unwanted.
    """

    true: Array
    told: Array
    deviation: Array
    overridden: Array


def directions(random: np.random.Generator, drift: Drifts, windows: int) -> Array:
    """Return θ of each window and of the HISTORY_WINDOWS before them, shape (HISTORY_WINDOWS + windows, FEATURES), of length 1."""
    steps = np.zeros(windows)
    if drift == "gradual":
        steps[:] = GRADUAL_DEGREES
    if drift == "abrupt":
        part = windows // (TURNS + 1)
        steps[part * np.arange(1, TURNS + 1) + random.integers(-part // 3, part // 3 + 1, TURNS)] = TURN_DEGREES
    angle = np.radians(np.concatenate((np.zeros(HISTORY_WINDOWS), np.cumsum(steps))))
    axes = np.linalg.qr(random.standard_normal((FEATURES, 2)))[0].T
    turned: Array = np.cos(angle)[:, None] * axes[0] + np.sin(angle)[:, None] * axes[1]
    return turned


def fit(x: Array, wanted: Array) -> Array:
    """Return intercept and weights of a ridge logistic, weights N(0, WEIGHT_VARIANCE): shape (1 + FEATURES,)."""
    design, model = np.column_stack((np.ones(len(x)), x)), np.zeros(1 + FEATURES)
    penalty = np.diag([0.0, *[1 / WEIGHT_VARIANCE] * FEATURES])
    for _ in range(NEWTON_STEPS):
        share = expit(design @ model)
        slope = design.T @ (wanted - share) - penalty @ model
        model = model + np.linalg.solve((design * (share * (1 - share))[:, None]).T @ design + penalty, slope)
    return model


def true_costs(models: Array, theta: Array, costs: Costs) -> Array:
    """Return the excess cost per scenario of models under one θ: an integral over z = θ·x, given which a model's score is normal.

    Args:
        models: shape (models, 1 + FEATURES).
        theta: shape (FEATURES,), of length 1.
        costs: declared.
    """
    wanted, weight = expit(BIAS + STRENGTH * NODES), WEIGHTS / WEIGHTS.sum()
    along = models[:, 1:] @ theta
    across = np.sqrt(np.maximum((models[:, 1:] ** 2).sum(axis=1) - along**2, 1e-12))
    surfaced = ndtr((models[:, :1] + along[:, None] * NODES - logit(costs.threshold)) / across[:, None])
    unwanted, missed = costs.override * (1 - wanted), costs.miss * wanted
    excess: Array = ((surfaced * unwanted + (1 - surfaced) * missed - np.minimum(unwanted, missed)) * weight).sum(axis=1)
    return excess


@lru_cache(maxsize=256)
def world(seed: int, drift: Drifts, windows: int, costs: Costs) -> World:
    """Return one stream of windows."""
    random = generator(seed, "monitors", drift)
    theta = directions(random, drift, windows)
    x = random.standard_normal((len(theta), JUDGED, FEATURES))
    wanted = (random.random((len(theta), JUDGED)) < expit(BIAS + STRENGTH * (x @ theta[:, :, None])[:, :, 0])).astype(float)
    past = [slice(window, window + HISTORY_WINDOWS) for window in range(windows)]
    models = np.array([fit(x[each].reshape(-1, FEATURES), wanted[each].ravel()) for each in past])
    true, told, deviation, overridden = [], [], [], []
    for window in range(HISTORY_WINDOWS, len(theta)):
        true.append(SCENARIOS * true_costs(models, theta[window], costs))
        surfaced = models[:, :1] + models[:, 1:] @ x[window].T >= logit(costs.threshold)
        cost = np.where(surfaced, costs.override * (1 - wanted[window]), costs.miss * wanted[window])
        told.append(SCENARIOS * cost.mean(axis=1))
        deviation.append(SCENARIOS * np.sqrt(((cost - cost[window - HISTORY_WINDOWS]) ** 2).sum(axis=1)) / JUDGED)
        overridden.append((surfaced * (1 - wanted[window])).sum(axis=1) / np.maximum(1, surfaced.sum(axis=1)))
    return World(np.array(true), np.array(told), np.array(deviation), np.array(overridden))


@lru_cache(maxsize=4096)
def ideal(seed: int, drift: Drifts, windows: int, costs: Costs, price: float) -> hindsight.Schedule:
    """Return the cheapest schedule by the true costs: oracle G."""
    true = world(seed, drift, windows, costs).true
    return hindsight.cheapest([window_of(true, number, 0) for number in range(windows)], price)


def window_of(costs: Array, number: int, in_force: int, deviation: float = 0.0) -> Window:
    """Return a window as the trainer would tell it, with the costs of the models that are there."""
    known = {f"m{model}": float(cost) for model, cost in enumerate(costs[number, : number + 1])}
    challenger = f"m{number}" if number > in_force else None
    return Window(
        window=number,
        time_ms=number,
        in_force=f"m{in_force}",
        first=False,
        challenger=challenger,
        next=f"m{number + 1}",
        judged=JUDGED,
        cost_in_force=known[f"m{in_force}"],
        cost_challenger=known[challenger] if challenger else None,
        costs=known,
        deviation=deviation,
    )


def trial(  # noqa: PLR0913  # what a condition of a study sets
    seed: int,
    profile: Profile,
    *,
    drift: Drifts,
    monitor: str,
    price: float = 100.0,
    windows: int = 80,
    noise: float = 0.0,
    noise_known: bool = False,
    lag: int = 0,
    **sets: float,
) -> dict[str, float]:
    """Run one monitor over one stream of windows, through the project's own rules, and say what it came to.

    A command puts in force, from the next window on, the challenger fitted at the end of the window that was told last, as a command of
    the ideal schedule does: no gate but the monitor's.

    Args:
        seed: of the world and of the monitor `random`.
        profile: names costs and threshold.
        drift: of the world.
        monitor: by name.
        price: of a deployment.
        windows: how many.
        noise: standard deviation of what is added to each model's cost over a window as it is told.
        noise_known: whether the deviation that is told takes it in.
        lag: windows after which a window is told, and a challenger fitted on it.
        sets: other fields of the profile: `loss_bound`, `retraining_period_windows`.

    Returns:
        `over_hindsight`, true excess cost and prices over those of the cheapest schedule, NaN without drift, where those can be next to
        nothing; `prices_above_never`, how many prices dearer than never retraining; `cost`, `cost_best`, `retrainings`, `delay`
        (windows) and `fidelity` against oracle G.
    """
    profile = replace(profile, monitor=monitor, retraining_price=price, **sets)
    costs = Costs(profile.override_cost, profile.miss_cost, profile.threshold)
    stream, best = noisy(world(seed, drift, windows, costs), noise, seed, known=noise_known), ideal(seed, drift, windows, costs, price)
    evidence, taught, before, in_force, last, cost = Evidence(), Learned(), None, 0, 0, 0.0
    told: list[Window] = []
    commanded: list[int] = []
    for number in range(windows):
        cost += stream.true[number, in_force]
        seen = number - lag
        if seen < 0:
            continue
        window = window_of(stream.told, seen, in_force, float(stream.deviation[seen, in_force]))
        if monitor == "learned":
            taught = learned.teach(taught, [*told, window], profile)
        sight = sight_of(seed, stream, seen, in_force, last)._replace(past=told)
        weighed = rules.weigh(evidence, before, window, sight, profile, taught)
        told.append(window)
        evidence, taught, before = weighed.evidence, weighed.learned, window
        if weighed.passes and seen > in_force and number < windows - 1:
            commanded.append(number)
            cost, in_force, last = cost + price, seen + 1, seen
    return {
        "over_hindsight": cost / best.cost if drift != "none" else np.nan,
        "prices_above_never": (cost - float(stream.true[:, 0].sum())) / price,
        "cost": cost,
        "cost_best": best.cost,
        "retrainings": float(len(commanded)),
        "delay": float(np.nan if not best.deployed else hindsight.delay(best.deployed, commanded, windows - 1) or 0.0),
        "fidelity": hindsight.fidelity(range(windows), commanded, best.deployed),
    }


def noisy(stream: World, noise: float, seed: int, *, known: bool) -> World:
    """Return a stream with normal noise on all that is told of costs, each model's its own, and on shares overridden in proportion."""
    added = noise * generator(seed, "monitors", "noise").standard_normal(stream.told.shape)
    overridden = np.clip(stream.overridden + added / SCENARIOS, 0.0, 1.0)
    deviation = np.sqrt(stream.deviation**2 + 2 * noise**2) if known else stream.deviation
    return stream._replace(told=stream.told + added, deviation=deviation, overridden=overridden)


def sight_of(seed: int, stream: World, number: int, in_force: int, last: int) -> Sight:
    """Return what the decider would tell of a window, and the lot."""
    loss = float(stream.told[number, in_force]) / SCENARIOS
    before = float(stream.told[number - 1, in_force]) / SCENARIOS if number else None
    draw = float(generator(seed, f"window {number}", "retraining").random())
    return Sight(loss, before, 0.1, float(stream.overridden[number, in_force]), since=number - last, draw=draw)


def over_all(seed: int, profile: Profile, *, price: float, **sets: Any) -> tuple[dict[str, dict[str, float]], float]:  # noqa: ANN401  # of `trial`
    """Run a monitor over one stream of each drift; return each trial, and the cost over hindsight's, both summed over the three."""
    ran = {drift: trial(seed, profile, drift=drift, price=price, **sets) for drift in get_args(Drifts)}
    return ran, sum(each["cost"] for each in ran.values()) / sum(each["cost_best"] for each in ran.values())


def tuned(field: str, values: Sequence[float], price: float, **sets: Any) -> dict[str, Any]:  # noqa: ANN401  # of `trial`
    """Return what a monitor sets where the field takes the value that costs least on the seeds for tuning."""

    def cost(value: float) -> float:
        return sum(over_all(seed, Profile(name="default"), price=price, **sets, **{field: value})[1] for seed in TUNING_SEEDS)

    return sets | {field: min(values, key=cost)}


def rows(price: float) -> list[str]:
    """Return the rows of a price in Markdown, one for each drift."""
    threshold = tuned("loss_bound", LOSS_BOUNDS, price, monitor="threshold")
    periodic = tuned("retraining_period_windows", PERIODS, price, monitor="periodic")
    chosen = {"threshold": threshold, "periodic": periodic, "random": periodic | {"monitor": "random"}}
    found = {
        name: [over_all(seed, Profile(name="default"), price=price, **chosen.get(name, {"monitor": name}))[0] for seed in SHOWN]
        for name in SHOWN_MONITORS
    }
    told = []
    for drift in get_args(Drifts):
        measure = "prices_above_never" if drift == "none" else "over_hindsight"
        shown = (np.array([each[drift][measure] for each in ran]) for ran in found.values())
        cells = (f"{values.mean().round(2) + 0.0:.2f} ± {values.std(ddof=1):.2f}" for values in shown)
        told.append(f"| {' | '.join((f'{price:g}', drift, *cells))} |")
    return told


def table() -> str:
    """Return the table in Markdown."""
    columns = ("price", "drift", *(f"`{name}`" for name in SHOWN_MONITORS))
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(row for price in PRICES for row in rows(price))])


if __name__ == "__main__":
    print(table())  # noqa: T201  # the command's result
