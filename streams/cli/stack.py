"""`npo up`, `down`, `status`, `worker`."""

import asyncio
import json as json_text
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from aiokafka.errors import KafkaError
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from schemas import codecs, topics
from schemas.errors import DecodeError, StackError
from schemas.events import Control, Model
from schemas.headers import rfc3339
from schemas.settings import Deployment, load_settings
from streams import admin, stack
from streams.embedded import start_child
from streams.engine.worker import run_worker
from streams.home import StackState
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks
from streams.readiness import GroupState, count_behind, group_states
from streams.serving.readmodel import ALL_SCOPES, Force
from streams.topology import TOPOLOGY

FAULT, WRONG_USE = 1, 2
GOOD = {"running", "stopped"}


class Report(Struct):
    """What `npo status` shows.

    Attributes:
        broker: Kafka's address.
        redis: Redis' address, where it is known.
        stack: The stack of this machine, None where the servers are others'.
        topics: Topics of this deployment that exist.
        groups: State of each task group.
        in_force: Kill and freeze by scope, `*` for all scopes; where neither is in force, nothing.
        models: The model in force by scope; a scope that is not named is under the profile's initial one.
    """

    broker: str
    redis: str | None
    stack: StackState | None
    topics: int
    groups: list[GroupState]
    in_force: dict[str, Force]
    models: dict[str, str]

    @property
    def sound(self) -> bool:
        """Whether every process runs and every partition has a worker."""
        processes = self.stack.processes if self.stack else []
        return all(group.ready for group in self.groups) and all(process.condition in GOOD for process in processes)


def up(*, workers: int = 1, foreground: bool = False, json: bool = False) -> int:
    """Start Kafka, Redis, topics, workers and read model, and return when everything is at work.

    Servers that NPO_BROKER and NPO_REDIS name are used; the others are started here, on free ports of 127.0.0.1. Everything is kept in
    NPO_HOME (`.npo`) and outlives `npo down`.

    Args:
        workers: Worker processes of each task group.
        foreground: Stay until Ctrl-C or SIGTERM instead of running on behind.
        json: Print the stack as JSON.
    """
    console = Console()
    if foreground:
        stack.supervise(workers, ready=lambda running: console.print(f"running: Kafka {running.broker}, Redis {running.redis}"))
        return 0
    with Console(stderr=True).status("starting"):
        state, new = stack.up(workers)
    if json:
        console.print_json(data=to_builtins(state))
    else:
        console.print(f"{'started' if new else 'already running'}: Kafka {state.broker}, Redis {state.redis}", soft_wrap=True)
    return 0


def down(*, wipe: bool = False, json: bool = False) -> int:
    """End the stack, workers before servers; what Kafka holds stays for the next `npo up`.

    Args:
        wipe: Remove records, stores and logs.
        json: Print what was done as JSON.
    """
    with Console(stderr=True).status("ending"):
        ended = stack.down(wipe=wipe)
    if json:
        Console().print_json(data={"ended": ended, "wiped": wipe})
    else:
        Console().print(f"{'ended' if ended else 'no stack was running'}{', and wiped' if wipe else ''}")
    return 0


def status(*, json: bool = False) -> int:
    """Show processes, how far behind each group is, and what is in force; exit code 1 where something is not at work.

    Args:
        json: Print it as JSON.
    """
    deployment = stack.connect()
    report = asyncio.run(inspect(deployment))
    if json:
        Console().print_json(data=to_builtins(report) | {"sound": report.sound})
    else:
        show(report, Console())
    return 0 if report.sound else FAULT


async def inspect(deployment: Deployment) -> Report:
    """Ask broker and state file how the deployment is.

    Raises:
        StackError: the broker does not answer.
    """
    try:
        async with admin.open_admin(deployment) as client:
            states = await group_states(deployment, client, TOPOLOGY)
            counts = await partition_counts(deployment)
            await count_behind(deployment, client, TOPOLOGY, states)
        in_force, models = await commands(deployment, counts)
    except KafkaError as error:
        raise StackError(f"the broker at {deployment.broker} does not answer: {error}; `npo down` and `npo up` start it anew") from error
    state = stack.find(deployment.home)
    own = state if state is not None and state.broker == deployment.broker else None
    return Report(deployment.broker or "", deployment.redis, own, len(counts), states, in_force, models)


async def commands(deployment: Deployment, counts: dict[str, int]) -> tuple[dict[str, Force], dict[str, str]]:
    """Read what is in force, and each scope's model, from the control and model topics."""
    in_force: dict[str, Force] = {}
    models: dict[str, str] = {}
    async for event in events(deployment, counts, (topics.CONTROL, topics.MODEL)):
        match event:
            case Control():
                scope = event.scope or ALL_SCOPES
                in_force[scope] = in_force.get(scope, Force()).after(event)
            case Model():
                models[event.scope] = event.id
    return {scope: force for scope, force in in_force.items() if force.killed or force.frozen}, models
