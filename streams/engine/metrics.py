"""What a worker counts, for Prometheus. The hot path counts once a block or transaction, never once a record.

All names begin with `npo_`; labels are the task group, the task (its partition number) and short names of topics: their numbers are
bounded by the topology and the partitions. Scopes are a label of what they publish of themselves only (`streams.engine.published`).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from schemas import topics
from schemas.errors import RecordError
from schemas.headers import find
from schemas.settings import Settings
from streams.engine.fetch import Delivery
from streams.engine.produce import Record
from streams.engine.published import Published

# From a transaction on an idle machine to one that a supervisor should have ended.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DELAY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
PHASES = ("compute", "send", "commit", "store")
STEP_FAILED = "step_failed"
DEAD_LETTERS = topics.dead_letter("")


class Spent(NamedTuple):
    """Seconds that one transaction spent in each phase."""

    compute: float
    send: float
    commit: float
    store: float


class Metrics:
    """Counts of one worker process, which runs the tasks of one group.

    Args:
        group: the group's name, the label of all of them.
        settings: that the worker decides under.
    """

    def __init__(self, group: str, settings: Settings) -> None:
        # A series more for each that counts, of no use to Prometheus.
        disable_created_metrics()
        self.group = group
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ("group", "version", "settings")
        worker = Gauge("npo_worker_info", "1, with the release and the digest of the settings.", names, registry=self.registry)
        worker.labels(group, version("npo-pipeline"), settings.digest).set(1)

        def counter(name: str, documentation: str, *labels: str) -> Callable[..., Counter]:
            # To look a child up by its labels costs the library ten times what counting does.
            return cache(Counter(f"npo_{name}", documentation, ("group", *labels), registry=self.registry).labels)

        def histogram(name: str, documentation: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"npo_{name}", documentation, ("group", *labels), registry=self.registry, buckets=buckets)

        self.published = Published(group, settings.profile)
        self._records_in = counter("records_in", "Records taken and committed.", "task", "topic")
        self._blocks = counter("blocks", "Blocks taken and committed.", "task", "topic")
        self._outputs = counter("outputs", "Records written and committed, dead letters apart.", "task", "topic")
        self._dead_letters = counter("dead_letters", "Records refused, by the topic that they came from.", "topic", "reason")
        self._step = counter("step_seconds", "Time spent in the steps of a topic.", "topic")
        self._transaction = histogram("transaction_seconds", "Time of a transaction's phases.", SECONDS, "phase")
        self._delay = histogram(
            "append_to_commit_seconds", "From a transaction's oldest record's append time to the commit of what came of it.", DELAY_SECONDS
        ).labels(group)
        self.rebalances = counter("rebalances", "Assignments of tasks to this process.")(group)
        self.recovered_records = counter("recovered_records", "Rows read from changelogs to rebuild stores.")(group)
        self.recovery_seconds = Gauge(
            "npo_recovery_seconds", "From the latest assignment to tasks at work.", ("group",), registry=self.registry
        ).labels(group)
        self._phases = [self._transaction.labels(group, phase) for phase in PHASES]

    def expect(self, inputs: Iterable[str]) -> None:
        """Begin the counts of dead letters at 0: an increase from nothing is none to Prometheus."""
        for topic in inputs:
            for reason in (STEP_FAILED, *_reasons(RecordError)):
                self._dead_letters(self.group, topic, reason)

    def stepped(self, topic: str, seconds: float) -> None:
        """Count a step over a block."""
        self._step(self.group, topic).inc(seconds)

    def committed(self, task: int, work: Iterable[Delivery], outputs: Mapping[tuple[str, int], Sequence[Record]], seconds: Spent) -> None:
        """Count a transaction that has been committed.

        Args:
            task: the task's number.
            work: its blocks.
            outputs: what it wrote, by topic and partition.
            seconds: how long it took.
        """
        group, number = self.group, str(task)
        oldest_ms = time.time_ns() // 1_000_000
        for block, *_ in work:
            if block.offsets:
                self._records_in(group, number, block.topic).inc(len(block.offsets))
                self._blocks(group, number, block.topic).inc()
                oldest_ms = min(oldest_ms, block.timestamps_ms[0])
        for (topic, _), records in outputs.items():
            if not topic.endswith(DEAD_LETTERS):
                self._outputs(group, number, topic).inc(len(records))
                continue
            for record in records:
                reason = (find(record.headers, "npo_reason") or b"").decode()
                self._dead_letters(group, topic.removesuffix(DEAD_LETTERS), reason).inc()
        self.published.note(task, outputs)
        # The broker's clock may be ahead of ours.
        self._delay.observe(max(0.0, time.time() - oldest_ms / 1000))
        for phase, spent in zip(self._phases, seconds, strict=True):
            phase.observe(spent)


def _reasons(kind: type[RecordError]) -> Iterable[str]:
    """Give the reasons of all errors below a kind."""
    for below in kind.__subclasses__():
        yield below.reason
        yield from _reasons(below)
