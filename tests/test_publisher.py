"""The read model: how records are cut and interleaved makes no difference; it survives the loss of Redis; it is alone in its prefix."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agents.deciding.decider import decide
from agents.step import Block, Context
from schemas import codecs, topics
from schemas.alignment import (
    Alarm,
    AlignmentEvent,
    ChallengerWindow,
    LossWindow,
    MonitorAction,
    MonitorDecision,
    OffPolicy,
    Rate,
    RetrainingResult,
    TeamSummary,
)
from schemas.codecs import HOUR_MS
from schemas.errors import StackError
from schemas.events import (
    Action,
    Answer,
    BudgetState,
    ClassHistory,
    Cleared,
    Command,
    Control,
    Decision,
    Heartbeat,
    Judgement,
    Life,
    Model,
    PolicyVerdict,
    Reason,
    Recommendation,
    Scenario,
    StandingAnswer,
    Status,
)
from schemas.identity import partition_of
from schemas.reference import structs
from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka, Valkey, start_valkey
from streams.groups import plan_topics
from streams.serving import publisher
from streams.serving.following import why_refused
from streams.serving.readmodel import HELD, LATEST, READ, SERIES, SERIES_MAX, Changes, Entry, clear
from streams.serving.tally import WHOLE_PAST, Tally, is_answerable
from streams.topology import TOPOLOGY
from tests.replay.simulation import SETTINGS

ACTION = Action("restart", 1, reversible=True)
RATE = Rate(0, 0, 0.0, 1.0)
PARTITIONS = 2
SCOPES = ("web", "db")
HELD_MAX = 3
FEW = dict.fromkeys(SERIES_MAX, 2)


def decision(name: str, scope: str, time_ms: int, status: Status) -> Decision:
    """A decision of which only name, scope, time and status matter."""
    verdict, budget = PolicyVerdict(allowed=True, rules=(), facts={}), BudgetState(0.0, 0.0, 0)
    return Decision(
        name, name, scope, "e", "c", time_ms, time_ms, status, Reason.PASSED, 0.9, 0.0, 0.0, 0.0, 0.0, "posterior", None, 0.8, 0.5, {}, {},
        ClassHistory(), verdict, budget, {}, ACTION, (), {}, {}, 0,
    )  # fmt: skip


def scenario(name: str, scope: str, time_ms: int) -> Scenario:
    """A scenario of which only name, scope and time matter."""
    return Scenario(f"s{name}", scope, "e", time_ms, "c", 1.0, (), ACTION, {}, {}, time_ms, {}, [], 0, 0, ())


def recommendation(name: str, scope: str, life: Life, time_ms: int, *kinds: Answer, late: bool = False) -> Recommendation:
    """A recommendation at one moment of its life, with one standing answer of each kind."""
    answers = tuple(StandingAnswer(f"operator-{index}", kind, 1, time_ms) for index, kind in enumerate(kinds))
    return Recommendation(
        id=name,
        life=life,
        scope=scope,
        entity="e",
        scenario_class="c",
        time_ms=time_ms,
        scenario_ms=900,
        opened_ms=1_000,
        deadline_ms=9_000,
        summary="s",
        action=ACTION,
        symptoms=(),
        confidence=0.9,
        threshold=0.8,
        repeats=0,
        peers_alike=0,
        answers=answers,
        positions={},
        late=late,
    )


def judgement(name: str, scope: str, revision: int, time_ms: int) -> Judgement:
    """A judgement of which only name, scope, revision and time matter."""
    return Judgement(
        name, revision, scope, "e", "c", time_ms, time_ms, Status.SURFACED, "answer", {}, "m", 0.0, 0.9, 0.5, None, 0.0, (), {}
    )  # fmt: skip


def window(scope: str, number: int, time_ms: int) -> LossWindow:
    """A loss window of which only scope, number and time matter."""
    return LossWindow(
        f"w{number}", scope, time_ms, number, 1, 1, 0, 0, {}, RATE, RATE, 0.5, 0.1, 0.9, None, None, None, None, None, 0.0, {}
    )  # fmt: skip


def retrained(name: str, scope: str, time_ms: int, *, adopted: bool) -> RetrainingResult:
    """A result of retraining of which only name, scope, time and status matter."""
    evaluation = OffPolicy(200, 150.0, 0.0, 0.4, 0.3, 0.1, 0.02)
    return RetrainingResult(name, "c", scope, time_ms, 1, "adopted" if adopted else "refused", "r", "initial", evaluation, None, {})


def monitored(scope: str, number: int, time_ms: int) -> MonitorDecision:
    """A decision of the meta-monitor of which only scope, window and time matter."""
    return MonitorDecision(f"m{number}", scope, time_ms, number, "never", MonitorAction.WAIT, 0.0, 1.0, None, "m", None, "r", None, {})


def challenged(scope: str, number: int, time_ms: int) -> ChallengerWindow:
    """A window of models of which only scope, window and time matter."""
    return ChallengerWindow(f"c{number}", scope, time_ms, number, 0, 0, 0, "m", None, 0.0, None, {}, None, 0, {})


@st.composite
def logs(draw: st.DrawFn) -> dict[str, list[Any]]:
    """A log by topic: lives of decisions in two scopes, more than are held."""
    log: dict[str, list[Any]] = {topic: [] for topic in (*READ,)}
    lives = draw(st.lists(st.tuples(st.sampled_from(SCOPES), st.sampled_from(Status)), min_size=1, max_size=12))
    steps = st.sampled_from([(Life.UPDATED, ()), (Life.ANSWERED, (Answer.LIKE,)), (Life.ANSWERED, (Answer.OVERRIDE, Answer.LIKE)),
                             (Life.ANSWERED, (Answer.NEUTRAL,)), (Life.ANSWERED, ()), (Life.CLEARED, ()), (Life.EXPIRED, ())])  # fmt: skip
    for number, (scope, status) in enumerate(lives):
        name, time_ms = f"d{number}", 1_000 + number
        log["scenario"] += [scenario(name, scope, time_ms), Heartbeat(f"h{number}", scope, time_ms + draw(st.integers(0, 9)), 1, 0, 0, 1)]
        log["decision"].append(decision(name, scope, time_ms, status))
        log["judgement"].append(judgement(name, scope, 1, time_ms))
        if status is Status.SURFACED:
            log["recommendation"].append(recommendation(name, scope, Life.OPENED, time_ms))
        surfaced = [(event.id, event.scope) for event in log["recommendation"] if event.life is Life.OPENED]
        if surfaced:
            (old, its_scope), (life, kinds) = draw(st.sampled_from(surfaced)), draw(steps)
            # Once closed, a recommendation is answered late or not at all.
            closed = any(event.late or event.life is Life.EXPIRED for event in log["recommendation"] if event.id == old)
            late = closed or draw(st.integers(0, 9)) == 0
            log["recommendation"].append(recommendation(old, its_scope, Life.ANSWERED if late else life, time_ms, *kinds, late=late))
            log["judgement"].append(judgement(old, its_scope, 2 + number, time_ms))
        log["alignment"].append(window(scope, draw(st.integers(-1, 2)), time_ms))
        log["alignment"] += [monitored(scope, number, time_ms), challenged(scope, number, time_ms)][: draw(st.integers(0, 2))]
        log["alignment"].append(Alarm(f"a{number}", scope, time_ms, "budget", draw(st.booleans()), "d", {}))
        log["retraining-result"].append(retrained(f"r{number}", scope, time_ms, adopted=draw(st.booleans())))
        log["control"].append(Control(draw(st.sampled_from(Command)), time_ms, "me", draw(st.sampled_from((None, *SCOPES))), "eve"))
    return log


def entries(log: dict[str, list[Any]]) -> dict[str, list[Entry]]:
    """The records of a log, by topic in their order."""
    return {
        topic: [
            Entry(topic, partition_of((event.scope or "web").encode(), PARTITIONS), offset, codecs.encode(event), event)
            for offset, event in enumerate(events)
        ]
        for topic, events in log.items()
    }


async def contents(redis: Redis, prefix: str) -> dict[bytes, Any]:
    """All that Redis holds under a prefix, positions apart."""
    held: dict[bytes, Any] = {}
    async for key in redis.scan_iter(match=f"{prefix}:*"):
        kind = await redis.type(key)
        if kind == b"zset":
            held[key.removeprefix(prefix.encode())] = await redis.zrange(key, 0, -1, withscores=True)
        else:
            held[key.removeprefix(prefix.encode())] = await (redis.hgetall(key) if kind == b"hash" else redis.get(key))
    held.pop(b":positions", None)
    return held


async def fold(redis: Redis, prefix: str, batches: list[list[Entry]]) -> dict[bytes, Any]:
    """Fold batches as the publisher does, and return what Redis then holds."""
    await clear(redis, prefix)
    for batch in batches:
        changes = Changes(prefix, HELD_MAX, FEW)
        await changes.read(redis, batch)
        for entry in batch:
            changes.fold(entry)
        async with redis.pipeline(transaction=True) as pipe:
            changes.write(pipe)
            await pipe.execute()
    return await contents(redis, prefix)


@given(log=logs(), data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_model_is_blind_to_batches_and_interleaving(valkey: Valkey, log: dict[str, list[Any]], data: st.DataObject) -> None:
    """However the records of the topics are interleaved and cut into batches, Redis ends with the same contents."""
    by_topic = entries(log)
    order = data.draw(st.permutations([topic for topic, records in by_topic.items() for _ in records]))
    waiting = {topic: iter(records) for topic, records in by_topic.items()}
    mixed = [next(waiting[topic]) for topic in order]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(mixed)), max_size=8)) | {0, len(mixed)})
    batches = [mixed[start:end] for start, end in pairwise(cuts)]
    one_by_one = [[entry] for records in by_topic.values() for entry in records]

    async def both() -> tuple[dict[bytes, Any], dict[bytes, Any]]:
        async with Redis.from_url(valkey.url) as redis:
            return await fold(redis, "mixed", batches), await fold(redis, "single", one_by_one)

    left, right = asyncio.run(both())
    assert left == right
    for kind in ("decision", "recommendation", "scenario", "judgement"):
        by_scope = [{name for name, _ in right.get(f":{kind}s:{scope}".encode(), ())} for scope in SCOPES]
        assert all(len(names) <= HELD_MAX for names in by_scope)
        strings = {key.removeprefix(f":{kind}:".encode()) for key in right if key.startswith(f":{kind}:".encode())}
        assert strings == set().union(*by_scope), "what has dropped out leaves nothing behind"
    for scope in SCOPES:
        for kind_of, series in SERIES.items():
            events: list[Any] = [event for topic in ("alignment", "retraining-result") for event in log[topic] if type(event) is kind_of]
            closed = [codecs.encode(event) for event in events if event.scope == scope and event.window != WHOLE_PAST]
            assert [value for value, _ in right.get(f":{series}:{scope}".encode(), [])] == closed[-FEW[series] :], series
        times = [event.time_ms for topic in READ for event in log[topic] if topic != "control" and event.scope == scope]
        assert dict(right[b":clock"]).get(scope.encode()) == max(times, default=None)
        assert {name for name, _ in right.get(f":open:{scope}".encode(), ())} <= {
            name for name, _ in right.get(f":recommendations:{scope}".encode(), ())
        }


@given(log=logs())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_model_counts_what_the_tally_counts(valkey: Valkey, log: dict[str, list[Any]]) -> None:
    """While nothing has dropped out, Redis has the counts and open recommendations of the tally in memory, and those that have cleared."""
    log = {topic: [event for event in events if getattr(event, "scope", None) == "web"] for topic, events in log.items()}
    if sum(event.life is Life.OPENED for event in log["recommendation"]) > HELD_MAX:
        log["recommendation"] = []
    tally = Tally()
    for topic, events in log.items():
        for event in events:
            tally.add(topic, event)

    async def folded() -> dict[bytes, Any]:
        async with Redis.from_url(valkey.url) as redis:
            return await fold(redis, "counted", [[entry] for records in entries(log).values() for entry in records])

    held = asyncio.run(folded())
    counts = {name.decode(): int(value) for name, value in held.get(b":scope:web", {}).items() if value.lstrip(b"-").isdigit()}
    web = tally.scopes.get("web")
    wanted = {} if web is None else {name: count for name, count in (web.decisions + web.answers).items() if count}
    assert {name: count for name, count in counts.items() if count} == wanted
    assert {name.decode() for name, _ in held.get(b":open:web", [])} == (set() if web is None else set(web.open))
    latest = {event.id: event for event in log["recommendation"]}
    cleared = {name for name, event in latest.items() if event.life is Life.CLEARED and is_answerable(event)}
    assert {name.decode() for name, _ in held.get(b":cleared:web", [])} == cleared


def test_read_model_holds_every_kind_of_event() -> None:
    """Each kind of event of each topic that the read model reads has its place there: none is dropped, none breaks the publisher."""
    kinds = {kind for topic in READ for kind in structs(codecs.TYPES[topic])}
    assert kinds == {*LATEST, *HELD, Cleared, Heartbeat, Control, LossWindow, TeamSummary, Alarm}
    assert set(SERIES) <= kinds
    assert SERIES_MAX.keys() == set(SERIES.values())
    assert set(structs(AlignmentEvent)) <= kinds


scopes = st.sampled_from((*SCOPES, "a\x1fb"))
times_ms = st.sampled_from([hours * HOUR_MS for hours in range(4)])
written_by_people = st.one_of(
    st.builds(Control, st.sampled_from(Command), times_ms, st.just("me"), scopes, st.sampled_from(("eve", "", "e\x1fve"))),
    st.builds(Control, st.sampled_from(Command), times_ms, st.just("me"), st.none(), st.sampled_from(("eve", ""))),
    st.builds(Model, st.just("m"), scopes, times_ms, st.just(0.0), st.just({})),
)


@given(written_by_people, st.sampled_from((None, b"", b"web", b"db", b"a\x1fb", b"*|kill|")), st.integers(0, 1), st.integers(0, 3))
def test_read_model_leaves_out_what_tasks_refuse(event: Control | Model, key: bytes | None, partition: int, hours: int) -> None:
    """A command or model is left out if and only if the tasks that read it refuse it: by its names, partition, key or time."""
    topic = "control" if isinstance(event, Control) else "model"
    block = Block(topic, partition, [0], [hours * HOUR_MS + 1], [key], [codecs.encode(event)], [()])
    outputs = decide({}, block, Context(SETTINGS, {}, PARTITIONS)).outputs
    refused = any(output.topic == topics.dead_letter(topic) for output in outputs)
    record = SimpleNamespace(key=key, partition=partition, timestamp=block.timestamps_ms[0])
    assert (why_refused(topic, event, record, PARTITIONS) is not None) == refused


def sample_log() -> list[tuple[str, Any]]:
    """A short log of one scope and of all."""
    return [
        ("scenario", scenario("d1", "web", 1_000)),
        ("decision", decision("d1", "web", 1_000, Status.SURFACED)),
        ("recommendation", recommendation("d1", "web", Life.OPENED, 1_000)),
        ("decision", decision("d2", "web", 2_000, Status.SURFACED)),
        ("recommendation", recommendation("d2", "web", Life.OPENED, 2_000)),
        ("decision", decision("d3", "db", 2_500, Status.WITHHELD)),
        ("alignment", window("web", 0, 2_600)),
        ("control", Control(Command.FREEZE, 2_700, "me", "web")),
        ("recommendation", recommendation("d1", "web", Life.ANSWERED, 3_000, Answer.OVERRIDE)),
        ("judgement", judgement("d1", "web", 1, 3_100)),
        ("decision", decision("d4", "web", 3_200, Status.BLOCKED)),
        ("recommendation", recommendation("d2", "web", Life.EXPIRED, 4_000)),
    ]


@asynccontextmanager
async def publishing(deployment: Deployment) -> AsyncIterator[asyncio.Task[None]]:
    """A publisher that runs until the block ends, or fails the test with what made it end."""
    task = asyncio.create_task(publisher.publish(deployment))
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def make_topics(kafka: Kafka, redis_url: str, name: str) -> Deployment:
    """A deployment whose topics exist."""
    deployment = Deployment(broker=kafka.bootstrap, redis=redis_url, topic_prefix=f"{name}.", application=name, partitions=PARTITIONS)
    await admin.ensure(deployment, plan_topics(TOPOLOGY, PARTITIONS, application=name, prefix=f"{name}.", keep=True))
    return deployment


async def send(deployment: Deployment, log: list[tuple[str, Any]]) -> None:
    """Write events as the pipeline does, in a transaction; after one that is aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, transactional_id=deployment.application)
    await producer.start()
    try:
        await producer.begin_transaction()
        await write(producer, deployment, [("decision", decision("aborted", "web", 9_000, Status.SURFACED))])
        await producer.abort_transaction()
        async with producer.transaction():
            await write(producer, deployment, log)
    finally:
        await producer.stop()


async def write(producer: AIOKafkaProducer, deployment: Deployment, log: list[tuple[str, Any]]) -> None:
    """Write events to the partitions of their scopes."""
    for topic, event in log:
        key = event.scope.encode()
        physical = topics.physical(topic, deployment.topic_prefix)
        await producer.send_and_wait(physical, codecs.encode(event), key, partition=partition_of(key, PARTITIONS))


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - another process changes what it reads
            await asyncio.sleep(0.05)


def complete(redis: Redis, name: str) -> Callable[[], Awaitable[bool]]:
    """Tell whether the read model holds the last events of the sample log."""

    async def is_complete() -> bool:
        try:
            skipped = await redis.hget(f"{name}:scope:web", "skipped")
            blocked = await redis.hget(f"{name}:scope:web", "blocked")
            return [skipped, blocked, await redis.exists(f"{name}:judgement:d1", f"{name}:control")] == [b"1", b"1", 2]
        except RedisError:
            return False

    return is_complete


async def test_lost_redis_comes_back_complete(kafka: Kafka, tmp_path: Path, unique_name: str) -> None:
    """Redis is killed, records come meanwhile, an empty Redis starts: the read model ends as one that was rebuilt in peace."""
    valkey = start_valkey(tmp_path)
    deployment = await make_topics(kafka, valkey.url, unique_name)
    async with Redis.from_url(valkey.url) as redis, publishing(deployment):
        await send(deployment, sample_log()[:7])
        await until(lambda: redis.exists(f"{unique_name}:scope:web"))
        valkey.kill()
        await send(deployment, sample_log()[7:])
        with start_valkey(tmp_path, valkey.port):
            await until(complete(redis, unique_name))
            kept_up = await contents(redis, unique_name)
            rebuilt_name = f"{unique_name}-rebuilt"
            async with publishing(deployment.model_copy(update={"application": rebuilt_name})):
                await until(complete(redis, rebuilt_name))
            assert await contents(redis, rebuilt_name) == kept_up
            assert b":decision:aborted" not in kept_up
            assert b":open:web" not in kept_up, "one is answered, the other has expired"


async def test_publisher_goes_on_where_redis_stands(kafka: Kafka, valkey: Valkey, unique_name: str) -> None:
    """A publisher that starts again counts nothing twice and removes nothing, whatever else is in Redis."""
    deployment = await make_topics(kafka, valkey.url, unique_name)
    async with Redis.from_url(valkey.url) as redis:
        await redis.set(f"{unique_name}x:other", "kept")
        async with publishing(deployment):
            await send(deployment, sample_log()[:7])
            await until(lambda: redis.exists(f"{unique_name}:scope:web"))
        await redis.set(f"{unique_name}:sentinel", "a rebuild removes it")
        async with publishing(deployment):
            await send(deployment, sample_log()[7:])
            await until(complete(redis, unique_name))
        held = await contents(redis, unique_name)
        assert held.pop(b":sentinel") == b"a rebuild removes it"
        assert (held[b":scope:web"][b"surfaced"], held[b":scope:web"][b"overridden"]) == (b"2", b"1")
        assert [name for name, _ in held[b":clock"]] == [b"db", b"web"]


async def test_a_cancellation_that_a_client_swallows_ends_the_publisher(
    kafka: Kafka, valkey: Valkey, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that is cancelled ends, also where the client it was waiting for does not pass the cancellation on."""
    deployment = await make_topics(kafka, valkey.url, unique_name)
    wait = AIOKafkaConsumer.getmany

    async def swallowing(consumer: AIOKafkaConsumer, **settings: Any) -> Any:  # noqa: ANN401 - the client's own
        with suppress(asyncio.CancelledError):
            return await wait(consumer, **settings)
        return {}

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", swallowing)
    task = asyncio.create_task(publisher.publish(deployment))
    async with Redis.from_url(valkey.url) as redis:
        await until(lambda: redis.exists(f"{unique_name}:positions"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


@pytest.mark.parametrize(
    ("field", "value"), [("cluster", "another"), ("version", "0"), ("decision:0", "1000000"), ("decision:99", "0"), (None, None)]
)
async def test_foreign_read_model_is_rebuilt(kafka: Kafka, valkey: Valkey, unique_name: str, field: str | None, value: str) -> None:
    """Positions of another cluster, version or log, or none, remove the read model, only it, and rebuild it from the beginning."""
    deployment = await make_topics(kafka, valkey.url, unique_name)
    positions = f"{unique_name}:positions"
    async with Redis.from_url(valkey.url) as redis:
        await redis.set(f"{unique_name}x:other", "kept")
        await send(deployment, sample_log())
        async with publishing(deployment):
            await until(complete(redis, unique_name))
        before = await contents(redis, unique_name)
        await redis.set(f"{unique_name}:sentinel", "a rebuild removes it")
        await (redis.delete(positions) if field is None else redis.hset(positions, field, value))
        await redis.hset(f"{unique_name}:scope:web", "surfaced", 77)
        async with publishing(deployment):
            await until(lambda: gone(redis, f"{unique_name}:sentinel"))
            await until(complete(redis, unique_name))
        assert await contents(redis, unique_name) == before
        assert await redis.get(f"{unique_name}x:other") == b"kept"


async def gone(redis: Redis, key: str) -> bool:
    """Tell whether a key does not exist."""
    return not await redis.exists(key)


async def test_two_publishers_count_once(kafka: Kafka, valkey: Valkey, unique_name: str) -> None:
    """Two publishers of one deployment by mistake: each batch is still counted once."""
    deployment = await make_topics(kafka, valkey.url, unique_name)
    async with Redis.from_url(valkey.url) as redis, publishing(deployment), publishing(deployment):
        for event in sample_log():
            await send(deployment, [event])
        await until(complete(redis, unique_name))
        held = await contents(redis, unique_name)
    assert (held[b":scope:web"][b"surfaced"], held[b":scope:web"][b"override"]) == (b"2", b"1")


async def test_publisher_without_redis_says_what_to_do(kafka: Kafka) -> None:
    """Without an address of Redis the publisher ends with an error that names the remedy."""
    with pytest.raises(StackError, match="NPO_REDIS"):
        await publisher.publish(Deployment(broker=kafka.bootstrap, redis=None))
