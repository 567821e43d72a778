"""Run the tasks of one group in this process, until it is told to end or something fails.

`python -m streams.engine.worker GROUP` with NPO_* variables; ends with 0 after SIGTERM or SIGINT, with 1 when a task
fails, stands still or is fenced: a supervisor is to start it again. Ending at any moment is safe.
"""

import argparse
import asyncio
import importlib
import logging
import signal
import sys
from collections.abc import Sequence

import aiokafka.producer.sender
import structlog

from schemas.errors import NpoError, TopologyError
from schemas.settings import Deployment, Settings, load_settings
from streams.engine.app import GroupApp
from streams.engine.broker import Positions
from streams.engine.liveness import Watchdog, end_process
from streams.engine.plan import make_plan
from streams.groups import TaskGroup

STOP_S_MAX = 15.0
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
    plan = await make_plan(deployment, settings, group)
    watchdog = Watchdog(deployment.standstill_s)
    watchdog.start()
    async with Positions(deployment, plan.application) as positions:
        app = GroupApp(plan, positions, watchdog)
        starting = asyncio.create_task(app.start())
        starting.add_done_callback(_end_if_failed)
        await told.wait()
        log.info("worker ends", group=group.name)
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await app.stop()
        except TimeoutError as error:
            end_process(f"{plan.application} did not stop within {STOP_S_MAX} s", error)
        starting.cancel()


def _load(name: str) -> Sequence[TaskGroup]:
    """Import a topology by `module:attribute`."""
    module, _, attribute = name.partition(":")
    topology: Sequence[TaskGroup] = getattr(importlib.import_module(module), attribute)
    return topology


def _end_if_failed(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        end_process(f"worker failed: {error}", error)


def configure_logs() -> None:
    """Log to stderr, without the values of variables in tracebacks: there may be secrets among them."""
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    stamps = structlog.processors.TimeStamper(fmt="iso")
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamps, console], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


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
