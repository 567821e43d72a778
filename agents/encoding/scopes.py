"""What one encoder task knows of its scopes: telemetry time, counts of samples, entities, and who fired lately."""

from bisect import bisect_right
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.encoding.rows import PEERS_MAX, Fired, ScopeState

MINUTE_MS: Final = 60_000
PEERS_MS: Final = 30 * MINUTE_MS
TAKEN, REPEATED, OUT_OF_ORDER = range(3)

Integers = NDArray[np.int64]


class Tally:
    """A scope's counts after each of its samples in one block.

    Args:
        state: the scope's row; moved on to the end of the block.
        places: the block's samples of the scope, in order.
        times_ms: their times.
        fates: TAKEN, REPEATED or OUT_OF_ORDER each.
        moves: (place, +1 or -1) for entities that came to or left the scope, in order.
    """

    def __init__(self, state: ScopeState, places: Integers, times_ms: Integers, fates: Integers, moves: list[tuple[int, int]]) -> None:
        self.state = state
        self.places = places
        self.samples = state.samples + np.arange(1, len(places) + 1)
        self.repeated = state.repeated + np.cumsum(fates == REPEATED)
        self.out_of_order = state.out_of_order + np.cumsum(fates == OUT_OF_ORDER)
        self.latest_ms = np.maximum.accumulate(np.concatenate(([state.latest_ms], times_ms)))
        self.moved_at = [place for place, _ in moves]
        self.entities = list(accumulate((by for _, by in moves), initial=state.entities))
        state.latest_ms = int(self.latest_ms[-1])
        state.entities = self.entities[-1]
        if len(places):
            state.samples, state.repeated = int(self.samples[-1]), int(self.repeated[-1])
            state.out_of_order = int(self.out_of_order[-1])

    def entities_at(self, place: int) -> int:
        """Return how many entities' latest samples were of this scope after the sample at `place`."""
        return self.entities[bisect_right(self.moved_at, place)]

    def beats(self) -> list[int]:
        """Return which of the scope's samples take its telemetry time into a new minute."""
        minutes = self.latest_ms // MINUTE_MS
        return [int(index) for index in np.flatnonzero(minutes[1:] != minutes[:-1])]


def meet_peers(state: ScopeState, time_ms: int, entity: str, label: str) -> int:
    """Count other entities that fired with this label in the last 30 min, and remember this one; at most PEERS_MAX are kept."""
    state.fired = [one for one in state.fired if one.time_ms > time_ms - PEERS_MS]
    alike = len({one.entity for one in state.fired if one.label == label and one.entity != entity and one.time_ms <= time_ms})
    state.fired = [*state.fired, Fired(time_ms, entity, label)][-PEERS_MAX:]
    return alike
