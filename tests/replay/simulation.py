"""A deployment in memory: topics as lists, tasks that take their inputs in a drawn order, and the log that follows."""

import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from agents.step import Block
from schemas import topics
from schemas.codecs import encode
from schemas.events import Merge, MergeStep
from schemas.headers import Headers
from schemas.identity import partition_of
from schemas.settings import Catalogue, CatalogueAction, Policy, Profile, Settings
from streams.groups import TaskGroup
from streams.logs.files import Log, Manifest, Part, topic_writer, write_manifest
from streams.logs.replay import Taken, between, fold, merge_key

# Long after all that the logs of tests tell of.
APPENDED_MS = 1_900_000_000_000
Topics = dict[str, list[Block]]
SETTINGS = Settings(
    Profile("test"), Policy("1", ()), Catalogue((CatalogueAction("restart", ("*",), blast_radius=1, reversible=True),))
)  # fmt: skip


def empty(topic: str, partition: int) -> Block:
    """Return a block without records."""
    return Block(topic, partition, [], [], [], [], [])


def append(held: Topics, topic: str, partition: int, record: tuple[int, bytes | None, bytes | None, Headers], gap: int = 0) -> None:
    """Append a record (time, key, value, headers), `gap` offsets after the last one, as markers of transactions leave them."""
    block = held[topic][partition]
    block.offsets.append((block.offsets[-1] + 1 if block.offsets else 0) + gap)
    time_ms, key, value, headers = record
    block.timestamps_ms.append(time_ms)
    block.keys.append(key)
    block.values.append(value)
    block.headers.append(headers)


def simulate(topology: Iterable[TaskGroup], inputs: Topics, settings: Settings, seed: int, block_records: int = 7) -> Topics:
    """Run every task of a topology in memory, its inputs cut into blocks and merged at random; return all topics."""
    draw = random.Random(seed)  # noqa: S311 - a test's order
    partitions = len(next(iter(inputs.values())))
    held = {topic: list(blocks) for topic, blocks in inputs.items()}
    for group in topology:
        written = [topic.name for topic in group.outputs] + [topics.dead_letter(topic.name) for topic in group.inputs]
        for topic in (*written, *([topics.MERGE.name] if group.merges else [])):
            held.setdefault(topic, [empty(topic, partition) for partition in range(partitions)])
        for partition in range(partitions):
            order = list(_cut_and_merge([held[topic.name][partition] for topic in group.inputs], draw, block_records))
            rows: dict[bytes, bytes] = {}
            for output in fold(group, order, settings, partitions, rows):
                place = partition_of(output.key, partitions)
                append(held, output.topic, place, (APPENDED_MS, output.key, output.value, output.headers), gap=draw.random() < 0.1)
            if group.merges:
                _record_merge(held, group.name, partition, order, partitions, draw)
    return held


def _cut_and_merge(blocks: list[Block], draw: random.Random, block_records: int) -> Iterator[Taken]:
    taken = [0] * len(blocks)
    while open_inputs := [index for index, block in enumerate(blocks) if taken[index] < len(block.offsets)]:
        # By what is left of each, so that all come to their end together.
        index = draw.choices(open_inputs, [len(blocks[index].offsets) - taken[index] for index in open_inputs])[0]
        start, taken[index] = taken[index], min(taken[index] + draw.randint(1, block_records), len(blocks[index].offsets))
        piece = between(blocks[index], start, taken[index])
        # The fetch position after a block: at times already beyond the markers that follow it.
        following = blocks[index].offsets[taken[index]] if taken[index] < len(blocks[index].offsets) else piece.offsets[-1] + 1
        yield Taken(piece, draw.choice([piece.offsets[-1] + 1, following]))


def _record_merge(held: Topics, group: str, partition: int, order: list[Taken], partitions: int, draw: random.Random) -> None:
    positions: dict[str, int] = {}
    steps: list[MergeStep] = []
    key = merge_key(group, partition)
    for block, following in order:
        steps.append(MergeStep(block.topic, positions.get(block.topic, 0), following))
        positions[block.topic] = following
        if draw.random() < 0.5:
            append(
                held, topics.MERGE.name, partition % partitions, (APPENDED_MS, key, encode(Merge(group, partition, tuple(steps))), ()), 1
            )
            steps = []
    if steps:
        append(held, topics.MERGE.name, partition % partitions, (APPENDED_MS, key, encode(Merge(group, partition, tuple(steps))), ()), 1)


def memory_log(held: Topics, settings: Settings, *, quiet: bool = True) -> Log:
    """Return topics as a log."""

    def part(block: Block) -> Part:
        if not block.offsets:
            return Part(0, 0, 0, None, None)
        return Part(0, block.offsets[-1] + 1, len(block.offsets), block.offsets[0], block.offsets[-1])

    parts = {topic: tuple(part(block) for block in blocks) for topic, blocks in held.items()}

    def read(topic: str, partition: int) -> Iterator[Block]:
        if held[topic][partition].offsets:
            yield held[topic][partition]

    return Log(Manifest(parts, settings, settings.digest, "npo.", quiet), read)


def save(log: Log, directory: Path) -> None:
    """Write a log as `npo export` does."""
    for topic, parts in log.manifest.topics.items():
        with topic_writer(directory, topic) as write:
            for partition in range(len(parts)):
                for block in log.read(topic, partition):
                    write(block)
    write_manifest(directory, log.manifest)


def merge_changed(held: Topics, partition: int, change: Mapping[int, int]) -> Topics:
    """Return the topics with the steps of one merge partition put into another order: step `i` becomes step `change[i]`."""
    block = held[topics.MERGE.name][partition]
    merges = [msgspec.json.decode(value or b"", type=Merge) for value in block.values]
    steps = [step for merge in merges for step in merge.steps]
    changed = iter([steps[change.get(index, index)] for index in range(len(steps))])
    values = [encode(msgspec.structs.replace(merge, steps=tuple(next(changed) for _ in merge.steps))) for merge in merges]
    blocks = list(held[topics.MERGE.name])
    blocks[partition] = block._replace(values=list(values))
    return {**held, topics.MERGE.name: blocks}
