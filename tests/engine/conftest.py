"""What the engine's tests share: topics and workers of a test's own."""

from collections.abc import AsyncIterator
from hashlib import blake2b
from pathlib import Path

import pytest

from streams.embedded import Kafka
from tests.engine.lab import Lab


@pytest.fixture
async def lab(kafka: Kafka, unique_name: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """A test's own topics on the shared broker; what it leaves running is killed."""
    lab = Lab(kafka.bootstrap, f"toy-{blake2b(unique_name.encode(), digest_size=4).hexdigest()}", tmp_path)
    await lab.create_topics()
    yield lab
    lab.close()
