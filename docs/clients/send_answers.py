"""Send answers: each line of standard input is one operator's answer, with the scope of its recommendation.

    echo '{"scope": "shop", "decision": "ddcc5842eb638859", "operator": "emma", "kind": "override", "reason": "not_ours"}' |
        NPO_BROKER=127.0.0.1:9092 python send_answers.py

Needs aiokafka.
"""

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaProducer

BROKER = os.environ.get("NPO_BROKER", "127.0.0.1:9092")
TOPIC = os.environ.get("NPO_TOPIC_PREFIX", "npo.") + "feedback.v1"


async def main() -> None:
    """Send answer after answer and print where each was stored."""
    producer = AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True)
    await producer.start()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = {"time_ms": time.time_ns() // 1_000_000, "revision": 1} | json.loads(line)
            # The key is the recommendation's own: its scope. aiokafka puts it where Kafka's default partitioner would.
            key = answer.pop("scope").encode()
            stored = await producer.send_and_wait(TOPIC, json.dumps(answer).encode(), key=key)
            # It is taken when the recommendation comes with life `answered` and positions.feedback = offset + 1.
            told = {"decision": answer["decision"], "partition": stored.partition, "offset": stored.offset}
            print(json.dumps(told), flush=True)
    finally:
        await producer.stop()


asyncio.run(main())
