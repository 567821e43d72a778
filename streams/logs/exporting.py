"""From the topics of a deployment to an exported log."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.step import Block
from schemas import topics
from schemas.errors import TopologyError
from schemas.settings import Deployment, Settings
from streams.groups import TaskGroup, consumer_group
from streams.logs.files import Manifest, Part, prepare, topic_writer, write_manifest
from streams.logs.reading import Bounds, bounds, committed_positions, open_reader, partition_counts, read_blocks

# The commit markers of one transaction reach its partitions within milliseconds of each other.
SETTLE_S = 0.5

Shown = Callable[[str, int, int], object]


async def export_log(deployment: Deployment, settings: Settings, topology: Iterable[TaskGroup], directory: Path, show: Shown) -> Manifest:
    """Write every topic of a deployment, committed records only, up to the ends as of now, and the manifest.

    But for the audit topic: people's names stay where they are.

    What tasks had recorded of their progress is asked for first, then what they wrote, then what they read: so in a log
    taken from running workers every recorded block has its outputs and its inputs.

    Args:
        deployment: where from.
        settings: those that its workers run under.
        topology: the groups whose positions to note.
        directory: where to; made if absent.
        show: called with a topic, how many more of its offsets are read, and how many more there are to read.

    Raises:
        LogFileError: the directory holds a log already.
        TopologyError: the broker has none of the topics.
        PositionError: the broker deletes what is being read.
    """
    prepare(directory)
    counts = await partition_counts(deployment)
    counts.pop(topics.AUDIT.name, None)
    if not counts:
        raise TopologyError(f"{deployment.broker} has no topic that begins with {deployment.topic_prefix}; start one with `npo up`")
    groups = [consumer_group(deployment.application, group) for group in topology if not group.merges]
    async with open_reader(deployment) as consumer:
        processed = await committed_positions(deployment, groups)
        held = await _all_bounds(consumer, counts, deployment.topic_prefix, SETTLE_S)
        parts = {}
        for name, count in counts.items():
            places = _partitions(name, count, deployment.topic_prefix)
            show(name, 0, sum(held[place].end - held[place].first for place in places))
            with topic_writer(directory, name) as write:
                parts[name] = tuple(
                    [await _export_partition(consumer, name, place, held[place], processed.get(place), write, show) for place in places]
                )
        later = await _all_bounds(consumer, counts, deployment.topic_prefix, 0)
        quiet = later == held and await committed_positions(deployment, groups) == processed
    manifest = Manifest(parts, settings, settings.digest, deployment.topic_prefix, quiet)
    write_manifest(directory, manifest)
    return manifest


async def _export_partition(
    consumer: AIOKafkaConsumer,
    name: str,
    place: TopicPartition,
    held: Bounds,
    processed: int | None,
    write: Callable[[Block], None],
    show: Shown,
) -> Part:
    records, first_offset, position = 0, None, held.first
    async for block in read_blocks(consumer, name, place, held.first, held.end):
        write(block)
        records += len(block.offsets)
        first_offset = block.offsets[0] if first_offset is None else first_offset
        show(name, block.offsets[-1] + 1 - position, 0)
        position = block.offsets[-1] + 1
    show(name, held.end - position, 0)
    return Part(held.first, held.end, records, first_offset, position - 1 if records else None, processed)


async def _all_bounds(consumer: AIOKafkaConsumer, counts: dict[str, int], prefix: str, settle_s: float) -> dict[TopicPartition, Bounds]:
    inputs = {topic.name for topic in topics.INPUTS}
    merge = {topics.MERGE.name}
    held: dict[TopicPartition, Bounds] = {}
    for names in (merge, counts.keys() - merge - inputs, inputs):
        places = [place for name in sorted(names & counts.keys()) for place in _partitions(name, counts[name], prefix)]
        held |= await bounds(consumer, places)
        await asyncio.sleep(settle_s)
    return held


def _partitions(name: str, count: int, prefix: str) -> list[TopicPartition]:
    return [TopicPartition(topics.physical(name, prefix), partition) for partition in range(count)]
