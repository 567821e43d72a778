"""What the console's tests share: a deployment with topics of its own, and a console and a publisher that run beside the tests."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka, Valkey
from streams.groups import plan_topics
from streams.topology import TOPOLOGY
from tests.console.serving import call, published, served, until

PARTITIONS = 2
OK = 200


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest, kafka: Kafka, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment of this module's own, whose topics exist; its console has a free port."""
    name = re.sub(r"[^a-z0-9-]+", "-", request.node.name.rpartition("/")[2])
    home: Path = tmp_path_factory.mktemp(name)
    wanted = Deployment(
        broker=kafka.bootstrap,
        redis=valkey.url,
        home=home,
        console_port=0,
        topic_prefix=f"{name}.",
        application=name,
        partitions=PARTITIONS,
    )
    asyncio.run(admin.ensure(wanted, plan_topics(TOPOLOGY, PARTITIONS, application=name, prefix=f"{name}.", keep=True)))
    return wanted


@pytest.fixture(scope="module")
def console(deployment: Deployment) -> Iterator[str]:
    """The address of a console with a read model that is kept up to date."""
    with published(deployment), served(deployment) as address:
        until(lambda: call(address, "GET", "/api/v1/scopes").status == OK)
        yield address
