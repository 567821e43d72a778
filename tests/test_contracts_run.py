"""A whole run in memory keeps the contracts: every record that the pipeline writes is a CloudEvent in the trace of what caused it."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from agents.encoding.samples import sample_id
from agents.step import Block, Context, Output
from schemas import codecs, topics
from schemas.alignment import RetrainingCommand
from schemas.events import Answer, Command, Control, Feedback, Life, Outcome, Scenario, Verdict
from schemas.headers import TRACEPARENT, Headers, find
from schemas.identity import partition_of
from schemas.settings import Settings
from streams.contracts.document import document
from streams.contracts.schemas import topic_schema
from streams.engine.compute import State, compute
from streams.groups import TaskGroup
from streams.logs.replay import between, limits_of
from streams.topology import TOPOLOGY
from tests.deciding.logs import settings_with
from tests.encoding.telemetry import Record, as_json, messy, steady
from tests.replay.simulation import APPENDED_MS, Topics, append, empty
from tests.training.streams import Folded, command, judgements, log_of

PARTITIONS = 2
ROUNDS = 12
TRACEPARENTS = (
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    b"cc-6bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-the-future-will-be-like",
    b"00-7bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    b"any",
    None,
)
PARSED = re.compile(r"00-([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-(0[01])")


class Cause(NamedTuple):
    """The record that a derived record was written at: block and place in it."""

    block: Block
    place: int

    @property
    def headers(self) -> Headers:
        """Its headers."""
        return self.block.headers[self.place]

    def name(self, row: int = -1) -> str:
        """Its name, or that of one row of an Arrow batch."""
        return sample_id(self.block, self.place, row)


class Written(NamedTuple):
    """A derived record, the task that wrote it, and its cause."""

    task: str
    output: Output
    cause: Cause

    @property
    def headers(self) -> dict[str, str]:
        """Its headers as text."""
        return {name: value.decode() for name, value in self.output.headers}

    @property
    def event(self) -> Any:  # noqa: ANN401 - the event of any topic
        """What it says."""
        return codecs.decode(self.output.topic, self.output.value)


class Run:
    """A deployment in memory that is fed piece by piece: each task takes what is new of each of its topics in one block."""

    def __init__(self, topology: tuple[TaskGroup, ...], settings: Settings) -> None:
        self.topology, self.settings = topology, settings
        names = [topic.name for topic in topics.TOPICS]
        self.held: Topics = {
            name: [empty(name, partition) for partition in range(PARTITIONS)] for topic in names for name in (topic, f"{topic}.dlq")
        }
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.taken: Counter[tuple[str, str]] = Counter()
        self.written: list[Written] = []

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, appended_ms: int = APPENDED_MS) -> None:
        """Append one record to the partition of its key."""
        append(self.held, topic, partition_of(key or b"", PARTITIONS), (appended_ms, key, value, headers))

    def go(self) -> None:
        """Let every task take what is new, in the order of the topology."""
        for group in self.topology:
            for partition in range(PARTITIONS):
                task = f"npo/{group.name}/{partition}"
                rows = self.rows.setdefault(task, {})
                for agent in group.agents:
                    for topic in agent.reads:
                        block = between(self.held[topic.name][partition], self.taken[task, topic.name], None)
                        self.taken[task, topic.name] += len(block.offsets)
                        if not block.offsets:
                            continue
                        positions = {other.name: self.taken[task, other.name] for other in group.inputs}
                        state = State(rows.get)
                        written = compute(agent.step, state, block, Context(self.settings, positions, PARTITIONS), limits_of(group))
                        rows |= {key: row for key, row in state.pending.items() if row is not None}
                        for key in [key for key, row in state.pending.items() if row is None]:
                            rows.pop(key, None)
                        for output, _ in written:
                            self.send(output.topic, output.key, output.value, output.headers)
                            self.written.append(Written(task, output, Cause(block, output.ordinal)))

    def of(self, topic: str) -> list[Written]:
        """Return what was written to a topic."""
        return [written for written in self.written if written.output.topic == topic]


def traced(headers: Headers, number: int) -> Headers:
    """Return headers with one of the traceparents, or with none."""
    value = TRACEPARENTS[number % len(TRACEPARENTS)]
    return headers if value is None else (*headers, (TRACEPARENT, value))


def tidy() -> list[Record]:
    """Return the samples of eleven servers in the order of time, each up at other times and often enough to be decided many times."""
    servers = [steady(f"shop-{n}", 500, range(130 + 7 * n, 500, 67), seed=n, metrics=("cpu", "mem"), scope="shop") for n in range(11)]
    return [as_json(sample) for row in zip(*servers, strict=True) for sample in row]


def operate(run: Run, fresh: list[Written], number: int) -> None:
    """Answer most of the recommendations that were opened, and tell some outcomes: all in traces of their own."""
    own = ((TRACEPARENT, b"00-8bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
    for place, event in enumerate(written.event for written in fresh):
        if event.life != Life.OPENED or place % 3 == 2:
            continue
        kind = list(Answer)[place % 4 % 3]
        feedback = Feedback(event.id, ("ana", "ben")[place % 2], kind, event.opened_ms + 60_000)
        run.send("feedback", event.scope.encode(), codecs.encode(feedback), own if place % 2 else ())
        if place % 4 == 0:
            outcome = Outcome(event.entity, event.scenario_ms - 1, event.scenario_ms + 1, Verdict.INCIDENT, event.time_ms)
            run.send("outcome", event.scope.encode(), codecs.encode(outcome), own)
    run.send("feedback", b"web", codecs.encode(Feedback(f"unknown-{number}", "eve", Answer.LIKE, 1)), traced((), number))


@cache
def whole_run() -> Run:
    """Return a run of the whole topology over messy telemetry, answers, outcomes, and a command of each kind."""
    run = Run(TOPOLOGY, settings_with(window_scenarios=10))
    logs = (messy(3, count=500), tidy())
    for number in range(ROUNDS):
        for log in logs:
            for place in range(number * len(log) // ROUNDS, (number + 1) * len(log) // ROUNDS):
                record = log[place]
                run.send("telemetry", record.key, record.value, traced(record.headers, place), record.appended_ms)
        before = len(run.written)
        run.go()
        operate(run, [written for written in run.written[before:] if written.output.topic == "recommendation"], number)
        if number == ROUNDS // 2:
            time_ms = max(written.event.time_ms for written in run.of("scenario"))
            order = RetrainingCommand("a", "web", time_ms, "asked", 0, 0, 0, 0.0, 0.0, 1, None, "ana", {})
            run.send("retraining-command", b"web", codecs.encode(order), traced((), 1))
            for switch in (Command.FREEZE, Command.RESUME):
                run.send("control", b"web", codecs.encode(Control(switch, time_ms, "ana", "web")), traced((), 0))
    run.go()
    run.go()
    return run


def derived() -> list[Written]:
    """Return every record of the run that was derived; dead letters are the sender's own."""
    return [written for written in whole_run().written if not written.output.topic.endswith(".dlq")]


def trace(written: Written | Output) -> tuple[str, str]:
    """Return trace id and flags of a derived record."""
    output = written.output if isinstance(written, Written) else written
    match = PARSED.fullmatch((find(output.headers, TRACEPARENT) or b"").decode())
    assert match, output.headers
    return match[1], match[3]


def expected(headers: Headers, name: str) -> tuple[str, str]:
    """Return the trace that a record with these headers and this name begins or carries on."""
    value = find(headers, TRACEPARENT)
    if value in TRACEPARENTS[:3]:
        return value.decode()[3:35], "00" if value.endswith(b"-00") else "01"
    if written := PARSED.fullmatch((value or b"").decode()):
        return written[1], written[3]
    return blake2b(name.encode(), digest_size=16).hexdigest(), "01"


def test_run_is_whole() -> None:
    """The run has written to every topic that the topology writes, and dead letters: the properties below say something."""
    counts = Counter(written.output.topic for written in whole_run().written)
    for topic in ("scenario", "decision", "recommendation", "judgement", "alignment", "telemetry.dlq", "feedback.dlq"):
        assert counts[topic] > 10, counts
    lives = {written.event.life for written in whole_run().of("recommendation")}
    assert {Life.OPENED, Life.ANSWERED, Life.CLEARED, Life.EXPIRED} <= lives
    assert {written.event.closed_by for written in whole_run().of("judgement")} == {"answer", "silence", "outcome"}


def test_every_derived_record_is_a_cloud_event() -> None:
    """The CloudEvents library reads each record as an event of its topic, from its task, named once on its topic, with its event time."""
    names: Counter[tuple[str, str]] = Counter()
    times = [codecs.decode("scenario", written.output.value).time_ms for written in whole_run().of("scenario")]
    for written in derived():
        output = written.output
        event = from_binary(KafkaMessage(headers=dict(output.headers), key=output.key, value=output.value or b""), JSONFormat())
        assert (event.get_type(), event.get_source()) == (f"npo.{output.topic}.v1", written.task)
        assert event.get_data() == json.loads(output.value or b"")
        names[output.topic, event.get_id()] += 1
        time = event.get_time()
        assert time
        time_ms = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        # A life is told at the scope's time, which telemetry moves; an answer's own time may be before it.
        assert time_ms == written.event.time_ms or (output.topic == "recommendation" and time_ms > written.event.time_ms)
        assert min(times) <= time_ms <= max(times)
        if hasattr(written.event, "id") and output.topic != "recommendation":
            assert event.get_id() == written.event.id
    assert set(names.values()) == {1}


def test_every_record_is_what_the_documents_say() -> None:
    """Value and headers of each record, dead letters too, fit the JSON Schema of its topic and a message of its channel."""
    described = document(TOPOLOGY)
    values = {topic.name: jsonschema_rs.validator_for(topic_schema(topic)) for topic in topics.TOPICS}
    headers = {}
    for channel, entry in described["channels"].items():
        names = [message["$ref"].rpartition("/")[2] for message in entry["messages"].values()]
        schemas = [described["components"]["messages"][name]["headers"] for name in names]
        headers[channel] = jsonschema_rs.Draft7Validator({"anyOf": schemas, "components": described["components"]}, validate_formats=True)
    for written in whole_run().written:
        given = {name: value.decode(errors="replace") for name, value in written.output.headers}
        assert headers[written.output.topic].is_valid(given), given
        if written.output.topic in values:
            assert values[written.output.topic].is_valid(json.loads(written.output.value or b""))


def test_a_trace_leads_from_sample_to_judgement() -> None:
    """A sample's trace, flags too, is that of its scenario, of the decision, of each moment of the recommendation and of the judgement."""
    run = whole_run()
    scenarios = {written.event.id: written for written in run.of("scenario") if isinstance(written.event, Scenario)}
    decisions = {written.event.id: written for written in run.of("decision")}
    kinds = set()
    for written in scenarios.values():
        name = written.event.parents[0]
        assert name.partition("#")[0] == written.cause.name()
        assert trace(written) == expected(written.cause.headers, name)
        value = find(written.cause.headers, TRACEPARENT)
        kinds.add((TRACEPARENTS.index(value), "#" in name))
    assert kinds >= {(number, False) for number in range(len(TRACEPARENTS))}
    assert sum(arrow for _, arrow in kinds) > 1
    for written in decisions.values():
        assert trace(written) == trace(scenarios[written.event.scenario])
    for written in run.of("recommendation"):
        assert trace(written) == trace(decisions[written.event.id])
    for written in run.of("judgement"):
        assert trace(written) == trace(decisions[written.event.decision])


def test_every_other_record_is_in_the_trace_of_its_cause() -> None:
    """Whatever is no moment of a decision's life is in the trace of the record that it was written at: the second loop has its causes."""
    topics_seen = set()
    for written in derived():
        if written.output.topic in {"recommendation", "judgement"}:
            continue
        topics_seen.add(written.output.topic)
        cause = written.cause
        traces = [expected(cause.headers, cause.name())]
        if written.output.topic == "scenario" and find(cause.headers, TRACEPARENT) not in TRACEPARENTS[:3]:
            # Each sample of a batch without a trace begins its own.
            traces += [expected(cause.headers, cause.name(row)) for row in range(20)]
        assert trace(written) in traces
    assert {"scenario", "decision", "alignment", "retraining-result"} <= topics_seen


def test_every_record_has_a_span_of_its_own() -> None:
    """No two records of a topic have one span, and none has the span of its cause: each is a step of its trace."""
    spans: Counter[tuple[str, str]] = Counter()
    for written in derived():
        span = written.headers[TRACEPARENT].split("-")[2]
        assert span != "0" * 16
        assert f"-{span}-".encode() not in (find(written.cause.headers, TRACEPARENT) or b"")
        spans[written.output.topic, span] += 1
    assert set(spans.values()) == {1}


def test_dead_letters_keep_their_trace() -> None:
    """A record that cannot be used keeps the headers that it came with, before those that say why."""
    letters = [written for written in whole_run().written if written.output.topic.endswith(".dlq")]
    for written in letters:
        assert written.output.headers[: len(written.cause.headers)] == written.cause.headers
        assert written.headers["npo_reason"]


def test_a_retraining_result_is_in_the_trace_of_its_command() -> None:
    """What comes of a command carries on the command's trace, whoever recorded it."""
    (result,) = whole_run().of("retraining-result")
    assert trace(result) == expected(result.cause.headers, "a")
    assert msgspec.json.decode(result.output.value or b"")["command"] == "a"
    assert trace(result)[1] == "00"


def test_a_model_is_in_the_trace_of_the_command_that_brought_it() -> None:
    """A trained model and the result that tells of it are in the command's trace; what a challenger came to is in a judgement's."""
    log = log_of(judgements(1, 4))
    log.insert(len(log) * 3 // 4 + 1, ("retraining-command", command("a", (0, 2), len(log))))
    folded = Folded().run(log)
    outputs = {
        topic: [output for output in folded.outputs if output.topic == topic] for topic in ("retraining-result", "model", "alignment")
    }
    assert [event.origin for event in folded.events("model")] == ["trained"]
    for output in (*outputs["retraining-result"], *outputs["model"]):
        assert trace(output) == expected((), "retraining-command-0")
    assert len(outputs["alignment"]) > 1
    of_judgements = {expected((), f"judgement-{number}") for number in range(len(log))}
    assert {trace(output) for output in outputs["alignment"]} <= of_judgements
