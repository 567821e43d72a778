"""`npo worker` as production runs it: all groups, or some, in one command."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession

from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka
from streams.embedded.children import free_ports
from streams.stack import environment, wanted_topics
from streams.topology import TOPOLOGY
from tests.engine.lab import PATIENCE_S, ROOT, until


@pytest.fixture
def deployment(kafka: Kafka, unique_name: str, tmp_path: Path) -> Deployment:
    """A deployment of the pipeline on the shared broker, with its topics."""
    name = unique_name[-50:]
    deployment = Deployment(broker=kafka.bootstrap, home=tmp_path, partitions=2, topic_prefix=f"{name}.", application=name)
    asyncio.run(admin.ensure(deployment, wanted_topics(deployment)))
    return deployment


@contextmanager
def npo_worker(deployment: Deployment, *groups: str) -> Iterator[subprocess.Popen[bytes]]:
    """`npo worker` with these groups; it and its children are gone at the end."""
    variables = {**environment(deployment), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "streams.cli", "worker", *groups], env=variables, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def at_work(deployment: Deployment, group: str) -> bool:
    """Whether a group's worker has all its tasks."""
    log = deployment.home / "logs" / f"worker-{group}.log"
    return log.exists() and bool(re.search(r"tasks assigned.*partitions=\[0, 1\]", log.read_text()))


async def test_all_groups_run_where_none_is_named(deployment: Deployment) -> None:
    """Without names every group of the topology comes to work, each answers for itself, and all end in good order with the command."""
    ports = free_ports(len(TOPOLOGY))
    first = next(
        port for port in range(ports[0], ports[0] + 1000, len(TOPOLOGY)) if all(is_free(port + place) for place in range(len(TOPOLOGY)))
    )
    with npo_worker(deployment.model_copy(update={"health_port": first})) as command:
        for place, group in enumerate(TOPOLOGY):
            await until(partial(at_work, deployment, group.name))
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{first + place}/metrics") as answer:
                assert f'npo_worker_info{{group="{group.name}"' in await answer.text()
        command.terminate()
        assert command.wait(PATIENCE_S) == 0


async def test_one_group_that_fails_ends_the_others(deployment: Deployment) -> None:
    """Of two named groups only those run; when the worker of one is killed, the command ends the other and fails."""
    names = [group.name for group in TOPOLOGY[:2]]
    with npo_worker(deployment, *names) as command:
        await until(lambda: all(at_work(deployment, name) for name in names))
        children = psutil.Process(command.pid).children(recursive=True)
        workers = [child for child in children if "streams.engine.worker" in child.cmdline()]
        assert sorted(worker.cmdline()[-1] for worker in workers) == sorted(names)
        workers[0].kill()
        assert command.wait(PATIENCE_S) == 1
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def is_free(port: int) -> bool:
    """Whether nobody listens on a port."""
    return all(connection.laddr.port != port for connection in psutil.net_connections("tcp") if connection.laddr)
