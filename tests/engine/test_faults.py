"""Records that break a step, positions that are gone, tasks that stand still: refused, loud, or over, never silent."""

from collections.abc import Iterable

import rocksdict
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from schemas.headers import find
from streams.engine.liveness import EXIT_FAULT
from streams.engine.store import Store
from streams.groups import changelog
from tests.engine.lab import Got, Lab, Place, mixed_records
from tests.engine.toy import HANG, HUGE, POISON, TOPOLOGY

WRONG_USE = 2


async def test_what_breaks_a_step_becomes_a_dead_letter_and_its_neighbours_go_on(lab: Lab) -> None:
    """A record that makes the step raise, or write more than a topic takes, goes to the dead letters unchanged and changes no row."""
    await lab.write(mixed_records(60))
    await lab.write([("alpha", b"key-3", POISON), ("beta", b"key-4", POISON), ("alpha", b"key-3", POISON), ("control", b"key-1", HUGE)])
    await lab.write(mixed_records(60))
    with lab.running() as worker:
        await lab.drained(worker)
    reasons = {POISON: b"step_failed", HUGE: b"output_too_large"}
    rejected: list[tuple[bytes | None, bytes | None]] = []
    places: set[Place] = set()
    for topic in ("alpha", "beta", "control"):
        for letter in flat(await lab.read(f"{topic}.dlq")):
            assert find(letter.headers, "npo_topic") == topic.encode()
            assert find(letter.headers, "npo_group") == b"pair"
            assert find(letter.headers, "npo_reason") == reasons[letter.value or b""]
            places.add((topic, int(find(letter.headers, "npo_partition") or b""), int(find(letter.headers, "npo_offset") or b"")))
            rejected.append((letter.key, letter.value))
    assert sorted(rejected) == [(b"key-1", HUGE), (b"key-3", POISON), (b"key-3", POISON), (b"key-4", POISON)]
    await lab.check(rejected=frozenset(places))


async def test_headers_without_a_value_are_taken_and_refused_like_others(lab: Lab) -> None:
    """A header without a value, which Kafka allows, neither stops a task nor keeps a bad record from the dead letters."""
    async with AIOKafkaProducer(bootstrap_servers=lab.bootstrap) as producer:
        for value in (b"value", POISON):
            sent = await producer.send_and_wait(lab.on_broker("alpha"), value, b"key-3", headers=[("bare", None)])
            lab.ends[TopicPartition(sent.topic, sent.partition)] = sent.offset + 1
    with lab.running() as worker:
        await lab.drained(worker)
    (letter,) = flat(await lab.read("alpha.dlq"))
    assert (letter.value, find(letter.headers, "npo_reason")) == (POISON, b"step_failed")
    assert len(list(flat(await lab.read("out")))) == 1


async def test_state_without_positions_stops_the_worker(lab: Lab) -> None:
    """A group whose positions the broker has forgotten, while its state is there, ends loudly and takes nothing again."""
    async with AIOKafkaProducer(bootstrap_servers=lab.bootstrap) as producer:
        await producer.send_and_wait(changelog(lab.application, TOPOLOGY[0]), b"1", b"key-3", partition=0)
    await lab.write(mixed_records(60))
    worker = lab.start()
    assert worker.wait() == EXIT_FAULT
    assert "has forgotten them" in worker.said()
    assert list(flat(await lab.read("out"))) == []


def flat(records: dict[int, list[Got]]) -> Iterable[Got]:
    """The records of all partitions."""
    return (got for partition in records.values() for got in partition)


async def test_positions_that_the_log_no_longer_holds_stop_the_worker(lab: Lab) -> None:
    """Records deleted before they were taken end the worker with a non-zero code that says so; nothing is skipped."""
    await lab.write(mixed_records(60))
    with lab.running() as worker:
        await lab.drained(worker)
    committed = await lab.committed()
    await lab.write(mixed_records(60))
    gone = next(place for place, end in lab.ends.items() if end > committed[place])
    admin = AIOKafkaAdminClient(bootstrap_servers=lab.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({gone: RecordsToDelete(before_offset=lab.ends[gone])})
    finally:
        await admin.close()
    worker = lab.start()
    assert worker.wait() == EXIT_FAULT
    assert "PositionError" in worker.said()
    assert f"is at {committed[gone]} of {gone.topic}, partition {gone.partition}" in worker.said()
    assert await lab.committed() == committed


async def test_a_store_ahead_of_its_changelog_stops_the_worker(lab: Lab) -> None:
    """A local store that knows more than its changelog is not believed: the worker ends with a non-zero code."""
    await lab.write(mixed_records(60))
    with lab.running() as worker:
        await lab.drained(worker)
    (path,) = (lab.directory / "home").rglob("*-0.db")
    store = rocksdict.Rdict(str(path), rocksdict.Options(raw_mode=True))
    store[Store.offset_key] = b"1000000"
    store.close()
    worker = lab.start()
    assert worker.wait() == EXIT_FAULT
    assert "ConsistencyError" in worker.said()


async def test_a_task_that_stands_still_ends_the_process(lab: Lab) -> None:
    """A step that never returns blocks the event loop, and the process ends all the same, with a non-zero code."""
    await lab.write([("alpha", b"key", HANG)])
    worker = lab.start(NPO_STANDSTILL_S="2")
    assert worker.wait() == EXIT_FAULT
    assert "stands still" in worker.said()


async def test_a_worker_without_its_topics_says_so(lab: Lab) -> None:
    """Topics that do not exist, and groups that do not, end a worker before it joins, with the code for wrong use."""
    absent = lab.start(NPO_TOPIC_PREFIX="absent.")
    unknown = lab.start("nobody")
    assert absent.wait() == WRONG_USE
    assert "do not exist" in absent.said()
    assert unknown.wait() == WRONG_USE
    assert "no task group" in unknown.said()
