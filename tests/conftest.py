"""What all tests share: one broker and one Valkey for the session, names of a test's own, the labelled data sets."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streams.embedded import Kafka, Valkey, start_kafka, start_valkey

# No deadline: the machine may be busy, and no test asserts a wall time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real broker, started when the first test asks for it."""
    with start_kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A real Valkey server, started when the first test asks for it."""
    with start_valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has, fit for topics, groups and transactional ids."""
    return re.sub(r"[^a-zA-Z0-9-]+", "-", request.node.nodeid.removeprefix("tests/")).strip("-")[-200:]


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The labelled data sets: NPO_SHARED_DATA, else `../shared/data` beside the clone; skips where there are none."""
    path = Path(os.environ.get("NPO_SHARED_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no labelled data sets at {path}: set NPO_SHARED_DATA to their directory")
    return path
