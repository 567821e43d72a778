"""What a run can go through besides the loop of plain calls: the real topics in lockstep, in memory or on a broker.

The same run comes to the same bytes through each. What is compared is every derived event: topic, key, name, event time, trace, and
the JSON of what it says. Left out is what a broker may have otherwise: `positions`, which are offsets, and transactions' markers
take offsets too; and the order of events that different tasks write at once. Events go in one by one, or several of one topic
together where none but the last leads to something that another task reads: so nothing else is on its way meanwhile.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from agents.loop import Loop
from agents.turn import Emitted
from experiments import lockstep, lockstep_kafka
from experiments.lockstep import PARTITIONS, Memory, Record
from experiments.simulator.run import Run, prepare, run
from experiments.simulator.world import World, shortened
from schemas.codecs import decode, encode
from schemas.errors import StackError
from schemas.headers import find, trace_of
from schemas.settings import Profile, Settings
from schemas.topics import dead_letter
from streams.stack import running_stack
from streams.topology import TOPOLOGY

# Scenarios are sent as they are: nothing is encoded.
WITHOUT_ENCODING = tuple(group for group in TOPOLOGY if group.name != "encoding")
DERIVED = tuple(dict.fromkeys(topic.name for group in WITHOUT_ENCODING for topic in group.outputs))
# Those that a task reads.
PASSED_ON = frozenset(DERIVED) & {topic.name for group in WITHOUT_ENCODING for topic in group.inputs}
LETTERS = tuple(dict.fromkeys(dead_letter(topic.name) for group in WITHOUT_ENCODING for topic in group.inputs))


class Sent(NamedTuple):
    """One event on its way in."""

    scope: str
    identity: str
    event: Struct


class Topics:
    """The real topics as a run drives them: one event in as bytes, everything settled, what was written back as events.

    Args:
        pipeline: a topology in lockstep that keeps DERIVED and LETTERS.
    """

    def __init__(self, pipeline: lockstep.Pipeline) -> None:
        self._pipeline = pipeline

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> list[Emitted]:
        """Hand in one event under its name, let everything settle, and return what was written, topic by topic."""
        return self.take(topic, [Sent(scope or getattr(event, "scope", None) or "", identity, event)])

    def take(self, topic: str, sent: Sequence[Sent]) -> list[Emitted]:
        """Hand in events of one topic, let everything settle, and return what was written, topic by topic.

        Raises:
            StackError: a record ended in a dead-letter topic.
        """
        assert all(each.identity for each in sent), "names of their own: draws must not depend on an offset"
        records = [Record(each.scope.encode() or None, encode(each.event), (("ce_id", each.identity.encode()),)) for each in sent]
        self._pipeline.send(topic, records)
        self._pipeline.settle()
        for name in LETTERS:
            for record in self._pipeline.read(name):
                reason = (find(record.headers, "npo_detail") or b"").decode()
                raise StackError(f"{sent[0].identity} to {sent[-1].identity} led to a record in {name}: {reason}")
        return [emitted(name, record) for name in DERIVED for record in self._pipeline.read(name)]


def emitted(topic: str, record: Record) -> Emitted:
    """Return a derived record as the event that its task emitted."""
    assert record.key is not None
    identity, time = ((find(record.headers, name) or b"").decode() for name in ("ce_id", "ce_time"))
    time_ms = round(datetime.fromisoformat(time).timestamp() * 1000)
    return Emitted(topic, record.key.decode(), identity, time_ms, decode(topic, record.value), trace_of(record.headers, identity))


def canonical(written: Sequence[Emitted]) -> list[bytes]:
    """Return what one event led to as bytes that must be the same whatever it went through, in order of topic and name."""
    return sorted(msgspec.json.encode((each.topic, each.identity, each.scope, each.time_ms, each.trace, _said(each))) for each in written)


def _said(each: Emitted) -> Any:  # noqa: ANN401  # JSON
    # As it is read: an event that never travelled may still have an int where its schema has a float.
    said = msgspec.json.decode(encode(decode(each.topic, encode(each.event))))
    said.pop("positions", None)
    return said


@contextmanager
def _nothing(_: Settings) -> Iterator[None]:
    yield None


@contextmanager
def _memory(settings: Settings) -> Iterator[Topics]:
    yield Topics(Memory(WITHOUT_ENCODING, settings, (*DERIVED, *LETTERS)))


@contextmanager
def _kafka(settings: Settings) -> Iterator[Topics]:
    """Run a stack of one partition under these settings in a directory of its own, whatever the environment names."""
    with tempfile.TemporaryDirectory(prefix="npo-simulate-") as directory:
        home = Path(directory)
        declared: dict[str, Any] = {"broker": None, "redis": None, "partitions": PARTITIONS, "scopes": None, "seed": settings.seed}
        for name in ("profile", "policy", "catalogue"):
            declared[name] = home / f"{name}.yaml"
            declared[name].write_bytes(msgspec.yaml.encode(getattr(settings, name)))
        with (
            running_stack(home / "stack", **declared) as deployment,
            lockstep_kafka.running(deployment, WITHOUT_ENCODING, (*DERIVED, *LETTERS)) as pipeline,
        ):
            yield Topics(pipeline)


# What a run goes through beside the loop.
THROUGH: dict[str, Callable[[Settings], AbstractContextManager[Topics | None]]] = {"loop": _nothing, "memory": _memory, "kafka": _kafka}


class Beside:
    """The loop, and topics that take the same events and must come to the same.

    Args:
        loop: whose events are returned.
        topics: what it is compared with, or None.

    Attributes:
        digest: of all that was written, as `canonical` has it.
        events: how many derived events there were.
    """

    def __init__(self, loop: Loop, topics: Topics | None) -> None:
        self._loop, self._topics = loop, topics
        self._topic = ""
        self._sent: list[Sent] = []
        self._written: list[bytes] = []
        self.digest = blake2b(digest_size=16)
        self.events = 0

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand an event to the loop, and to the topics as soon as something has to settle.

        Raises:
            StackError: they came to different events; those that differ are shown.
        """
        if topic != self._topic:
            self.settle()
        written = self._loop.send(topic, event, scope=scope, identity=identity)
        self._topic = topic
        self._sent.append(Sent(scope or "", identity, event))
        found = canonical(written)
        for each in found:
            self.digest.update(each)
        self.events += len(found)
        self._written += found
        if any(each.topic in PASSED_ON for each in written):
            self.settle()
        return written

    def settle(self) -> None:
        """Let the topics take what was kept back, and compare.

        Raises:
            StackError: see `send`.
        """
        sent, self._sent, written, self._written = self._sent, [], self._written, []
        if self._topics is None or not sent:
            return
        ours, theirs = Counter(written), Counter(canonical(self._topics.take(self._topic, sent)))
        if ours != theirs:
            only = [b"\n".join((one - other).elements()).decode() or "nothing" for one, other in ((ours, theirs), (theirs, ours))]
            names = f"{self._topic} {sent[0].identity} to {sent[-1].identity}"
            raise StackError(f"{names} led to different events\nthe loop alone: {only[0]}\nthe topics alone: {only[1]}")


class Check(Struct, frozen=True):
    """A run that came to the same through the loop and through the topics: how many derived events, and their digest."""

    through: str
    scenarios: int
    events: int
    digest: str
    run: Run


def check_through(world: World, profile: Profile, seed: int, scenarios: int, through: str) -> Check:
    """Run the beginning of a world through the loop and through the topics, event by event, and compare all that is written.

    Args:
        world: its parameters; it is shortened.
        profile: how the loop learns.
        seed: of everything that is drawn.
        scenarios: how many; on a broker each takes some hundredths of a second, and the stack a while to start.
        through: of THROUGH.

    Raises:
        StackError: the two came to different events, a record was refused, or the stack does not run.
    """
    short = shortened(world, scenarios)
    settings = prepare(short, profile, seed).settings
    with THROUGH[through](settings) as topics:
        beside = Beside(Loop(settings), topics)
        ran = run(short, profile, seed, beside)
        beside.settle()
    return Check(through, scenarios, beside.events, beside.digest.hexdigest(), ran)
