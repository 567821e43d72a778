"""A task: one partition number of all topics of a group. It takes blocks in order, one transaction at a time.

Order inside a transaction: compute; begin; send outputs; send rows to the changelog; send the positions of all its
topics; commit; only then write the database. The fault points name the gaps.
"""

import asyncio
import time
from collections import defaultdict, deque
from contextlib import suppress
from itertools import pairwise
from types import MappingProxyType

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from agents.step import Context
from schemas.errors import PositionError
from schemas.events import Merge, MergeStep
from schemas.headers import cloud_event, trace_of
from schemas.identity import derived_name
from schemas.topics import CONTROL, MERGE
from streams.engine.compute import State, Timed, compute
from streams.engine.faults import reach
from streams.engine.fetch import BLOCK_RECORDS_MAX, Delivery, slice_block
from streams.engine.liveness import Watchdog, end_process
from streams.engine.metrics import Metrics, Spent
from streams.engine.plan import Plan
from streams.engine.produce import Record, Sent, last_offset, new_producer, partition_of, send
from streams.engine.store import Store

STOP_S_MAX = 3.0

log = structlog.get_logger()


class Task:
    """Queue, positions, state and producer of one task.

    Args:
        plan: what the tasks of the group share.
        partition: the task's number.
        store: the group's databases.
        watchdog: ends the process when the task stands still.
        metrics: counts what is committed.

    Attributes:
        positions: the next record of each topic, as committed.
        committed_s: wall clock of the latest commit, None before the first.
    """

    def __init__(self, plan: Plan, partition: int, store: Store, watchdog: Watchdog, metrics: Metrics) -> None:
        self.name = f"{plan.application}-{partition}"
        self.positions: dict[str, int] = {}
        self.committed_s: float | None = None
        self._metrics = metrics
        self._plan = plan
        self._partition = partition
        self._store = store
        self._watchdog = watchdog
        self._queue: deque[Delivery] = deque()
        self._control: deque[Delivery] = deque()
        self._control_due = 0
        self._moves: dict[str, Delivery] = {}
        self._offered = 0
        self._stopping = False
        self._arrived = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._runner: asyncio.Task[None] | None = None

    async def fence(self) -> None:
        """Become the task's one owner: any earlier owner's transaction is ended, and its next request refused."""
        self._producer = new_producer(self._plan.deployment, self.name)
        await self._producer.start()

    def start(self, positions: dict[str, int], control_end: int) -> None:
        """Start at these positions, with the control records before `control_end` first."""
        self.positions = positions
        self._control_due = control_end
        self._runner = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Finish the open transaction, or leave it to the next owner to abort."""
        self._stopping = True
        self._arrived.set()
        if self._runner is not None:
            await asyncio.wait([self._runner], timeout=STOP_S_MAX)
            self._runner.cancel()
        self._watchdog.idle(self.name)
        if self._producer is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._producer.stop(), STOP_S_MAX)

    @property
    def has_room(self) -> bool:
        """Whether more may be fetched: one full block may wait while another is computed."""
        return self._offered < BLOCK_RECORDS_MAX

    @property
    def places(self) -> dict[str, int]:
        """The next record of each topic, with the markers that were passed since the latest commit."""
        return self.positions | {topic: move.next for topic, move in self._moves.items()}

    @property
    def oldest_waiting_ms(self) -> int | None:
        """The append time of the oldest record that waits here, None where none does."""
        waiting = [delivery.block.timestamps_ms[0] for delivery in (*self._control, *self._queue) if delivery.block.offsets]
        return min(waiting, default=None)

    @property
    def producer_fault(self) -> str:
        """What keeps the task's producer from the next transaction, empty where nothing does."""
        if self._producer is None or self._producer._closed is not False:
            return "no producer: the task is not fenced yet, or was given up"
        state = self._producer._txn_manager.state
        faults = {TransactionState.UNINITIALIZED, TransactionState.ABORTABLE_ERROR, TransactionState.FATAL_ERROR}
        return f"the producer's transactions are in state {state.name}" if state in faults else ""

    def offer(self, delivery: Delivery) -> None:
        """Learn of a block that has been fetched and is on its way through a Faust stream."""
        self._offered += delivery.load
        if delivery.block.topic == CONTROL.name:
            self._control_due = max(self._control_due, delivery.next)
        self._watchdog.offered(self.name)

    def put(self, delivery: Delivery) -> None:
        """Take a block from its stream."""
        queue = self._control if delivery.block.topic == CONTROL.name else self._queue
        queue.append(delivery)
        self._arrived.set()

    async def _run(self) -> None:
        try:
            while not self._stopping:
                if work := self._take():
                    await self._transact(work)
                    self._watchdog.working(self.name)
                    continue
                if not self._offered:
                    self._watchdog.idle(self.name)
                self._arrived.clear()
                await self._arrived.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next process starts from what is committed
            if not self._stopping:
                end_process(f"task {self.name} failed: {error}", error)
            log.warning("task failed while it was given up", task=self.name, error=repr(error))

    def _take(self) -> list[Delivery]:
        """Take what fits one transaction: control first, and nothing else while control is on its way.

        Raises:
            PositionError: records between what was taken and what came next were never delivered.
        """
        work = list(self._moves.values())
        ahead = self.places
        records = load = 0
        while (queue := self._next_queue(ahead)) and (not records or load + queue[0].load <= BLOCK_RECORDS_MAX):
            delivery = queue.popleft()
            load += delivery.load
            self._offered -= delivery.load
            if (fresh := self._fresh(delivery, ahead)) is not None:
                ahead[fresh.block.topic] = fresh.next
                work.append(fresh)
                records += len(fresh.block.offsets)
        # Markers and aborted records alone are no reason for a transaction: the next one takes the move along.
        self._moves = {} if records else merge_moves(work)
        return work if records else []

    def _next_queue(self, positions: dict[str, int]) -> deque[Delivery] | None:
        if self._control:
            return self._control
        if CONTROL.name in positions and positions[CONTROL.name] < self._control_due:
            return None
        return self._queue or None

    def _fresh(self, delivery: Delivery, positions: dict[str, int]) -> Delivery | None:
        """Return what of a delivery is new, None if nothing is: what was fetched before a seek comes again."""
        topic = delivery.block.topic
        position = positions[topic]
        if delivery.start == position:
            return delivery
        if delivery.next <= position:
            return None
        if delivery.start > position:
            raise PositionError(
                f"task {self.name} is at {position} of {topic} and was given {delivery.start}: the records between are lost. "
                "If they were deleted, start again to see what the broker still holds"
            )
        seen = sum(offset < position for offset in delivery.block.offsets)
        return Delivery(slice_block(delivery.block, seen, len(delivery.block.offsets)), position, delivery.next)

    def _compute(self, work: list[Delivery], state: State) -> tuple[list[Timed], dict[str, int]]:
        """Run the steps over the blocks in order; return the outputs and the positions after them."""
        plan = self._plan
        outputs: list[Timed] = []
        positions = self.positions.copy()
        for delivery in work:
            block = delivery.block
            if block.offsets:
                context = Context(plan.settings, MappingProxyType(positions.copy()), plan.partitions)
                started_s = time.perf_counter()
                outputs += compute(plan.steps[block.topic], state, block, context, plan.limits)
                self._metrics.stepped(block.topic, time.perf_counter() - started_s)
            positions[block.topic] = delivery.next
        return outputs, positions

    async def _transact(self, work: list[Delivery]) -> None:
        plan, producer = self._plan, self._producer
        assert producer is not None
        reach("before_compute")
        times_s = [time.perf_counter()]
        state = State(self._store.reader(self._partition))
        outputs, positions = self._compute(work, state)
        times_s.append(time.perf_counter())
        time_ms = max(max(block.timestamps_ms, default=0) for block, *_ in work)
        reach("after_compute")
        await producer.begin_transaction()
        reach("after_begin")
        grouped = self._grouped(outputs)
        sent = []
        for (topic, partition), records in grouped.items():
            sent += await send(producer, plan.names[topic], partition, records)
        if plan.group.merges:
            sent += await self._send_merge(producer, work, time_ms)
        reach("after_outputs")
        rows = [Record(key, row, (), time_ms) for key, row in state.pending.items()]
        changes = await send(producer, plan.changelog, self._partition, rows)
        # All acknowledged before the positions: the broker answers a produce that races them with an error to retry.
        for one in sent:
            await one.acknowledged
        offset = await last_offset(changes) if changes else None
        reach("after_changelog")
        await producer.send_offsets_to_transaction(
            {TopicPartition(plan.names[topic], self._partition): OffsetAndMetadata(position, "") for topic, position in positions.items()},
            plan.application,
        )
        reach("after_positions")
        times_s.append(time.perf_counter())
        await producer.commit_transaction()
        times_s.append(time.perf_counter())
        reach("after_commit")
        if offset is not None:
            self._store.write(self._partition, state.pending.items(), offset)
        self.positions = positions
        times_s.append(time.perf_counter())
        self.committed_s = time.time()
        self._metrics.committed(self._partition, work, grouped, Spent(*(end - start for start, end in pairwise(times_s))))
        reach("after_store")

    def _grouped(self, outputs: list[Timed]) -> dict[tuple[str, int], list[Record]]:
        """Return outputs by topic and partition, in order."""
        grouped: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for (topic, key, value, headers, _), timestamp_ms in outputs:
            grouped[topic, partition_of(key, self._plan.partitions_of(topic))].append(Record(key, value, headers, timestamp_ms))
        return grouped

    async def _send_merge(self, producer: AIOKafkaProducer, work: list[Delivery], time_ms: int) -> list[Sent]:
        """Send the order in which the blocks were taken: with it a replay is exact where topics meet."""
        group = self._plan.group.name
        steps = tuple(MergeStep(block.topic, start, following) for block, start, following in work)
        source = f"npo/{group}/{self._partition}"
        identity = derived_name(f"{source}/{steps[0].topic}", "merge", steps[0].start)
        headers = cloud_event(identity, MERGE.name, source, time_ms, trace_of((), identity))
        record = Record(f"{group}-{self._partition}".encode(), msgspec.json.encode(Merge(group, self._partition, steps)), headers, time_ms)
        partition = self._partition % self._plan.partitions_of(MERGE.name)
        return await send(producer, self._plan.names[MERGE.name], partition, [record])


def merge_moves(deliveries: list[Delivery]) -> dict[str, Delivery]:
    """Return deliveries without records as one per topic."""
    moves: dict[str, Delivery] = {}
    for delivery in deliveries:
        earlier = moves.get(delivery.block.topic, delivery)
        moves[delivery.block.topic] = Delivery(delivery.block, earlier.start, delivery.next)
    return moves
