"""Rules that say no: a rule that is called with a number that it is not defined for raises, instead of answering with another.

Events are checked where they are decoded (and by `Loop.send`), profiles where they are read, so the steps do not look again. A loop
of one's own that calls the rules as plain functions calls them through `checked`, which about doubles what a call costs:

    update = checked(scoring.update)
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from schemas.errors import DomainError
from schemas.events import MEASUREMENT_MAX

P = ParamSpec("P")
R = TypeVar("R")


class Range(NamedTuple):
    """The ends of what is allowed; `between` leaves out the ends themselves."""

    low: float
    high: float
    between: bool = False


SHARE = Range(0.0, 1.0)
COUNT = Range(0.0, MEASUREMENT_MAX)
POSITIVE = Range(0.0, MEASUREMENT_MAX, between=True)
NUMBERS = (int, float, np.number, np.ndarray)
ANY = Range(-MEASUREMENT_MAX, MEASUREMENT_MAX)

# What a number may be, by the name of the parameter or field that takes it; with the rule's or type's before it, only there. Others: ANY.
RANGES: dict[str, Range] = {
    **dict.fromkeys(("liked", "wanted", "alpha", "beta", "kappa", "target", "eta", "confidence", "threshold", "prior_mean"), SHARE),
    **dict.fromkeys(("misalignment", "estimates", "paper_loss", "rate", "error", "predicted", "trust", "draw"), SHARE),
    **dict.fromkeys(("surfaced_share", "withheld_share", "silence_target"), SHARE),
    "miscoverage": Range(0.0, 1.0, between=True),
    **dict.fromkeys(("before", "weight", "weight_so_far", "weighted", "rising", "falling", "statistic"), COUNT),
    **dict.fromkeys(
        ("answers", "overrides", "misaligned", "aligned", "judged", "cost_in_force", "cost_challenger", "loss", "width", "since"),
        COUNT,
    ),
    **dict.fromkeys(("k", "m", "price", "events", "trials", "surfaced", "answered", "scenarios", "trusted", "erring", "amount"), COUNT),
    **dict.fromkeys(("override", "like", "neutral", "skipped"), COUNT),
    **dict.fromkeys(("Coins.likes", "Coins.overrides"), COUNT),
    **dict.fromkeys(("Coins.wanted", "Coins.unwanted"), POSITIVE),
    **dict.fromkeys(("arm_probabilities.overrides", "thompson.overrides"), POSITIVE),
    **dict.fromkeys(("propensity_of_mean.misaligned", "propensity_of_mean.aligned"), POSITIVE),
    **dict.fromkeys(("prior_weight", "information", "draw_information", "likes", "team_answers", "teams"), POSITIVE),
    **dict.fromkeys(("class_answers", "source_answers"), POSITIVE),
}


def checked(rule: Callable[P, R]) -> Callable[P, R]:
    """Return a rule that looks at its numbers first: floats, arrays, and those inside tuples with names, structs and mappings.

    Raises:
        DomainError: (the rule so returned) a number that is NaN, infinite or outside its range; the message names it.
    """
    names = tuple(signature(rule).parameters)

    @wraps(rule)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            look(rule.__name__, name, value)
        return rule(*args, **kwargs)

    return call


def look(rule: str, name: str, value: Any, holder: str = "") -> None:  # noqa: ANN401  # whatever a rule takes
    """Look at one argument of a rule, and into it; `holder` is the type that has it as a field.

    Raises:
        DomainError: a number outside its range.
    """
    if isinstance(value, NUMBERS):
        hold(rule, name, value, RANGES.get(f"{holder or rule}.{name}") or RANGES.get(name, ANY))
        return
    holder = type(value).__name__
    if isinstance(value, Struct):
        try:
            msgspec.convert(msgspec.to_builtins(value), type(value))
        except msgspec.ValidationError as error:
            raise DomainError(f"{rule}: {name} is no {type(value).__name__}: {error}") from error
        value = {field: getattr(value, field) for field in value.__struct_fields__}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        for inner, each in value.items():
            look(rule, inner, each, holder)
    elif isinstance(value, list | tuple):
        for each in value:
            look(rule, name, each)


def hold(rule: str, name: str, value: float | np.number[Any] | np.ndarray[Any, Any], allowed: Range) -> None:
    """Hold numbers against their range.

    Raises:
        DomainError: one is outside it.
    """
    low, high, between = allowed
    # NaN compares false, and so is refused with the rest.
    within = ((value > low) & (value < high)) if between else ((value >= low) & (value <= high))
    if not (within if isinstance(within, bool) else within.all()):
        wrong = np.asarray(value)[~np.asarray(within)].flat[0]
        ends = f"above {low:g} and below {high:g}" if between else f"from {low:g} to {high:g}"
        raise DomainError(f"{rule}: {name} is {wrong:g}; give a number {ends}")
