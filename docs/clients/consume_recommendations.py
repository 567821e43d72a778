"""Consume recommendations: print each moment of each recommendation's life as one line of JSON.

    NPO_BROKER=127.0.0.1:9092 python consume_recommendations.py my-group

Needs aiokafka.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer

BROKER = os.environ.get("NPO_BROKER", "127.0.0.1:9092")
TOPIC = os.environ.get("NPO_TOPIC_PREFIX", "npo.") + "recommendation.v1"
LIVES = {
    "opened": "new: somebody should answer",
    "updated": "the same fault was seen again, or by more peers",
    "answered": "an answer came, was changed or was taken back",
    "cleared": "the entity looks usual again; an answer still counts",
    "expired": "nobody answered in time",
}


def handle(event: dict[str, Any]) -> None:
    """Act on one moment; after a crash it may come again, so do by `id` what may be done twice."""
    if event["life"] not in LIVES:
        return  # v1 may gain words: skip those that you do not know
    answers = {answer["operator"]: answer["kind"] for answer in event["answers"]}
    told = {name: event[name] for name in ("id", "life", "scope", "entity", "summary", "positions")}
    print(json.dumps({**told, "says": LIVES[event["life"]], "answers": answers}), flush=True)


async def main(group: str) -> None:
    """Hand every committed record to `handle`, at least once and in the order of its scope."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=BROKER,
        group_id=group,
        isolation_level="read_committed",  # the default shows records of transactions that were aborted
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    handle(json.loads(record.value))
                await consumer.commit()  # only now: what was not handled comes again


with suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1]))
