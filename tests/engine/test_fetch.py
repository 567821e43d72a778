"""The hot path sees what aiokafka's own path sees."""

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import fetch
from streams.engine.fetch import Delivery, unpack

PLACE = TopicPartition("somewhere", 3)
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
CONTROL_BIT, ATTRIBUTES_AT, CRC_AT, CRC_FROM = 0x20, 22, 17, 21


class Log:
    """A partition's bytes and the list of its aborted transactions, as a fetch response has them."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.aborted: list[tuple[int, int]] = []
        self.next = 0
        self.first = 0
        self.open: dict[int, int] = {}

    def add(self, count: int, producer: int | None, compression: int) -> None:
        """Append one batch, of a transaction if there is a producer."""
        builder = self.builder(producer, compression)
        for index in range(count):
            headers = [("h", b"%d" % index)] if index % 3 == 0 else []
            builder.append(index, 1000 + index, key=None if index % 5 == 4 else b"k%d" % index, value=b"v%d" % self.next, headers=headers)
        if producer is not None:
            self.open.setdefault(producer, self.next)
        self.finish(builder, count, producer)

    def end(self, producer: int, marker: bytes) -> None:
        """End a producer's transaction, if it has one."""
        if (start := self.open.pop(producer, None)) is None:
            return
        if marker == ABORT:
            self.aborted.append((producer, start))
        builder = self.builder(producer, 0)
        builder.append(0, 1000, key=marker, value=b"\x00" * 6, headers=[])
        self.finish(builder, 1, producer, control=True)

    def builder(self, producer: int | None, compression: int) -> DefaultRecordBatchBuilder:
        """A batch to be."""
        return DefaultRecordBatchBuilder(
            2,
            compression,
            is_transactional=int(producer is not None),
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1 << 20,
        )

    def finish(self, builder: DefaultRecordBatchBuilder, count: int, producer: int | None, *, control: bool = False) -> None:
        """Give the batch its offset, producer and checksum, as producer and broker do."""
        if producer is not None:
            builder.set_producer_state(producer, 0, 0)
        batch = bytearray(builder.build())
        batch[:8] = self.next.to_bytes(8, "big")
        if control:
            batch[ATTRIBUTES_AT] |= CONTROL_BIT
            batch[CRC_AT:CRC_FROM] = crc32c(bytes(batch[CRC_FROM:])).to_bytes(4, "big")
        self.bytes += batch
        self.first = self.first or count
        self.next += count

    def records(self, start: int) -> PartitionRecords:
        """What a fetch from `start` brings, to a reader of committed records."""
        return PartitionRecords(
            PLACE, MemoryRecords(bytes(self.bytes)), list(self.aborted), start, None, None, check_crcs=True, isolation_level=READ_COMMITTED
        )


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Logs of plain batches and of transactions of two producers, committed, aborted or open."""
    log = Log()
    for _ in range(draw(st.integers(1, 8))):
        producer = draw(st.sampled_from([None, 7, 8]))
        if producer is not None and draw(st.booleans()):
            log.end(producer, draw(st.sampled_from([ABORT, COMMIT])))
        else:
            log.add(draw(st.integers(1, 12)), producer, draw(st.sampled_from([0, 1, 3])))
    return log


@given(log=logs(), start=st.integers(0, 5), limit=st.integers(1, 7))
def test_unpack_sees_what_aiokafka_sees(log: Log, start: int, limit: int) -> None:
    """Offsets, times, keys, values and headers are those of aiokafka's records, whatever was aborted, compressed or begun before."""
    # A broker begins with the batch that holds the position.
    start = min(start, log.first - 1)
    theirs = log.records(start)
    expected = [(one.offset, one.timestamp, one.key, one.value, one.headers) for one in theirs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "BLOCK_RECORDS_MAX", limit)
        deliveries = unpack(log.records(start), "short", PLACE.partition)
    assert [record for delivery in deliveries for record in zip(*delivery.block[2:], strict=True)] == expected
    check_positions_of(deliveries, start, theirs.next_fetch_offset, limit)


def check_positions_of(deliveries: list[Delivery], start: int, end: int, limit: int) -> None:
    """Deliveries follow one another without a gap, and hold their own records only."""
    assert [delivery.start for delivery in deliveries] == [start, *(delivery.next for delivery in deliveries[:-1])]
    assert deliveries[-1].next == end
    for block, first, following in deliveries:
        assert len(block.offsets) <= limit
        assert all(first <= offset < following for offset in block.offsets)


def test_a_corrupt_batch_is_refused() -> None:
    """A batch that does not match its checksum raises."""
    log = Log()
    log.add(3, None, 0)
    log.bytes[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        unpack(log.records(0), "short", 0)
