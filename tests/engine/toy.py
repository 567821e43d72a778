"""A topology whose results tell the order in which its inputs were taken: what the engine's tests run workers on."""

import json
import time

from agents.step import Block, Context, Output, Result, Rows
from schemas.topics import CONTROL, Retention, Topic
from streams.groups import Agent, TaskGroup


def _topic(name: str) -> Topic:
    return Topic(name, "key", Retention.LONG, by_scope=True, carries="what a test writes")


ALPHA, BETA, SINGLE, OUT = map(_topic, ("alpha", "beta", "single", "out"))
MASK = (1 << 64) - 1
SEEDS = {"alpha": 0x9E3779B97F4A7C15, "beta": 0xC2B2AE3D27D4EB4F, "control": 0x165667B19E3779F9, "single": 0x27D4EB2F165667C5}

# More than the topics of a plan take.
HUGE_BYTES = 9 << 20
POISON, HUGE, HANG, FORGET = b"poison", b"huge", b"hang", b"forget"


def mix(state: int, topic: str, partition: int, offset: int) -> int:
    """Fold one record into a key's state: no other order of the same records gives the same number."""
    return (state * 6364136223846793005 + SEEDS[topic] + partition * 31 + offset + 1) & MASK


def step(rows: Rows, block: Block, context: Context) -> Result:
    """Fold each record into the row of its key and of its partition; write one output a record with what came of it."""
    changed: dict[bytes, bytes | None] = {}
    outputs = []

    def fold(key: bytes, offset: int) -> int:
        row = changed[key] if key in changed else rows.get(key)
        state = mix(int(row or b"0"), block.topic, block.partition, offset)
        changed[key] = b"%d" % state
        return state

    positions = dict(context.positions)
    for index, (offset, value) in enumerate(zip(block.offsets, block.values, strict=True)):
        key = block.keys[index] or b""
        if value == POISON:
            raise ValueError("poison")
        while value == HANG:
            time.sleep(1)
        positions[block.topic] = offset + 1
        result = {"topic": block.topic, "partition": block.partition, "offset": offset, "state": fold(key, offset)}
        result |= {"all": fold(b"all", offset), "positions": positions}
        if value == FORGET:
            changed[key] = None
        written = json.dumps(result).encode()
        if value == HUGE:
            written += b" " * HUGE_BYTES
        outputs.append(Output("out", key, written, (("ce_id", b"%s-%d-%d" % (block.topic.encode(), block.partition, offset)),), index))
    return Result(outputs, changed)


TOPOLOGY = (
    TaskGroup("pair", state="toys", agents=(
        Agent("first", reads=(ALPHA, CONTROL), step=step, writes=(OUT,)),
        Agent("second", reads=(BETA,), step=step, writes=(OUT,)),
    )),
    TaskGroup("lone", state="toys", agents=(Agent("only", reads=(SINGLE,), step=step, writes=(OUT,)),)),
)  # fmt: skip
