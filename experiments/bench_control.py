"""How soon a kill is in force while telemetry comes at full speed, and whether anything was surfaced after it."""

import asyncio
import csv
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from schemas import codecs
from schemas.events import Command, Control, Life
from schemas.settings import DEPLOY, Deployment, Profile, read_yaml
from schemas.topics import CONTROL, RECOMMENDATION, physical
from streams.embedded import Child, start_child
from streams.logs.reading import bounds, open_reader, read_blocks
from streams.logs.taking import WAIT_S, Office, open_office
from streams.serving.commanding import letters_of
from streams.serving.force import Force
from streams.stack import environment, running_stack

ROUNDS = 20
SCOPES, SERVERS, ROWS, METRICS, STEP_S = 4, 10, 40_000, 10, 60
# A fault of half an hour on one metric of each server every three hours.
FAULT_ROWS, FAULTS_EVERY_ROWS = 30, 180
# How long nothing may be surfaced after a kill is in force, each time.
HELD_S = 0.3
OPENED_S_MAX, POLL_S = 60.0, 0.02


class KillDelay(Struct):
    """Kills and resumes of all scopes under full load: from sending until every partition's task has committed beyond the record, in ms.

    `opened` recommendations were surfaced between the rounds, `opened_while_killed` after a task had read a kill and before its
    resume, by the positions that they carry and by where they were appended.
    """

    rounds: int
    under_load: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    resume_p50_ms: float
    opened: int
    opened_while_killed: int


def measure_kill(home: Path) -> KillDelay:
    """Play telemetry with faults at full speed through a fresh stack, and kill and resume all scopes again and again."""
    source = write_faulty_servers(home / "faulty")
    # Everything is surfaced: nobody answers here, and what counts is what a kill ends.
    default = read_yaml(DEPLOY / "profiles" / "default.yaml", Profile)
    profile = msgspec.structs.replace(default, budget="off", selector="fixed", fixed_threshold=0.0)
    (home / "profile.yaml").write_bytes(msgspec.yaml.encode(profile))
    with running_stack(home / "stack", profile=home / "profile.yaml") as deployment, playing(deployment, source, home / "play.log") as play:
        return asyncio.run(_rounds(deployment, play))


@contextmanager
def playing(deployment: Deployment, source: Path, log: Path) -> Iterator[Child]:
    """Run `npo play --speed max` as a process of its own until the block ends."""
    play = start_child("play", [sys.executable, "-m", "streams.cli", "play", str(source)], log, environment=environment(deployment))
    try:
        yield play
    finally:
        play.stop(10.0)


async def _rounds(deployment: Deployment, play: Child) -> KillDelay:
    kills, resumes, under_load, late = [], [], 0, 0
    async with open_office(deployment) as office, open_reader(deployment) as reader:
        places = [TopicPartition(physical(RECOMMENDATION.name, deployment.topic_prefix), each) for each in range(deployment.partitions)]
        for _ in range(ROUNDS):
            await _wait_for_more(reader, places)
            kills.append(await _command(office, Command.KILL))
            under_load += play.is_running
            before = await bounds(reader, places)
            await asyncio.sleep(HELD_S)
            after = await bounds(reader, places)
            resumes.append(await _command(office, Command.RESUME))
            for place in places:
                late += await _count_opened(reader, place, before[place].end, after[place].end)
        opened, while_killed = await _check(reader, deployment)
    p50, p95, most = np.percentile(kills, [50, 95, 100]).tolist()
    return KillDelay(ROUNDS, under_load, p50, p95, most, float(np.median(resumes)), opened, max(late, while_killed))


async def _command(office: Office, command: Command) -> float:
    """Command all scopes, and return after how many milliseconds that was in force."""
    control = Control(command, time.time_ns() // 1_000_000, "bench")
    letters = letters_of(control, office.deployment.partitions)
    begun = time.perf_counter()
    assert await office.taken(await office.send(letters), WAIT_S), "not in force in time"
    return (time.perf_counter() - begun) * 1000


async def _wait_for_more(reader: AIOKafkaConsumer, places: list[TopicPartition]) -> None:
    """Wait until something more has been surfaced."""
    begun = await bounds(reader, places)
    async with asyncio.timeout(OPENED_S_MAX):
        while True:
            for place, held in (await bounds(reader, places)).items():
                if await _count_opened(reader, place, begun[place].end, held.end):
                    return
            await asyncio.sleep(POLL_S)


async def _count_opened(reader: AIOKafkaConsumer, place: TopicPartition, start: int, end: int) -> int:
    """Count the recommendations that were opened between two offsets."""
    return sum(event.life is Life.OPENED for event in await _events(reader, RECOMMENDATION.name, place, start, end))


async def _check(reader: AIOKafkaConsumer, deployment: Deployment) -> tuple[int, int]:
    """Return how many recommendations were opened, and how many of them by a task whose positions say that it had read a kill."""
    opened = killed = 0
    for partition in range(deployment.partitions):
        found = {}
        for name in (CONTROL.name, RECOMMENDATION.name):
            place = TopicPartition(physical(name, deployment.topic_prefix), partition)
            first, end = (await bounds(reader, [place]))[place]
            found[name] = await _events(reader, name, place, first, end)
        # Commands are sent without transactions: their offsets have no gaps.
        forces = [Force()]
        for control in found[CONTROL.name]:
            forces.append(forces[-1].after(control))
        positions = [event.positions[CONTROL.name] for event in found[RECOMMENDATION.name] if event.life is Life.OPENED]
        opened += len(positions)
        killed += sum(forces[position].killed is not None for position in positions)
    return opened, killed


async def _events(reader: AIOKafkaConsumer, name: str, place: TopicPartition, start: int, end: int) -> list[Any]:
    return [codecs.decode(name, value) async for block in read_blocks(reader, name, place, start, end) for value in block.values]


def write_faulty_servers(folder: Path) -> Path:
    """Write made-up telemetry of several scopes, of the layout of `npo play`: noise, and now and then a metric far off; seeded."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True)
    with (folder / "entities.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "entity", "train_rows", "test_rows", "metrics", "step_seconds"])
        for scope in range(SCOPES):
            (folder / f"scope-{scope}").mkdir()
            for server in range(SERVERS):
                name, values = f"server-{scope}-{server}", random.normal(10.0, 1.0, size=(ROWS, METRICS))
                for start in range(int(random.integers(FAULTS_EVERY_ROWS)), ROWS, FAULTS_EVERY_ROWS):
                    values[start : start + FAULT_ROWS, random.integers(METRICS)] += 30.0
                columns: dict[str, pa.Array] = {"t": pa.array(np.arange(ROWS))}
                columns |= {f"server_metric_{index}": pa.array(values[:, index]) for index in range(METRICS)}
                pq.write_table(pa.table(columns), folder / f"scope-{scope}" / f"{name}.train.parquet")
                writer.writerow([f"scope-{scope}", name, ROWS, 0, METRICS, STEP_S])
    return folder
