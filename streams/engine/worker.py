"""Run the tasks of one group in this process, until it is told to end or something fails.

`python -m streams.engine.worker GROUP` with NPO_* variables; ends with 0 after SIGTERM or SIGINT, with 1 when a task
fails, stands still or is fenced: a supervisor is to start it again. Ending at any moment is safe. Without a broker it waits, and says so.
"""

import argparse
import asyncio
import importlib
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import aiokafka.producer.sender
import structlog
from aiokafka.errors import KafkaError

from schemas.errors import NpoError, StackError, TopologyError
from schemas.settings import Deployment, Settings, load_settings
from streams.engine.app import GroupApp
from streams.engine.broker import Positions
from streams.engine.health import AWAY_LOG_S, Health, Observed, observe
from streams.engine.liveness import Watchdog, end_process
from streams.engine.logs import configure_logs
from streams.engine.metrics import Metrics
from streams.engine.plan import Plan, make_plan
from streams.engine.probes import Probes
from streams.groups import TaskGroup

STOP_S_MAX = 15.0
BROKER_RETRY_S = 2.0
# aiokafka waits this long where the broker is still closing the transaction before: back-to-back transactions of 26 ms become 6 ms.
CONCURRENT_TRANSACTIONS_BACKOFF_S = 0.002

PIPELINE = "streams.topology:TOPOLOGY"

log = structlog.get_logger()


def run_worker(deployment: Deployment, settings: Settings, group: str, topology: Sequence[TaskGroup] | None = None) -> None:
    """Run one group's tasks in this process until SIGTERM or SIGINT. Does not return when something fails: the process ends.

    Args:
        deployment: where servers and files are.
        settings: what decisions depend on.
        group: the task group's name.
        topology: where the group is looked for; the pipeline's own if it is not given.

    Raises:
        TopologyError: no such group, or topics that do not fit.
        StackError: no broker is known.
    """
    if topology is None:
        topology = _load(PIPELINE)
    found = next((candidate for candidate in topology if candidate.name == group), None)
    if found is None:
        raise TopologyError(f"no task group {group!r}; there are {', '.join(candidate.name for candidate in topology)}")
    aiokafka.producer.sender.BACKOFF_OVERRIDE = CONCURRENT_TRANSACTIONS_BACKOFF_S
    asyncio.run(_serve(deployment, settings, found))


async def _serve(deployment: Deployment, settings: Settings, group: TaskGroup) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    watchdog = Watchdog(deployment.standstill_s)
    watchdog.start()
    health, metrics = Health(deployment, watchdog), Metrics(group.name, settings)
    metrics.registry.register(Observed(group.name, health, watchdog, metrics.published))
    if deployment.health_port is not None:
        port = Probes(deployment.health_host, deployment.health_port, health, metrics.registry).serve()
        log.info("health", group=group.name, host=deployment.health_host, port=port)
    plan = await _plan_when_the_broker_answers(deployment, settings, group, told)
    if plan is None:
        return
    health.phase = "not a member of its group yet"
    metrics.expect(topic.name for topic in group.inputs)
    async with Positions(deployment, plan.application) as positions:
        app = GroupApp(plan, positions, watchdog, metrics)
        starting, observing = asyncio.create_task(app.start()), asyncio.create_task(observe(app, health))
        for part in (starting, observing):
            part.add_done_callback(_end_if_failed)
        await told.wait()
        log.info("worker ends", group=group.name)
        health.phase = "told to end"
        observing.cancel()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await app.stop()
        except TimeoutError as error:
            end_process(f"{plan.application} did not stop within {STOP_S_MAX} s", error)
        starting.cancel()


async def _plan_when_the_broker_answers(deployment: Deployment, settings: Settings, group: TaskGroup, told: asyncio.Event) -> Plan | None:
    """Return the group's plan, None where this process is told to end before a broker has answered.

    Raises:
        TopologyError: topics that do not fit.
        StackError: a broker that answers, and refuses.
    """
    told_s = -AWAY_LOG_S
    while not told.is_set():
        try:
            return await make_plan(deployment, settings, group)
        except KafkaError as error:
            if not error.retriable:
                raise StackError(f"{deployment.broker} refuses: {error!r}; correct NPO_SECURITY_PROTOCOL and NPO_SASL_*") from error
            if time.monotonic() - told_s >= AWAY_LOG_S:
                told_s = time.monotonic()
                protocol = deployment.security_protocol
                log.warning("no broker answers; waiting", broker=deployment.broker, security_protocol=protocol, error=repr(error))
        with suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), BROKER_RETRY_S)
    return None


def _load(name: str) -> Sequence[TaskGroup]:
    """Import a topology by `module:attribute`."""
    module, _, attribute = name.partition(":")
    topology: Sequence[TaskGroup] = getattr(importlib.import_module(module), attribute)
    return topology


def _end_if_failed(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        end_process(f"worker failed: {error}", error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from the command line.

    Returns:
        0 after a signal to end, 2 for a setting or topology that cannot be used.
    """
    parser = argparse.ArgumentParser(description="Run the tasks of one group.")
    parser.add_argument("group")
    parser.add_argument("--topology", default=PIPELINE, help="module:attribute of another topology")
    given = parser.parse_args(arguments)
    configure_logs()
    try:
        deployment = Deployment()
        run_worker(deployment, load_settings(deployment), given.group, _load(given.topology))
    except NpoError as error:
        log.critical("worker cannot run", error=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
