"""The API's writes, on a real broker: what is accepted is on the log, once, and what cannot be is refused with nothing written."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from typing import Any

import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace
from redis import Redis

from agents.step import Block
from schemas import topics
from schemas.codecs import HOUR_MS, decode
from schemas.events import Feedback, Life, Outcome, Sample, Status
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.embedded import Kafka, Valkey
from streams.logs.reading import bounds, open_reader, read_blocks
from tests.console.serving import Reply, call, decided, example, opened, published, served, surfaced, until, write
from tests.deciding_worker import deciding, send_scenarios, unusual

START_MS = 1_000_000
NAMES = map("r{}".format, count())
CLICKS = 12
HALF = 0.5


def records(deployment: Deployment, topic: str) -> list[tuple[Block, int, Any]]:
    """Every committed record of a topic: its block, its place there, its event."""

    async def read() -> list[tuple[Block, int, Any]]:
        found = []
        async with open_reader(deployment) as reader:
            for partition in range(deployment.partitions):
                place = TopicPartition(topics.physical(topic, deployment.topic_prefix), partition)
                held = (await bounds(reader, [place]))[place]
                async for block in read_blocks(reader, topic, place, held.first, held.end):
                    found += [(block, index, decode(topic, value)) for index, value in enumerate(block.values)]
        return found

    return asyncio.run(read())


def answers(deployment: Deployment, name: str) -> list[Feedback]:
    """The answers to a decision that are on the log."""
    return [event for *_, event in records(deployment, "feedback") if event.decision == name]


def show(deployment: Deployment, scope: str = "web") -> str:
    """Surface a recommendation, and return its id once consumers can see it; whether the read model has it is left open."""
    name = next(NAMES)
    write(deployment, surfaced(name, scope, START_MS))
    until(lambda: any(event.id == name for *_, event in records(deployment, "recommendation")))
    return name


def give(console: str, name: str, **body: object) -> Reply:
    """Answer a recommendation; again, where the read model is too far behind to tell."""
    while (reply := call(console, "POST", f"/api/v1/decisions/{name}/answers", body)).body.get("type") == "urn:npo:read_model_behind":
        pass
    return reply


def test_an_accepted_answer_is_on_the_log(console: str, deployment: Deployment) -> None:
    """At once after it was shown an answer is taken, and stands where the reply says, with the scope's key, time and all that was said."""
    name = show(deployment)
    said = {"kind": "override", "operator": "ana", "reason": "noise", "note": "again", "counter_proposal": "drain", "team": "night"}
    reply = give(console, name, **said)
    assert reply.status == 201
    (found,) = [
        (block.keys[index], block.partition, block.offsets[index], event)
        for block, index, event in records(deployment, "feedback")
        if event.decision == name
    ]
    key, partition, offset, event = found
    assert (key, partition) == (b"web", partition_of(b"web", deployment.partitions))
    assert event == Feedback(name, "ana", "override", START_MS, 1, "night", "noise", "again", "drain")  # type: ignore[arg-type]
    assert reply.body == {
        "decision": name, "operator": "ana", "kind": "override", "revision": 1, "time_ms": START_MS,
        "topic": "feedback", "partition": partition, "offset": offset, "closed": False,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_written_once_however_often_it_is_sent(console: str, deployment: Deployment, seed: int) -> None:
    """Retries, with a revision or without, get the first reply again; each change of mind is the operator's next revision; no other is."""
    drawn = Random(seed)  # noqa: S311 - a case, no secret
    name, said = show(deployment), dict[str, list[tuple[str, str | None]]]()
    for _ in range(10):
        operator, kind, reason = drawn.choice(["ana", "ben"]), drawn.choice(["like", "override", "retract"]), drawn.choice([None, "noise"])
        own = said.setdefault(operator, [])
        news = own[-1:] != [(kind, reason)]
        revision = {"revision": len(own) + news} if drawn.random() < HALF else {}
        own += [(kind, reason)] * news
        first = give(console, name, kind=kind, operator=operator, reason=reason, **revision)
        assert (first.status, first.body["revision"]) == (201 if news else 200, len(own))
        if drawn.random() < HALF:
            second = give(console, name, kind=kind, operator=operator, reason=reason, **revision)
            assert (second.status, second.body) == (200, first.body)
    logged = answers(deployment, name)
    for operator, own in said.items():
        assert [(each.kind, each.reason) for each in logged if each.operator == operator] == own
        assert [each.revision for each in logged if each.operator == operator] == list(range(1, len(own) + 1))


@pytest.mark.parametrize("revision", [{}, {"revision": 1}], ids=["without", "with"])
def test_many_clicks_at_once_are_one_answer(console: str, deployment: Deployment, revision: dict[str, int]) -> None:
    """Of equal answers that come at the same time one is written, and all are told the same place; two operators get one each."""
    name = show(deployment)

    def click(number: int) -> Reply:
        return give(console, name, kind="like", operator=("ana", "ben")[number % 2], **revision)

    with ThreadPoolExecutor(CLICKS) as pool:
        replies = list(pool.map(click, range(CLICKS)))
    assert sorted(reply.status for reply in replies) == [200] * (CLICKS - 2) + [201] * 2
    assert len({reply.body["offset"] for reply in replies}) == 2
    assert sorted((each.operator, each.revision) for each in answers(deployment, name)) == [("ana", 1), ("ben", 1)]


def test_another_console_knows_what_was_said(console: str, deployment: Deployment) -> None:
    """What one console has written, or anybody, another one knows: also one that starts later, and one that had looked before."""
    name, early = show(deployment), show(deployment)
    with served(deployment) as other:
        assert give(other, early, kind="like", operator="ana").status == 201
        first = give(console, name, kind="like", operator="ana")
        assert (give(other, name, kind="like", operator="ana", revision=1).status, first.status) == (200, 201)
        assert give(other, name, kind="override", operator="ana").body["revision"] == 2
        assert give(console, name, kind="override", operator="ana").status == 200
        assert give(console, early, kind="like", operator="ana").status == 200
    assert [each.revision for each in answers(deployment, name)] == [1, 2]


def test_a_revision_says_one_thing(console: str, deployment: Deployment) -> None:
    """A revision that is on the log with another content, or is older than the latest, is refused, and nothing is written."""
    name = show(deployment)
    for revision, kind in ((1, "like"), (4, "override")):
        assert give(console, name, kind=kind, operator="ana", revision=revision).status == 201
    for body in ({"kind": "like", "revision": 4}, {"kind": "override", "revision": 4, "note": "x"}, {"kind": "neutral", "revision": 3}):
        refused = give(console, name, operator="ana", **body)
        assert (refused.status, refused.body["type"]) == (409, "urn:npo:contradiction")
        assert "revision 5" in refused.body["detail"]
    assert give(console, name, kind="like", operator="ana", revision=1).status == 200
    assert [each.revision for each in answers(deployment, name)] == [1, 4]


def test_only_what_was_shown_is_answered(console: str, deployment: Deployment) -> None:
    """A decision that nobody holds is unknown, one that was not surfaced says so, and what is closed is taken and told to be closed."""
    withheld, expired, judged = (next(NAMES) for _ in range(3))
    late = opened(expired, "web", START_MS, life=Life.EXPIRED)
    closed = ("judgement", replace(example("judgement", "answer"), decision=judged, scope="web", revision=1))
    write(deployment, [("decision", decided(withheld, "web", START_MS, Status.WITHHELD)), *surfaced(expired, "web", START_MS)])
    write(deployment, [("recommendation", late), *surfaced(judged, "web", START_MS), closed])
    for name, status, kind in (("nobody's", 404, "urn:npo:unknown_decision"), (withheld, 409, "urn:npo:not_surfaced")):
        refused = give(console, name, kind="like", operator="ana")
        assert (refused.status, refused.body["type"], refused.headers["Content-Type"]) == (status, kind, "application/problem+json")
        assert answers(deployment, name) == []
    until(lambda: call(console, "GET", f"/api/v1/recommendations/{expired}").body["life"] == "expired")
    assert give(console, expired, kind="like", operator="ana").body["closed"]
    with Redis.from_url(str(deployment.redis)) as redis:
        until(lambda: redis.exists(f"{deployment.application}:judgement:{judged}"))
    assert give(console, judged, kind="like", operator="ana").body["closed"]


def test_what_the_read_model_has_dropped_is_looked_up(console: str, deployment: Deployment) -> None:
    """A recommendation whose decision is held no longer is answered with the right revision."""
    name = next(NAMES)
    surfaced_then = replace(opened(name, "web", START_MS), positions={"feedback": 0})
    write(deployment, [("decision", decided(name, "web", START_MS, Status.SURFACED)), ("recommendation", surfaced_then)])
    until(lambda: call(console, "GET", f"/api/v1/decisions/{name}").status == 200)
    assert give(console, name, kind="like", operator="ana").status == 201
    with Redis.from_url(str(deployment.redis)) as redis:
        assert redis.delete(f"{deployment.application}:decision:{name}") == 1
    with served(deployment) as fresh:
        assert give(fresh, name, kind="override", operator="ana").body["revision"] == 2


def test_the_time_of_an_answer_is_the_scopes(console: str, deployment: Deployment) -> None:
    """An answer bears the scope's event time, which another scope's does not touch."""
    first = show(deployment, "db")
    later = decided(next(NAMES), "db", START_MS + HOUR_MS, Status.WITHHELD)
    write(deployment, [("decision", later), ("decision", decided(next(NAMES), "web", START_MS + 9 * HOUR_MS, Status.WITHHELD))])
    until(lambda: call(console, "GET", f"/api/v1/decisions/{later.id}").status == 200)
    assert give(console, first, kind="like", operator="ana").body["time_ms"] == START_MS + HOUR_MS


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "like"}, {"kind": "like", "operator": ""}, {"kind": "like", "operator": "outcome:x"},
        {"kind": "like", "operator": "(others)"},
        {"kind": "like", "operator": "a\x1fb"}, {"kind": "dislike", "operator": "ana"}, {"kind": "like", "operator": "ana", "revision": 0},
        {"kind": "like", "operator": "ana", "note": "x" * 4001}, {"kind": "like", "operator": "ana", "more": 1}, [], None,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(console: str, deployment: Deployment, body: object) -> None:
    """What the pipeline would not take is a problem of the request, and nothing is written."""
    name = show(deployment)
    refused = call(console, "POST", f"/api/v1/decisions/{name}/answers", body, content=b"null" if body is None else None)
    assert refused.status == 400
    assert refused.body["detail"]
    assert answers(deployment, name) == []


def test_without_a_read_model_nothing_is_written(deployment: Deployment) -> None:
    """While Redis is away an answer is refused for now; telemetry and outcomes, which do not need it, are taken."""
    name = show(deployment)
    sample = {"entity": "web-1", "time_ms": START_MS, "metrics": {"cpu": 1.0}}
    with served(deployment.model_copy(update={"redis": "redis://127.0.0.1:1/0"})) as console:
        assert give(console, name, kind="like", operator="ana").status == 503
        assert call(console, "POST", "/api/v1/telemetry", {"samples": [sample]}).status == 201
    assert answers(deployment, name) == []


def test_outcomes_are_on_the_log(console: str, deployment: Deployment) -> None:
    """An outcome stands where the reply says, under its scope; one that the tasks would refuse is refused, and not written."""
    said = {"scope": "db", "entity": "db-1", "start_ms": 5, "end_ms": 9, "verdict": "incident", "time_ms": 10, "source": "tickets"}
    reply = call(console, "POST", "/api/v1/outcomes", said)
    assert reply.status == 201
    far_ms = 7_000_000_000_000
    for wrong in ({"end_ms": 5}, {"time_ms": far_ms}, {"scope": "d\x1fb"}, {"verdict": "perhaps"}, {"scope": ""}):
        assert call(console, "POST", "/api/v1/outcomes", said | wrong).status == 400
    ((block, index, event),) = records(deployment, "outcome")
    assert event == Outcome("db-1", 5, 9, "incident", 10, "tickets")  # type: ignore[arg-type]
    assert (block.keys[index], reply.body) == (b"db", {"topic": "outcome", "partition": block.partition, "offset": block.offsets[index]})


@pytest.mark.parametrize("seed", range(3))
def test_samples_keep_their_order_in_the_partition_of_their_entity(console: str, deployment: Deployment, seed: int) -> None:
    """Samples are appended whole, each entity's in the order given, and the reply tells the end of each partition that got some."""
    drawn = Random(seed)  # noqa: S311 - a case, no secret
    sent = [Sample(drawn.choice("abc"), drawn.randrange(10**12), {drawn.choice("xy"): drawn.random()}) for _ in range(10**seed)]
    before = records(deployment, "telemetry")
    reply = call(console, "POST", "/api/v1/telemetry", {"samples": sent})
    assert (reply.status, reply.body["samples"]) == (201, len(sent))
    after = records(deployment, "telemetry")
    ends = {f"telemetry:{block.partition}": block.offsets[index] + 1 for block, index, _ in after}
    assert len(after) == len(before) + len(sent)
    assert reply.body["positions"].items() <= ends.items()
    for partition in range(deployment.partitions):
        held, earlier = (
            [(block.keys[index], event) for block, index, event in some if block.partition == partition] for some in (after, before)
        )
        of_here = [each for each in sent if partition_of(each.entity.encode(), deployment.partitions) == partition]
        assert held[len(earlier) :] == [(each.entity.encode(), each) for each in of_here]


def test_samples_are_taken_together_or_not_at_all(console: str, deployment: Deployment) -> None:
    """One sample that the tasks would refuse, or none at all, and nothing of the request is written."""
    before = len(records(deployment, "telemetry"))
    good = {"entity": "web-1", "time_ms": START_MS, "metrics": {"cpu": 1.0}}
    for wrong in ({"time_ms": 7_000_000_000_000}, {"entity": "a\x1fb"}, {"metrics": {"cpu": 1e200}}, {"scope": ""}):
        assert call(console, "POST", "/api/v1/telemetry", {"samples": [good, good | wrong]}).status == 400
    assert call(console, "POST", "/api/v1/telemetry", {"samples": []}).status == 400
    assert len(records(deployment, "telemetry")) == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"command": "kill"}, "who says so"), ({"command": "revoke", "operator": "ana"}, "of nobody"),
        ({"command": "reopen", "operator": "ana"}, "without a reason"), ({"command": "stop", "operator": "ana"}, "stop"),
        ({"command": "kill", "operator": "ana", "scope": "a\x1fb"}, "U+001F"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused(console: str, deployment: Deployment, body: object, said: str) -> None:
    """A command that the tasks would refuse is a problem of the request, and nothing is written."""
    before = len(records(deployment, "control"))
    refused = call(console, "POST", "/api/v1/control", body)
    assert (refused.status, said in refused.body["detail"]) == (400, True)
    assert len(records(deployment, "control")) == before


@pytest.fixture(scope="module")
def loop(kafka: Kafka, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Deployment]]:
    """A console over a deployment whose deciding worker runs, and its deployment."""
    home = tmp_path_factory.mktemp("loop")
    with (
        deciding(kafka, "test-writes-loop", home, redis=valkey.url, console_port=0) as deployment,
        published(deployment),
        served(deployment) as address,
    ):
        yield address, deployment


def test_the_pipeline_takes_what_was_accepted(loop: tuple[str, Deployment]) -> None:
    """An accepted answer comes back as the recommendation's, by its position; a command is in force when the reply says so."""
    console, deployment = loop
    asyncio.run(send_scenarios(deployment, [unusual(0)]))
    until(lambda: call(console, "GET", "/api/v1/recommendations?scope=shop").body.get("recommendations"))
    (shown,) = call(console, "GET", "/api/v1/recommendations?scope=shop").body["recommendations"]
    accepted = give(console, shown["id"], kind="override", operator="ana").body
    path = f"/api/v1/recommendations/{shown['id']}"
    until(lambda: call(console, "GET", path).body["positions"].get("feedback") == accepted["offset"] + 1)
    assert [each["kind"] for each in call(console, "GET", path).body["answers"]] == ["override"]
    killed = call(console, "POST", "/api/v1/control", {"command": "kill", "scope": "shop", "operator": "ana", "reason": "drill"})
    assert (killed.status, killed.body["in_force"], killed.body["control"]["by"]) == (200, True, "ana")
    assert "in force after" in killed.body["says"]
    asyncio.run(send_scenarios(deployment, [unusual(1)]))
    until(lambda: call(console, "GET", "/api/v1/decisions?scope=shop&status=blocked").body["decisions"])
