"""The encoder: telemetry in, scenarios, clearings and heartbeats out."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.bank import Firing
from agents.encoding.rows import EntityState, ScopeState, entity_key, scope_key
from agents.encoding.samples import Samples, read_samples, sample_id
from agents.encoding.scenarios import blame, detector_scores, excerpt_of, features_of, propose
from agents.encoding.scopes import OUT_OF_ORDER, REPEATED, TAKEN, Tally, meet_peers
from agents.encoding.series import score_samples
from agents.step import Block, Context, Output, Result, Rows
from schemas.codecs import encode as to_json
from schemas.events import Cleared, Heartbeat, Scenario, ScenarioEvent
from schemas.headers import Headers, cloud_event, trace_of
from schemas.identity import derived_name
from schemas.settings import CatalogueAction
from schemas.topics import SCENARIO

# The bits that a time takes: 2**43 ms is in the year 2248.
TIME_BITS: Final = 44

# An output and its place in the order: record, sample, and among one sample's outputs.
Entry = tuple[int, int, int, Output]


class Batch(NamedTuple):
    """A block decoded, and its scopes' counts."""

    block: Block
    samples: Samples
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
    if not samples.owners:
        return Result(samples.dead, {})
    states = [EntityState.unpack(rows.get(entity_key(source.entity))) for source in samples.sources]
    times = np.array(samples.times_ms)
    fates = _fates(np.array(samples.owners), times, states)
    batch = Batch(block, samples, _tally(rows, samples, times, fates, states))
    found = score_samples(samples, states, fates == TAKEN, times)
    entries: list[Entry] = [(output.ordinal, -1, 0, output) for output in samples.dead]
    entries.extend(_cleared(batch, place) for place in found.cleared)
    actions = context.settings.catalogue.actions
    # In the order of the log: each scenario meets the peers that fired before it.
    entries.extend(_scenario(batch, firing, actions) for firing in sorted(found.fired, key=lambda firing: firing.place))
    for scope, tally in batch.tallies.items():
        entries.extend(_heartbeats(batch, scope, tally))
    entries.sort(key=lambda entry: entry[:3])
    written: dict[bytes, bytes | None] = {
        entity_key(source.entity): state.pack() for source, state in zip(samples.sources, states, strict=True)
    }
    written.update((scope_key(scope), tally.state.pack()) for scope, tally in batch.tallies.items())
    return Result([output for *_, output in entries], written)


def _fates(owners: NDArray[np.int64], times: NDArray[np.int64], states: list[EntityState]) -> NDArray[np.int64]:
    """Tell which samples are taken: those later than all before them of their entity."""
    # One running maximum for all: an entity's number above the bits of time keeps entities apart.
    last = np.array([max(-1.0, state.fixed["last_ms"][0]) for state in states]).astype(np.int64)
    owners, times = np.concatenate((np.arange(len(states)), owners)), np.concatenate((last, times))
    order = np.argsort(owners, kind="stable")
    keyed = ((owners << TIME_BITS) + times)[order]
    latest = np.maximum.accumulate(keyed)
    fates = np.full(len(keyed), OUT_OF_ORDER)
    fates[order[1:][keyed[1:] == latest[:-1]]] = REPEATED
    fates[order[1:][keyed[1:] > latest[:-1]]] = TAKEN
    return fates[len(states) :]


def _tally(rows: Rows, samples: Samples, times: NDArray[np.int64], fates: NDArray[np.int64], states: list[EntityState]) -> dict[str, Tally]:
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


def _identify(batch: Batch, place: int, kind: str, at_ms: int) -> tuple[str, str, Headers]:
    """Return the parent's id, the event's own, and its headers."""
    record = batch.samples.records[place]
    parent = sample_id(batch.block, record, batch.samples.rows[place])
    identity = derived_name(parent, kind)
    source = f"npo/encoding/{batch.block.partition}"
    return parent, identity, cloud_event(identity, SCENARIO.name, source, at_ms, trace_of(batch.block.headers[record], parent))


def _entry(batch: Batch, place: int, rank: int, event: ScenarioEvent, headers: Headers) -> Entry:
    record = batch.samples.records[place]
    return record, place, rank, Output(SCENARIO.name, event.scope.encode(), to_json(event), headers, record)


def _scenario(batch: Batch, firing: Firing, actions: tuple[CatalogueAction, ...]) -> Entry:
    place, scope = firing.place, batch.samples.scopes[firing.place]
    entity = batch.samples.sources[batch.samples.owners[place]].entity
    parent, identity, headers = _identify(batch, place, "scenario", firing.time_ms)
    blamed = blame(firing)
    label = blamed.symptoms[0].label
    action = propose(actions, label)
    tally = batch.tallies[scope]
    times, excerpt = excerpt_of(firing, blamed)
    scenario = Scenario(
        id=identity,
        scope=scope,
        entity=entity,
        time_ms=firing.time_ms,
        scenario_class=f"{scope}|{label}|{action.name}",
        score=firing.score,
        symptoms=blamed.symptoms,
        action=action,
        features=features_of(firing),
        detector_scores=detector_scores(firing),
        symptom_start_ms=firing.start_ms,
        excerpt=excerpt,
        excerpt_times_ms=times,
        peers_alike=meet_peers(tally.state, firing.time_ms, entity, label),
        peers_seen=tally.entities_at(place) - 1,
        parents=(parent,),
    )
    return _entry(batch, place, 1, scenario, headers)


def _cleared(batch: Batch, place: int) -> Entry:
    at_ms = batch.samples.times_ms[place]
    parent, identity, headers = _identify(batch, place, "cleared", at_ms)
    entity = batch.samples.sources[batch.samples.owners[place]].entity
    return _entry(batch, place, 0, Cleared(identity, batch.samples.scopes[place], entity, at_ms, (parent,)), headers)


def _heartbeats(batch: Batch, scope: str, tally: Tally) -> list[Entry]:
    entries = []
    for index in tally.beats():
        place = int(tally.places[index])
        at_ms = batch.samples.times_ms[place]
        _, identity, headers = _identify(batch, place, "heartbeat", at_ms)
        beat = Heartbeat(
            id=identity,
            scope=scope,
            time_ms=at_ms,
            samples=int(tally.samples[index]),
            repeated=int(tally.repeated[index]),
            out_of_order=int(tally.out_of_order[index]),
            entities=tally.entities_at(place),
        )
        entries.append(_entry(batch, place, 2, beat, headers))
    return entries
