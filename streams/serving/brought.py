"""What a retraining brought: the models held against each other on all judgements that came after, by the trainer's own costs."""

from collections.abc import Iterable

from msgspec import Struct

from schemas.alignment import ChallengerWindow, RetrainingResult


class Brought(Struct, frozen=True):
    """By how much the model of a result cost less than the one it stood against, in the declared costs, over `windows` windows.

    For an adopted model that is what it has saved, for a refused one what it would have saved.
    """

    windows: int
    saved: float


def brought(results: Iterable[RetrainingResult], windows: Iterable[ChallengerWindow]) -> list[Brought | None]:
    """Return what each result of one scope brought, until the next adopted one; None where no window tells.

    Args:
        results: of one scope, in their order.
        windows: of the same scope, in their order.
    """
    known, told = list(results), list(windows)
    ends = [min((later.window for later in known[place + 1 :] if later.status == "adopted"), default=None) for place in range(len(known))]
    return [_saved(result, end, told) for result, end in zip(known, ends, strict=True)]


def _saved(result: RetrainingResult, end: int | None, windows: list[ChallengerWindow]) -> Brought | None:
    if result.model is None:
        return None
    after = [window.costs for window in windows if window.window > result.window and (end is None or window.window <= end)]
    saved = [costs[result.in_force] - costs[result.model.id] for costs in after if {result.in_force, result.model.id} <= costs.keys()]
    return Brought(len(saved), sum(saved)) if saved else None
