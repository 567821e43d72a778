"""`npo worker`."""

import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from schemas.settings import Deployment, load_settings
from streams import stack
from streams.embedded import start_child
from streams.engine.logs import configure_logs
from streams.engine.worker import run_worker
from streams.topology import TOPOLOGY

FAULT, WRONG_USE = 1, 2


def worker(*groups: str) -> int:
    """Run one worker process for each task group, all groups where none is named; one group runs in this process.

    The broker is NPO_BROKER's, else that of the stack in NPO_HOME; NPO_HOME holds the local stores, so two workers of one group on one
    machine need two homes; several workers log to its `logs`. Ends with code 1 as soon as one of them fails. With NPO_HEALTH_PORT, each
    worker answers /livez, /readyz and /metrics: the first group's there, each other's one port further.

    Args:
        groups: Names of task groups, as `npo topology` shows them.
    """
    known = [group.name for group in TOPOLOGY]
    if unknown := sorted(set(groups) - set(known)):
        Console(stderr=True).print(f"no task group {', '.join(unknown)}; there are {', '.join(known)}", style="red")
        return WRONG_USE
    deployment = stack.connect()
    if len(groups) == 1:
        configure_logs()
        run_worker(deployment, load_settings(deployment), groups[0], TOPOLOGY)
        return 0
    return run_workers(deployment, groups or known)


def run_workers(deployment: Deployment, groups: Sequence[str]) -> int:
    """Run one child process for each group until one of them ends or this process is told to; the others end with it."""
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    children = []
    for place, group in enumerate(groups):
        # 0, any free port, stays so.
        port = deployment.health_port + place if deployment.health_port else deployment.health_port
        environment = stack.environment(deployment.model_copy(update={"health_port": port}))
        command = [sys.executable, "-m", "streams.engine.worker", group]
        children.append(start_child(f"worker-{group}", command, stack.log_file(deployment, f"worker-{group}"), environment=environment))
    while not stopping.wait(stack.TEND_S) and all(child.is_running for child in children):
        pass
    with ThreadPoolExecutor(len(children)) as stoppers:
        codes = list(stoppers.map(lambda child: child.stop(stack.GRACE_S), children))
    return FAULT if any(codes) else 0
