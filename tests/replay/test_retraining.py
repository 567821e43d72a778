"""The second loop on a real broker: retraining in mid-stream, crashes during it, a rollback; a log of it replays to the same bytes."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.special import expit

from schemas.alignment import ModelTaken
from schemas.codecs import decode, encode
from schemas.events import Action, Model, Outcome, Scenario, Symptom, Verdict
from schemas.identity import partition_of
from schemas.settings import DEPLOY, Deployment, Profile, load_settings, read_yaml
from streams.admin import open_admin
from streams.home import find
from streams.logs.compare import compare, describe
from streams.logs.exporting import export_log
from streams.logs.files import Log, open_log
from streams.logs.replay import replay
from streams.logs.sending import Sender, open_sender
from streams.readiness import count_behind, group_states
from streams.stack import running_stack
from streams.topology import TOPOLOGY

PARTITIONS = 2
SCOPES = ("shop", "bank")
START_MS = 1_577_836_800_000
MINUTE_MS = 60_000
WINDOW, WINDOWS, TURN = 60, 9, 5
# Scenarios are sent here as an encoder would.
FROM_SCENARIOS_ON = TOPOLOGY[1:]


def scenario(scope: str, number: int, x: float) -> Scenario:
    """One scenario of a scope: another entity every time, so that none repeats another."""
    time_ms = START_MS + number * 5 * MINUTE_MS
    symptom = Symptom("cpu", "cpu:up", "level", "up", 7.0, 0.9, 0.2)
    return Scenario(
        f"{scope}-{number}", scope, f"e{number}", time_ms, f"{scope}|cpu:up|restart", 1.0, (symptom,),
        Action("restart", 1, reversible=True), {"log_score": 0.3, "x": x}, {"raw": 1.0}, time_ms, {}, [], 0, 3, (f"sample-{number}",),
    )  # fmt: skip


async def send_scenarios(sender: Sender, scope: str, window: int, draw: np.random.Generator) -> list[Outcome]:
    """Send a window of scenarios; return outcomes on nearly all of them, which say that what x tells turns round in mid-stream."""
    key, place, outcomes = scope.encode(), partition_of(scope.encode(), PARTITIONS), []
    for number in range(window * WINDOW, (window + 1) * WINDOW):
        x = float(draw.standard_normal())
        wanted = draw.random() < expit(1.5 + (-4 if window >= TURN else 4) * x)
        event = scenario(scope, number, x)
        await sender.send("scenario", place, key, encode(event), (("ce_id", event.id.encode()),))
        if draw.random() < 0.9:
            verdict = Verdict.INCIDENT if wanted else Verdict.NONE
            outcomes.append(Outcome(event.entity, event.time_ms, event.time_ms + MINUTE_MS, verdict, event.time_ms + MINUTE_MS, "review"))
    if window == WINDOWS - 2:
        given = Model("given", scope, START_MS, 0.0, {"x": 1.0}, origin="rollback", by="ana")
        await sender.send("model", place, key, encode(given), ())
    return outcomes


async def send_outcomes(sender: Sender, scope: str, outcomes: list[Outcome]) -> None:
    """Send outcomes."""
    for outcome in outcomes:
        name = f"told-{scope}-{outcome.entity}".encode()
        await sender.send("outcome", partition_of(scope.encode(), PARTITIONS), scope.encode(), encode(outcome), (("ce_id", name),))


def read(log: Log, topic: str) -> list[Any]:
    """All events of a topic."""
    partitions = range(len(log.manifest.topics[topic]))
    return [decode(topic, value) for partition in partitions for block in log.read(topic, partition) for value in block.values]


async def drive(deployment: Deployment, directory: Path) -> None:
    """Send both scopes window by window, kill a worker in the middle of most of them, and export."""
    draws = [np.random.default_rng(number) for number in range(len(SCOPES))]
    async with open_sender(deployment) as sender:
        for window in range(WINDOWS):
            told = [await send_scenarios(sender, scope, window, draw) for scope, draw in zip(SCOPES, draws, strict=True)]
            await sender.flush()
            await settled(deployment)
            for scope, outcomes in zip(SCOPES, told, strict=True):
                await send_outcomes(sender, scope, outcomes)
            await sender.flush()
            if window % 3:
                kill(deployment, ("training", "monitoring", "deciding")[window // 2 % 3] + f"-{1 + window % 2}")
            await settled(deployment)
    await export_log(deployment, load_settings(deployment), TOPOLOGY, directory, lambda *_: None)


def kill(deployment: Deployment, name: str) -> None:
    """Kill a worker, if it runs."""
    state = find(deployment.home)
    assert state is not None
    (pid,) = [process.pid for process in state.processes if process.name == name]
    if pid:
        os.kill(pid, signal.SIGKILL)


async def settled(deployment: Deployment) -> None:
    """Wait until no group is behind, and none has become so by what another wrote meanwhile."""
    quiet = 0
    async with open_admin(deployment) as admin:
        while quiet < 2:
            states = await group_states(deployment, admin, TOPOLOGY)
            await count_behind(deployment, admin, TOPOLOGY, states)
            quiet = 0 if any(state.behind for state in states) else quiet + 1
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The log of one run: two workers of each group, killed while they worked."""
    home = tmp_path_factory.mktemp("retraining")
    default = read_yaml(DEPLOY / "profiles" / "default.yaml", Profile)
    profile = home / "profile.yaml"
    small = msgspec.structs.replace(default, window_scenarios=WINDOW, retraining_price=10.0, budget_start=1_000.0, undo_window_ms=0)
    profile.write_bytes(msgspec.yaml.encode(small))
    # Killed workers are missed sooner than they would be in production.
    fields: dict[str, Any] = {"partitions": PARTITIONS, "profile": profile, "broker": None, "redis": None, "session_timeout_s": 2.0}
    with running_stack(home / "stack", workers=2, **fields) as deployment:
        asyncio.run(drive(deployment, home / "log"))
    return open_log(home / "log")


@pytest.mark.timeout(300)  # a whole stack, crashes, recoveries
def test_a_run_with_crashes_and_a_rollback_replays_to_the_same_bytes(log: Log) -> None:
    """Whatever two workers of each group wrote, killed in mid-retraining, a replay of their inputs writes again, byte for byte."""
    result = compare(FROM_SCENARIOS_ON, log, replay(FROM_SCENARIOS_ON, log, log.manifest.settings))
    assert result.equal, result.first and describe(result.first)
    assert result.compared > 2 * WINDOW * WINDOWS
    assert not [value for topic in log.manifest.topics if topic.endswith(".dlq") for value in read(log, topic)]


def test_every_command_has_one_result(log: Log) -> None:
    """Crashes double and lose nothing: one result a command, one model an adoption, each taken up by the decider once."""
    commands, results = read(log, "retraining-command"), read(log, "retraining-result")
    models = read(log, "model")
    taken = Counter((event.scope, event.model) for event in read(log, "alignment") if isinstance(event, ModelTaken))
    assert sorted(command.id for command in commands) == sorted(result.command for result in results)
    assert len({command.id for command in commands}) == len(commands)
    adopted = [result for result in results if result.status == "adopted"]
    assert {result.scope for result in adopted} == set(SCOPES)
    trained = [model for model in models if model.origin == "trained"]
    assert sorted(model.id for model in trained) == sorted(result.model.id for result in adopted)
    for model in models:
        assert taken[model.scope, model.id] >= 1


def test_decisions_are_by_the_model_in_force(log: Log) -> None:
    """Each decision names the model that was the last one taken before its own positions, a rollback's too."""
    models = {(block.partition, offset): decode("model", value) for partition in range(PARTITIONS)
              for block in log.read("model", partition) for offset, value in zip(block.offsets, block.values, strict=True)}  # fmt: skip
    seen: Counter[str] = Counter()
    for decision in read(log, "decision"):
        place = partition_of(decision.scope.encode(), PARTITIONS)
        before = [model.id for (partition, offset), model in sorted(models.items())
                  if partition == place and model.scope == decision.scope and offset < decision.positions["model"]]  # fmt: skip
        assert decision.versions["model"] == (before[-1] if before else "initial")
        seen[decision.versions["model"]] += 1
    assert seen["initial"] > WINDOW
    assert seen["given"] > 0
