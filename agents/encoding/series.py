"""From segments of samples to one array per entity in the order of its own metrics."""

from math import isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.bank import Found, Series, score_all
from agents.encoding.detector import Array, Indices
from agents.encoding.rows import EntityState
from agents.encoding.samples import Samples


class Part(NamedTuple):
    """Consecutive samples with the same metrics: names, places in the block, values (samples, metrics)."""

    names: tuple[str, ...]
    places: Indices
    values: Array


def score_samples(samples: Samples, states: list[EntityState], taken: NDArray[np.bool_], times: NDArray[np.int64]) -> Found:
    """Score the samples that are taken, moving the states on.

    An entity that runs out of room for metrics is scored up to there, forgets some, and goes on in a further pass.
    """
    found = Found([], [])
    waiting = []
    for source, state in zip(samples.sources, states, strict=True):
        parts = []
        for segment in source.segments:
            places, values = np.array(segment.places), segment.values()
            chosen = taken[places]
            if not chosen.all():
                places, values = places[chosen], values[chosen]
            if len(places):
                parts.append(Part(segment.names, places, values))
        if parts:
            waiting.append((state, parts))
    while waiting:
        scored = score_all([_align(state, parts, times) for state, parts in waiting])
        found.fired.extend(scored.fired)
        found.cleared.extend(scored.cleared)
        waiting = [(state, parts) for state, parts in waiting if parts]
        for state, parts in waiting:
            first = parts[0]
            state.make_room([name for name, value in zip(first.names, first.values[0].tolist(), strict=True) if not isnan(value)])
    return found


def _align(state: EntityState, parts: list[Part], times: NDArray[np.int64]) -> Series:
    """Take up the metrics of as many samples as fit, in order; `parts` keeps the rest."""
    fitting: list[Part] = []
    while parts:
        part = parts.pop(0)
        fits = state.learn(part.names, part.values)
        if fits:
            fitting.append(Part(part.names, part.places[:fits], part.values[:fits]))
        if fits < len(part.places):
            parts.insert(0, Part(part.names, part.places[fits:], part.values[fits:]))
            break
    places = np.concatenate([part.places for part in fitting]) if fitting else np.zeros(0, np.intp)
    if len(fitting) == 1 and fitting[0].names == state.names:
        return Series(state, places, times[places].astype(float), fitting[0].values)
    values = np.full((len(places), len(state.names)), np.nan)
    begin = 0
    for part in fitting:
        end = begin + len(part.places)
        if part.names == state.names:
            values[begin:end] = part.values
        else:
            known = [place for place, name in enumerate(part.names) if name in state.columns]
            values[begin:end, [state.columns[part.names[place]] for place in known]] = part.values[:, known]
        begin = end
    return Series(state, places, times[places].astype(float), values)
