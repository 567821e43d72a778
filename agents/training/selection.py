"""Which judgements a challenger is fitted on, where there may be only so many of them, and what each stands for."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from agents import trust
from agents.scoring import Channel
from agents.training.rows import ExampleRow
from schemas.events import Answer, JudgedAnswer
from schemas.settings import Profile

FIRST_SHARE = 0.5  # of the judgements that may be fitted on: with all of them overridden there would be nothing to tell them from
T = TypeVar("T")


def select(examples: Sequence[ExampleRow], profile: Profile, released: Mapping[str, int]) -> list[ExampleRow]:
    """Return the judged examples that a challenger is fitted on, at most `retraining_examples_max` where that is set.

    `untargeted` takes them evenly over the windows at hand. `targeted` takes those first that were overridden, or answered by a source
    before a person released it from quarantine, up to FIRST_SHARE; and the others evenly after them. Of either kind the taken stand
    for all: each counts by how many of its kind there are for each that is taken. So what is estimated is the same; an
    intercept fitted on overrides alone would not be. What a source said in quarantine before it was released counts by its
    channel of then, and only `targeted` takes it; what it says in a later quarantine waits for a release of its own.

    Args:
        examples: of the windows at hand, in their order.
        profile: names the selection and the bound.
        released: sources that a person has let out of quarantine, with when that was (ms).

    Source: stratified sampling with inverse-probability weights, Horvitz and Thompson, JASA 47 (1952); for a logistic of outcomes,
    Prentice and Pyke, Biometrika 66 (1979).
    """
    targeted, bound = profile.retraining == "targeted", profile.retraining_examples_max
    kept = [cleared(example, released) for example in examples] if targeted else list(examples)
    known = [example for example in kept if example.target is not None and example.weight > 0]
    if not bound or len(known) <= bound:
        return known
    first = [targeted and comes_first(example, released) for example in known]
    foremost = [place for place, is_first in enumerate(first) if is_first]
    others = [place for place, is_first in enumerate(first) if not is_first]
    room = max(min(len(foremost), int(FIRST_SHARE * bound)), bound - len(others))
    taken = [(place, len(kind) / count) for kind, count in ((foremost, room), (others, bound - room)) for place in spread(kind, count)]
    return [replace(known[place], weight=known[place].weight * stands_for) for place, stands_for in sorted(taken)]


def comes_first(example: ExampleRow, released: Mapping[str, int]) -> bool:
    """Tell whether an example was overridden, or answered by a source that has been released since."""
    return any((answer.kind == Answer.OVERRIDE and answer.counted > 0) or released_since(answer, released) for answer in example.answers)


def released_since(answer: JudgedAnswer, released: Mapping[str, int]) -> bool:
    """Tell whether an answer was given before its source was released."""
    return answer.source in released and answer.time_ms < released[answer.source]


def cleared(example: ExampleRow, released: Mapping[str, int]) -> ExampleRow:
    """Return an example with what sources said in quarantine that have been released since: target and weight as if they had counted."""
    told = [answer for answer in example.answers if released_since(answer, released) and answer.weight == 0 and answer.target is not None]
    added = [(float(trust.weight(Channel(answer.alpha, answer.beta))), answer.target or 0.0) for answer in told]
    weight = example.weight + sum(more for more, _ in added)
    if not added or weight <= 0:
        return example
    target = (example.weight * (example.target or 0.0) + sum(more * said for more, said in added)) / weight
    return replace(example, target=target, weight=weight)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return so many of the items, evenly over their order."""
    return [items[(2 * place + 1) * len(items) // (2 * count)] for place in range(count)]
