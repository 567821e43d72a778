"""Dead letters of a deployment: how many each topic has, and what the latest says."""

from aiokafka import TopicPartition
from msgspec import Struct

from agents.step import Block
from schemas import topics
from schemas.headers import find
from schemas.settings import Deployment
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks

# Markers of transactions are no records, so letters are counted by reading them; beyond so many offsets, the last ones are read.
READ_MAX, TAIL = 20_000, 500


class Letters(Struct):
    """The dead letters of one topic.

    Attributes:
        count: How many there are; with `exact` false, offsets, of which some are no records.
        reason: Of the latest.
        detail: Of the latest.
        time_ms: When the latest was written, by the broker's clock.
        exact: Whether `count` counts records.
    """

    count: int = 0
    reason: str = ""
    detail: str = ""
    time_ms: int = -1
    exact: bool = True

    def add(self, block: Block) -> None:
        """Note the latest letter of a block."""
        if block.timestamps_ms[-1] >= self.time_ms:
            self.time_ms = block.timestamps_ms[-1]
            self.reason, self.detail = (
                (find(block.headers[-1], name) or b"").decode(errors="replace") for name in ("npo_reason", "npo_detail")
            )


async def read_letters(deployment: Deployment) -> dict[str, Letters]:
    """Return the dead letters of every topic that has some, by the topic that they come from."""
    counts = await partition_counts(deployment)
    found: dict[str, Letters] = {}
    async with open_reader(deployment) as consumer:
        for topic in topics.TOPICS:
            name = topics.dead_letter(topic.name)
            physical = topics.physical(name, deployment.topic_prefix)
            places = [TopicPartition(physical, partition) for partition in range(counts.get(name, 0))]
            letters = Letters()
            for place, (first, end) in (await bounds(consumer, places)).items():
                whole = end - first <= READ_MAX
                async for block in read_blocks(consumer, name, place, first if whole else end - TAIL, end):
                    letters.add(block)
                    letters.count += len(block.offsets) if whole else 0
                letters.count += 0 if whole else end - first
                letters.exact &= whole
            if letters.count:
                found[topic.name] = letters
    return found
