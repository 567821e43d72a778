"""The operators' process against a real broker."""

import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from experiments.operators import Behaviour, answers
from experiments.world import SCOPE, World, entity_name, events
from schemas.codecs import decode, encode
from schemas.events import Action, Feedback, Life, Recommendation
from schemas.settings import DEPLOY, Catalogue, Deployment, read_yaml
from schemas.topics import FEEDBACK, OUTCOME, RECOMMENDATION, physical
from streams import admin
from streams.embedded import Kafka, start_child
from streams.groups import TopicPlan
from streams.stack import environment

HOUR_MS = 3_600_000
WORLD = World(seed=4, busy_h=12)
CATALOGUE = DEPLOY / "demo" / "catalogue.yaml"


def moment(name: str, server: int, at_ms: int, life: Life) -> Recommendation:
    """One moment of a recommendation."""
    action = Action("look-into-it", 0, reversible=True)
    return Recommendation(
        id=name, life=life, scope=SCOPE, entity=entity_name(SCOPE, server), scenario_class="class", time_ms=at_ms, opened_ms=at_ms,
        deadline_ms=at_ms + 4 * HOUR_MS, scenario_ms=at_ms, summary="", action=action, symptoms=(), confidence=0.9, threshold=0.8,
        repeats=0, peers_alike=0, answers=(), positions={},
    )  # fmt: skip


def lives(server: int) -> list[Recommendation]:
    """A recommendation for every event of a server, and a later moment of its life."""
    times = [(f"r-{server}-{number}", event.start_ms + 60_000) for number, event in enumerate(events(WORLD, server))]
    return [moment(name, server, at_ms, life) for name, at_ms in times for life in (Life.OPENED, Life.CLEARED)]


async def test_operators_answer_every_recommendation_as_they_would(kafka: Kafka, unique_name: str, tmp_path: Path) -> None:
    """What arrives on the feedback topic is what each operator says to each opened recommendation, under its key; reviews arrive too."""
    deployment = Deployment(broker=kafka.bootstrap, topic_prefix=f"{unique_name}.", catalogue=CATALOGUE)
    names = {topic.name: physical(topic.name, deployment.topic_prefix) for topic in (RECOMMENDATION, FEEDBACK, OUTCOME)}
    await admin.ensure(deployment, [TopicPlan(name, 2, {}) for name in names.values()])
    shown = [each for server in range(40) for each in lives(server)]
    roster = read_yaml(CATALOGUE, Catalogue).operators
    expected = {
        (said.decision, said.operator, said.revision): said
        for each in shown
        for operator, team in roster.items()
        for said in answers(Behaviour(), WORLD, operator, team, len(roster), each)
    }
    assert len(expected) > 10
    command = f"from experiments.operators import operators; operators(hours={WORLD.busy_h}, seed={WORLD.seed}, pace=1e5)"
    child = start_child("operators", [sys.executable, "-c", command], tmp_path / "operators.log", environment=environment(deployment))
    heard: dict[tuple[str, str, int], Feedback] = {}
    reviews = 0
    reader = AIOKafkaConsumer(names["feedback"], names["outcome"], bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    with child:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for each in shown:
                await producer.send(names["recommendation"], key=SCOPE.encode(), value=encode(each))
        async with reader:
            while len(heard) < len(expected) or not reviews:
                child.raise_if_ended()
                for partition, records in (await reader.getmany(timeout_ms=200)).items():
                    if partition.topic == names["outcome"]:
                        reviews += len(records)
                        continue
                    for record in records:
                        said = decode(FEEDBACK.name, record.value)
                        assert record.key == SCOPE.encode()
                        assert (said.decision, said.operator, said.revision) not in heard
                        heard[said.decision, said.operator, said.revision] = said
        assert heard == expected
        assert child.stop() == 0
