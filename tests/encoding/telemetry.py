"""Telemetry of our own making: a few servers with faults and with everything that goes wrong on the way."""

import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from agents.encoding.encoder import encode
from agents.step import Block, Context, Output
from schemas import codecs
from schemas.events import ScenarioEvent
from schemas.headers import ARROW, CONTENT_TYPE, Headers
from schemas.settings import DEPLOY, Catalogue, Policy, Profile, Settings, read_yaml

START_MS = 1_577_836_800_000
STEP_MS = 60_000
HOUR_MS = 3_600_000
CATALOGUE = read_yaml(DEPLOY / "catalogue" / "default.yaml", Catalogue)
CONTEXT = Context(Settings(Profile("test"), Policy("1", ()), CATALOGUE), {}, 1)
NEW_METRIC_ROW = 10
METRICS = ("cpu_r", "mem_u", "disk_w", "eth1_fi", "m0", "constant")


class Record(NamedTuple):
    """One record of the telemetry topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    appended_ms: int = START_MS + 10_000 * HOUR_MS


class Run(NamedTuple):
    """What came of a log: outputs in order, and the rows at its end."""

    outputs: list[Output]
    rows: dict[bytes, bytes]

    def events(self, kind: type[ScenarioEvent] | None = None) -> list[Any]:
        """Return the events of the scenario topic, of one kind or all."""
        events = [codecs.decode("scenario", output.value) for output in self.outputs if output.topic == "scenario"]
        return [event for event in events if kind is None or type(event) is kind]

    def reasons(self) -> list[tuple[int, str]]:
        """Return offset and reason of each dead record."""
        dead = [dict(output.headers) for output in self.outputs if output.topic == "telemetry.dlq"]
        return [(int(headers["npo_offset"]), headers["npo_reason"].decode()) for headers in dead]


def run(log: Sequence[Record], cuts: Iterable[int] = (), rows: dict[bytes, bytes] | None = None, context: Context = CONTEXT) -> Run:
    """Encode a log, cut into blocks before the given records."""
    held = dict(rows or {})
    outputs: list[Output] = []
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(log)}), len(log)]
    for begin, end in pairwise(edges):
        part = log[begin:end]
        block = Block(
            "telemetry", 0, list(range(begin, end)), [r.appended_ms for r in part], [r.key for r in part], [r.value for r in part],
            [r.headers for r in part],
        )  # fmt: skip
        result = encode(held, block, context)
        assert [output.ordinal for output in result.outputs] == sorted(output.ordinal for output in result.outputs)
        outputs.extend(output._replace(ordinal=output.ordinal + begin) for output in result.outputs)
        held.update({key: row for key, row in result.rows.items() if row is not None})
    return Run(outputs, held)


def sample(entity: str, time_ms: int, metrics: dict[str, float | None], scope: str | None = None) -> dict[str, Any]:
    """Return one sample; NaN stands for a metric that is there without a value."""
    return {"entity": entity, "time_ms": time_ms, "metrics": metrics, "scope": scope}


def as_json(one: dict[str, Any], *, keyed: bool = True, identity: str | None = None) -> Record:
    """Write a sample as JSON."""
    metrics = {name: None if value is None or np.isnan(value) else value for name, value in one["metrics"].items()}
    headers: Headers = () if identity is None else (("ce_id", identity.encode()),)
    return Record(one["entity"].encode() if keyed else None, msgspec.json.encode(one | {"metrics": metrics}), headers)


def stream_of(*batches: pa.RecordBatch) -> bytes:
    """Write record batches as one Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def as_arrow(samples: Sequence[dict[str, Any]], *, keyed: bool = True, identity: str | None = None) -> Record:
    """Write samples of one entity as one Arrow record, with the union of their metrics as columns."""
    names = list(dict.fromkeys(name for one in samples for name in one["metrics"]))
    columns: dict[str, Any] = {"time_ms": pa.array([one["time_ms"] for one in samples], pa.int64())}
    if not keyed:
        columns["entity"] = pa.array([one["entity"] for one in samples])
    columns["scope"] = pa.array([one["scope"] for one in samples], pa.string())
    columns |= {name: pa.array([one["metrics"].get(name) for one in samples], pa.float64()) for name in names}
    headers: Headers = ((CONTENT_TYPE, ARROW),) if identity is None else ((CONTENT_TYPE, ARROW), ("ce_id", identity.encode()))
    return Record(samples[0]["entity"].encode() if keyed else None, stream_of(pa.record_batch(columns)), headers)


def steady(
    entity: str,
    count: int,
    faults: Iterable[int] = (),
    *,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
    scope: str | None = None,
    step_ms: int = STEP_MS,
) -> list[dict[str, Any]]:
    """Return samples of one healthy server, with all metrics but the constant one far up at the given ones."""
    rng = np.random.default_rng(seed)
    values = 10 + rng.normal(size=(count, len(metrics)))
    values[list(faults)] += 60
    constant = [place for place, name in enumerate(metrics) if name == "constant"]
    values[:, constant] = 0.1
    return [
        sample(entity, START_MS + row * step_ms, dict(zip(metrics, map(float, values[row]), strict=True)), scope) for row in range(count)
    ]


def messy(seed: int, count: int = 220) -> list[Record]:
    """Return a log of four servers with faults, missing metrics, new ones, gaps, repeats, late samples, moves and garbage."""
    rng = np.random.default_rng(seed)
    queues = []
    for number in range(4):
        entity = f"machine-{number}"
        samples = steady(entity, count, rng.integers(125, count, 6), seed=seed + number, scope=[None, "web", "web", "db"][number])
        queues.append(_as_records(_spoil(samples, rng), rng))
    log: list[Record] = []
    while any(queues):
        queue = queues[int(rng.choice([k for k, queue in enumerate(queues) if queue]))]
        log.append(queue.pop(0))
        if rng.random() < 0.02:
            log.append(Record(b"machine-1", rng.bytes(int(rng.integers(0, 60))), ((CONTENT_TYPE, ARROW),) if rng.random() < 0.5 else ()))
    return log


def _spoil(samples: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
    spoilt: list[dict[str, Any]] = []
    shift = 0
    for row, one in enumerate(samples):
        chance = rng.random(4)
        shift += int(rng.integers(2, 200)) * STEP_MS if chance[0] < 0.02 else 0
        one["time_ms"] += shift + int(rng.integers(0, 2000))
        if chance[1] < 0.1:
            name = str(rng.choice(list(one["metrics"])))
            if chance[2] < 0.5:
                one["metrics"][name] = None
            else:
                del one["metrics"][name]
        if row > NEW_METRIC_ROW and rng.random() < 0.7:
            one["metrics"]["new_metric"] = float(rng.normal())
        if chance[3] < 0.02:
            one["scope"] = "moved"
        spoilt.append(one)
        if chance[2] > 0.97:
            spoilt.append(spoilt[int(rng.integers(0, len(spoilt)))])
    return spoilt


def _as_records(samples: list[dict[str, Any]], rng: np.random.Generator) -> list[Record]:
    records: list[Record] = []
    at = 0
    while at < len(samples):
        keyed, identity = rng.random() < 0.8, f"id-{rng.integers(10**9)}" if rng.random() < 0.5 else None
        if rng.random() < 0.1:
            size = int(rng.integers(1, 20))
            records.append(as_arrow(samples[at : at + size], keyed=keyed, identity=identity))
            at += size
        else:
            records.append(as_json(samples[at], keyed=keyed, identity=identity))
            at += 1
    return records
