"""Send telemetry: each line of standard input is one sample.

    echo '{"entity": "web-3", "time_ms": 1577842500000, "metrics": {"cpu_usage": 41.5, "errors": null}, "scope": "shop"}' |
        NPO_BROKER=127.0.0.1:9092 python send_telemetry.py

Needs aiokafka.
"""

import asyncio
import json
import os
import sys

from aiokafka import AIOKafkaProducer

BROKER = os.environ.get("NPO_BROKER", "127.0.0.1:9092")
TOPIC = os.environ.get("NPO_TOPIC_PREFIX", "npo.") + "telemetry.v1"


async def main() -> None:
    """Send sample after sample, each when the broker has the one before."""
    # Idempotent: sent again after a lost acknowledgement, a record is stored once; acks=all comes with it.
    producer = AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True)
    await producer.start()
    sent = 0
    try:
        # In a thread: the producer goes on while the next line is awaited.
        while line := await asyncio.to_thread(sys.stdin.readline):
            sample = json.loads(line)
            # The key keeps the samples of one entity in one partition, in their order.
            await producer.send_and_wait(TOPIC, line.strip().encode(), key=sample["entity"].encode())
            sent += 1
    finally:
        await producer.stop()
    print(f"{sent} samples are on {TOPIC}")


asyncio.run(main())
