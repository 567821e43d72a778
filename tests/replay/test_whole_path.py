"""Replay of the real steps: telemetry, answers and control to the same bytes, through parquet."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas import codecs
from schemas.events import Answer, Command, Control, Feedback, Outcome, Scenario, Verdict
from schemas.identity import derived_name, partition_of
from schemas.settings import Settings
from streams.logs.compare import Comparison, compare, describe
from streams.logs.files import Log, open_log
from streams.logs.replay import replay, written_by_task
from streams.topology import TOPOLOGY
from tests.deciding.logs import PAPER_FIELDS, settings_with
from tests.encoding.telemetry import messy
from tests.replay.simulation import APPENDED_MS, Topics, append, empty, memory_log, merge_changed, save, simulate

PARTITIONS = 2
ANSWERS = 1_200
ENCODING, DECIDING, *SECOND_LOOP = TOPOLOGY
INPUTS = ("telemetry", "feedback", "outcome", "control", "model")


def operate(held: Topics, draw: np.random.Generator) -> None:
    """Answer the scenarios of a deployment: interleaved, late, changed, unknown; with outcomes, a kill of one scope and its end."""
    events = [codecs.decode("scenario", value) for block in held["scenario"] for value in block.values]
    scenarios = sorted((event for event in events if isinstance(event, Scenario)), key=lambda event: event.time_ms)
    answers = []
    for number in range(ANSWERS):
        scenario = scenarios[int(draw.integers(len(scenarios)))]
        decision = derived_name(scenario.id, "decision") if draw.random() > 0.03 else f"unknown-{number}"
        time_ms = scenario.time_ms + int(draw.exponential(7_200_000))
        kind = list(Answer)[int(draw.choice(4, p=[0.35, 0.45, 0.1, 0.1]))]
        operator = ("ana", "ben", "eve")[int(draw.integers(3))]
        answers.append((time_ms, scenario.scope, Feedback(decision, operator, kind, time_ms, int(draw.integers(1, 4)))))
    for _, scope, answer in sorted(answers, key=lambda each: each[0]):
        append(held, "feedback", partition_of(scope.encode(), PARTITIONS), (APPENDED_MS, scope.encode(), codecs.encode(answer), ()))
    for scenario in scenarios[::7]:
        verdict = Outcome(scenario.entity, scenario.time_ms - 1, scenario.time_ms + 3_600_000, Verdict.INCIDENT, scenario.time_ms)
        key = scenario.scope.encode()
        append(held, "outcome", partition_of(key, PARTITIONS), (APPENDED_MS, key, codecs.encode(verdict), ()))
    for command in (Command.KILL, Command.RESUME):
        control = Control(command, scenarios[len(scenarios) // 2].time_ms, "ana", "web")
        append(held, "control", partition_of(b"web", PARTITIONS), (APPENDED_MS, f"web|{command}|".encode(), codecs.encode(control), ()))


def deployment(settings: Settings, seed: int = 3) -> Topics:
    """All topics of a deployment that has run: encoded, operated, decided, and what the second loop makes of it."""
    held: Topics = {topic: [empty(topic, partition) for partition in range(PARTITIONS)] for topic in (*INPUTS, "retraining-command")}
    for record in messy(seed, count=500):
        place = partition_of(record.key or b"", PARTITIONS)
        append(held, "telemetry", place, (record.appended_ms, record.key, record.value, record.headers), gap=len(record.headers))
    held = simulate((ENCODING,), held, settings, seed, block_records=300)
    operate(held, np.random.default_rng(seed))
    return simulate((DECIDING, *SECOND_LOOP), held, settings, seed, block_records=20)


def check(log: Log) -> Comparison:
    """Replay and compare."""
    return compare(TOPOLOGY, log, replay(TOPOLOGY, log, log.manifest.settings))


@pytest.mark.parametrize("profile", [{}, PAPER_FIELDS], ids=["default", "paper"])
def test_a_whole_log_replays_to_the_same_bytes(profile: dict[str, object], tmp_path: Path) -> None:
    """Over 1,000 interleaved, late and changed answers and control records, from parquet: every derived record, byte for byte."""
    settings = settings_with(window_scenarios=10, **profile)
    held = deployment(settings)
    save(memory_log(held, settings), tmp_path)
    result = check(open_log(tmp_path))
    assert result.equal, result.first and describe(result.first)
    inputs = {*INPUTS, "merge"}
    trained = sum(written_by_task(TOPOLOGY, "model", headers) for block in held["model"] for headers in block.headers)
    assert result.compared == trained + sum(len(block.offsets) for topic, blocks in held.items() if topic not in inputs for block in blocks)
    assert sum(len(block.offsets) for block in held["feedback"]) >= 1_000
    for topic in ("scenario", "decision", "recommendation", "judgement", "alignment", "telemetry.dlq", "feedback.dlq"):
        assert any(block.offsets for block in held[topic]), topic


def test_swapped_positions_of_a_whole_log_are_found() -> None:
    """Blocks of answers and of scenarios taken in the other order give other bytes wherever the block led to a decision."""
    settings = settings_with(window_scenarios=10)
    held = deployment(settings)
    place = partition_of(b"web", PARTITIONS)
    steps = [step for value in held["merge"][place].values for step in codecs.decode("merge", value).steps]
    block = held["scenario"][place]
    deciding = [offset for offset, value in zip(block.offsets, block.values, strict=True) if b'"kind":"scenario"' in (value or b"")]
    pairs = []
    for index, (first, second) in enumerate(pairwise(steps)):
        topics = {first.topic: first, second.topic: second}
        if topics.keys() == {"feedback", "scenario"} and any(topics["scenario"].start <= at < topics["scenario"].next for at in deciding):
            pairs.append(index)
    chosen = pairs[:: max(1, len(pairs) // 8)]
    results = [check(memory_log(merge_changed(held, place, {index: index + 1, index + 1: index}), settings)) for index in chosen]
    assert len(results) >= 5
    assert not any(result.equal for result in results)


def test_other_settings_are_found() -> None:
    """The same log under another threshold, or with other draws, does not come out the same."""
    settings = settings_with(window_scenarios=10)
    log = memory_log(deployment(settings), settings)
    for other in (settings_with(window_scenarios=10, override_cost=1.0), msgspec.structs.replace(settings, seed=1)):
        assert not compare(TOPOLOGY, log, replay(TOPOLOGY, log, other)).equal
