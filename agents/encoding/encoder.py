"""The encoder: telemetry in, scenarios, clearings and heartbeats out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.bank import Firing, Series, score_all
from agents.encoding.rows import EntityState, ScopeState, entity_key, scope_key
from agents.encoding.samples import Samples, Source, read_samples, sample_id
from agents.encoding.scenarios import blame, detector_scores, excerpt_of, features_of, propose
from agents.encoding.scopes import OUT_OF_ORDER, REPEATED, TAKEN, Tally, meet_peers
from agents.step import Block, Context, Output, Result, Rows
from schemas.codecs import encode as to_json
from schemas.events import Cleared, Heartbeat, Scenario, ScenarioEvent
from schemas.headers import cloud_event, trace_of
from schemas.identity import derived_name

CLEARED, SCENARIO, HEARTBEAT = range(3)
TIME_BITS = 44


class Batch(NamedTuple):
    """A block decoded, with the states that it touches; `fates` tells which samples are taken."""

    block: Block
    samples: Samples
    owners: NDArray[np.int64]
    times: NDArray[np.int64]
    fates: NDArray[np.int64]
    states: list[EntityState]
    tallies: dict[str, Tally]


def encode(rows: Rows, block: Block, context: Context) -> Result:
    """Turn samples into scenarios.

    What happens to each odd sample: one with the entity's latest time again is counted as repeated, an older one as out of
    order, and neither moves anything else. A missing metric (absent, null, NaN) leaves its statistics as they are and counts
    for nothing; a metric that comes later counts after 120 values of its own, as all do at the start. After a gap of over
    three usual steps differences start again, and statistics decay by three steps. A constant metric never alarms by itself.
    An entity keeps at most 2,000 metrics: beyond that it forgets those that its last 12 samples lack.

    Records that cannot be used go to the dead-letter topic whole. The partition of a key is not checked: any partitioner will
    do that keeps an entity in one partition.

    Args:
        rows: entities' and scopes' rows of the task.
        block: telemetry, keyed by entity.
        context: settings, of which the catalogue is used.
    """
    samples = read_samples(block, context.settings.catalogue.entities)
    outputs = [(output.ordinal, -1, 0, output) for output in samples.dead]
    if not samples.owners:
        return Result([output for *_, output in outputs], {})
    states = [EntityState.unpack(rows.get(entity_key(source.entity))) for source in samples.sources]
    owners, times = np.array(samples.owners), np.array(samples.times_ms)
    fates = _fates(owners, times, states)
    tallies = _tally(rows, samples, times, fates, states)
    batch = Batch(block, samples, owners, times, fates, states, tallies)
    fired, cleared = _score(batch)
    for firing in sorted(fired, key=lambda one: one.place):
        outputs.append(_scenario(batch, firing, context))
    for place in cleared:
        outputs.append(_cleared(batch, place))
    for scope, tally in tallies.items():
        outputs.extend(_heartbeat(batch, scope, tally, index) for index in tally.beats())
    outputs.sort(key=lambda entry: entry[:3])
    written: dict[bytes, bytes | None] = {
        entity_key(source.entity): state.pack() for source, state in zip(samples.sources, states, strict=True)
    }
    written.update((scope_key(scope), tally.state.pack()) for scope, tally in tallies.items())
    return Result([output for *_, output in outputs], written)


def _fates(owners: NDArray[np.int64], times: NDArray[np.int64], states: list[EntityState]) -> NDArray[np.int64]:
    """Tell which samples are taken: those later than all before them of their entity."""
    # One running maximum for all: an entity's number above the bits of time keeps entities apart.
    order = np.argsort(np.concatenate((np.arange(len(states)), owners)), kind="stable")
    last = np.array([max(-1.0, state.fixed["last_ms"][0]) for state in states]).astype(np.int64)
    keyed = (np.concatenate((np.arange(len(states)), owners)) << TIME_BITS) + np.concatenate((last, times))
    keyed = keyed[order]
    latest = np.maximum.accumulate(keyed)
    fates = np.full(len(keyed), OUT_OF_ORDER)
    fates[1:][keyed[1:] == latest[:-1]] = REPEATED
    fates[1:][keyed[1:] > latest[:-1]] = TAKEN
    placed = np.empty_like(fates)
    placed[order] = fates
    return placed[len(states) :]


def _tally(
    rows: Rows, samples: Samples, times: NDArray[np.int64], fates: NDArray[np.int64], states: list[EntityState]
) -> dict[str, Tally]:
    """Count by scope, moving entities from scope to scope as their samples say."""
    numbers: dict[str, int] = {}
    moves: dict[str, list[tuple[int, int]]] = {}
    belongs = [numbers.setdefault(scope, len(numbers)) for scope in samples.scopes]
    for place, (owner, scope) in enumerate(zip(samples.owners, samples.scopes, strict=True)):
        state = states[owner]
        if state.scope != scope:
            if state.scope:
                moves.setdefault(state.scope, []).append((place, -1))
            moves.setdefault(scope, []).append((place, 1))
            state.scope = scope
    scope_of = np.array(belongs)
    tallies = {}
    for scope in numbers | dict.fromkeys(moves, -1):
        places = np.flatnonzero(scope_of == numbers.get(scope, -1))
        state_of_scope = ScopeState.unpack(rows.get(scope_key(scope)))
        tallies[scope] = Tally(state_of_scope, places, times[places], fates[places], moves.get(scope, []))
    return tallies


def _score(batch: Batch) -> tuple[list[Firing], list[int]]:
    """Score all samples that are taken; those of entities that had to forget metrics come in further passes."""
    fired: list[Firing] = []
    cleared: list[int] = []
    pending = [
        (state, parts)
        for state, source in zip(batch.states, batch.samples.sources, strict=True)
        if (parts := _parts(source, batch.fates))
    ]
    while pending:
        series, pending = [], _pass(pending)[1]
    return fired, cleared
