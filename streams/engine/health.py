"""Whether a worker lives and whether it is ready: each check with its value and, where it fails, the reason in words.

An observer in the worker's event loop looks at stores and broker every OBSERVE_S and leaves what it saw; whoever asks, from any thread,
is answered from that, and from the tasks as they are at that moment.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.errors import StateError
from schemas.settings import Deployment
from streams.engine.liveness import Watchdog
from streams.engine.probes import Check, Report
from streams.engine.published import Published
from streams.engine.store import StoreFacts
from streams.engine.task import Task

if TYPE_CHECKING:
    from streams.engine.app import GroupApp

OBSERVE_S = 2.0
ANSWER_S_MAX = 5.0
# Longer than a slow broker's answer and a step over a large block; shorter than a supervisor's patience.
SILENCE_S_MAX = 10.0
AWAY_LOG_S = 30.0

log = structlog.get_logger()


class TaskSeen(NamedTuple):
    """One task as the observer saw it.

    Attributes:
        behind: offsets to the last stable offset, by topic: records and the markers between them.
        waiting_s: how long ago the oldest record that waits in the task was appended; 0 where none waits.
        store: its database, None where that cannot be read.
        store_fault: why not.
        producer_fault: what keeps its producer from the next transaction.
        committed_s: wall clock of its latest commit, None before the first.
    """

    behind: dict[str, int]
    waiting_s: float
    store: StoreFacts | None
    store_fault: str
    producer_fault: str
    committed_s: float | None


class Health:
    """What is known of a worker's health; written by its event loop, read by any thread.

    Args:
        deployment: limits.
        watchdog: knows who has work and makes no progress.

    Attributes:
        phase: what the worker waits for before it joins its group, or why it is about to end; empty in between.
        app: the worker's app, once the observer has seen it; the tasks at work are asked of it.
        tasks: the tasks as they were seen last, by number.
        answered_s: when the broker last answered the observer, monotonic.
        blind: what keeps the observer from seeing the tasks, empty where nothing does.
    """

    def __init__(self, deployment: Deployment, watchdog: Watchdog) -> None:
        self.phase = "no broker has answered yet"
        self.app: GroupApp | None = None
        self.blind = ""
        self.tasks: dict[int, TaskSeen] = {}
        self.answered_s = time.monotonic()
        self._broker = deployment.broker or ""
        self._lag_max = deployment.ready_lag_max
        self._watchdog = watchdog

    def live(self) -> Report:
        """Tell whether the process makes progress; where it does not, the watchdog is about to end it, or is itself gone."""
        limit_s = self._watchdog.limit_s
        waits = self._watchdog.waits()
        waited_s = round(waits[0].seconds, 1) if waits else 0.0
        unseen_s = round(time.monotonic() - self._watchdog.looked_s, 1)
        stuck = "; ".join(f"{name} has work and made no progress for {seconds:.1f} s" for name, seconds in waits if seconds > limit_s)
        blind = "" if self._watchdog.is_alive() and unseen_s <= limit_s else f"the watchdog has not looked for {unseen_s} s"
        return _report({"progress": Check(not stuck, waited_s, stuck), "watchdog": Check(not blind, unseen_s, blind)})

    def ready(self) -> Report:
        """Tell whether the process does its part: tasks recovered and not far behind, stores readable, producers fenced, broker there."""
        # Both are other dictionaries after a change.
        owned, seen = {} if self.app is None else self.app.owned, self.tasks
        tasks = {number: seen[number] for number in owned if number in seen}
        silent_s = round(time.monotonic() - self.answered_s, 1)
        silent = "" if silent_s <= SILENCE_S_MAX else f"no answer from {self._broker} for {silent_s} s, or an event loop that is busy"
        waits = self.phase or self.blind or ("" if self.app is None else waits_for(self.app))
        waits = waits or ("" if len(tasks) == len(owned) else f"{len(owned) - len(tasks)} tasks have not been looked at yet")
        behind = sum(sum(task.behind.values()) for task in tasks.values())
        late = "" if behind <= self._lag_max else f"{behind} offsets behind, NPO_READY_LAG_MAX is {self._lag_max}"
        stores = [f"task {number}: {task.store_fault}" for number, task in tasks.items() if task.store_fault]
        producers = [f"task {number}: {task.producer_fault}" for number, task in tasks.items() if task.producer_fault]
        return _report(
            {
                "tasks": Check(not waits, len(owned), waits),
                "broker": Check(not silent, silent_s, silent),
                "lag": Check(not late, behind, late),
                "stores": Check(not stores, len(tasks) - len(stores), "; ".join(stores)),
                "producers": Check(not producers, len(tasks) - len(producers), "; ".join(producers)),
            }
        )


def _report(checks: dict[str, Check]) -> Report:
    return Report(all(check.ok for check in checks.values()), checks)


def waits_for(app: "GroupApp") -> str:
    """Say what keeps the tasks from work: no membership, or a recovery; empty where nothing does. From any thread."""
    if app.recovery.recovered:
        return ""
    if not app.owned:
        return "not a member of its group yet, or in a rebalance"
    remaining = sum(app.recovery.active_remaining().values())
    return f"{len(app.owned)} tasks are recovering: {remaining} offsets of their changelogs to read"


async def observe(app: "GroupApp", health: Health) -> None:
    """Look at a worker until cancelled; say so, once every AWAY_LOG_S, while its broker does not answer.

    What breaks the observer breaks no task: the worker goes on, says that it is not ready, and is looked at again.
    """
    told_s = -AWAY_LOG_S
    while True:
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await look(app, health)
            health.blind = ""
        except (KafkaError, TimeoutError) as error:
            if time.monotonic() - told_s >= AWAY_LOG_S:
                told_s = time.monotonic()
                silent_s = round(told_s - health.answered_s)
                log.warning("the broker does not answer; waiting", broker=app.plan.deployment.broker, silent_s=silent_s, error=repr(error))
        except Exception as error:
            health.blind = f"the tasks cannot be looked at: {error!r}"
            log.exception("the tasks cannot be looked at")
        await asyncio.sleep(OBSERVE_S)


async def look(app: "GroupApp", health: Health) -> None:
    """Look at a worker once.

    Raises:
        KafkaError: the broker does not answer.
    """
    plan, tasks = app.plan, app.owned
    places = [(plan.names[topic], partition) for partition in tasks for topic in plan.steps]
    # One more partition: a worker without tasks hears of the broker too.
    ends = await app.positions.ends([*places, (plan.changelog, 0)])
    health.answered_s = time.monotonic()
    if app.owned is not tasks:
        return
    seen = {}
    for number, task in tasks.items():
        behind = {topic: ends[TopicPartition(plan.names[topic], number)] for topic in plan.steps}
        seen[number] = _see(app, number, task, behind)
    health.tasks = seen
    # Not before: Faust makes parts of the app when they are first asked for, which is for this thread to do.
    health.app, health.phase = app, ""


def _see(app: "GroupApp", number: int, task: Task, ends: dict[str, int]) -> TaskSeen:
    oldest_ms = task.oldest_waiting_ms
    waiting_s = max(0.0, time.time() - oldest_ms / 1000) if oldest_ms else 0.0
    behind = {topic: max(0, end - task.places.get(topic, 0)) for topic, end in ends.items()}
    try:
        store, fault = app.store.look(number), ""
    except StateError as error:
        store, fault = None, str(error)
    return TaskSeen(behind, waiting_s, store, fault, task.producer_fault, task.committed_s)


class Observed(Collector):
    """Gauges of what was seen last: those of tasks that went elsewhere are gone with them."""

    def __init__(self, group: str, health: Health, watchdog: Watchdog, published: Published) -> None:
        self._group = group
        self._health = health
        self._watchdog = watchdog
        self._published = published

    def collect(self) -> Iterator[Metric]:
        """Give the gauges."""
        tasks = self._health.tasks
        waits = self._watchdog.waits()
        yield self._gauge("tasks", "Tasks of this process.", [((), len(tasks))])
        yield self._gauge("ready", "1 where /readyz says so.", [((), self._health.ready().ok)])
        yield self._gauge("standstill_seconds", "Longest work without progress.", [((), waits[0].seconds if waits else 0.0)])
        yield self._gauge("broker_silence_seconds", "Since the broker's last answer.", [((), time.monotonic() - self._health.answered_s)])
        lag = [((str(task), topic), behind) for task, seen in tasks.items() for topic, behind in seen.behind.items()]
        yield self._gauge("lag_offsets", "Offsets to the last stable one: records and markers.", lag, "task", "topic")
        ages = [((str(task),), seen.waiting_s) for task, seen in tasks.items()]
        yield self._gauge("oldest_waiting_seconds", "Age of the oldest record that waits in the task.", ages, "task")
        commits = [((str(task),), seen.committed_s) for task, seen in tasks.items() if seen.committed_s is not None]
        yield self._gauge("last_commit_timestamp_seconds", "When the task last committed.", commits, "task")
        stores = [((str(task),), seen.store) for task, seen in tasks.items() if seen.store]
        yield self._gauge("store_rows", "Rows of the task's store, about.", [(labels, store.rows) for labels, store in stores], "task")
        yield self._gauge("store_bytes", "Bytes of the task's store.", [(labels, store.bytes) for labels, store in stores], "task")
        yield from self._published.gauges(tasks)

    def _gauge(self, name: str, documentation: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
        family = GaugeMetricFamily(f"npo_{name}", documentation, labels=("group", *labels))
        for found, value in values:
            family.add_metric((self._group, *found), value)
        return family
