"""Three servers that do not exist, until one's disk slows down: telemetry of the last hours to the HTTP API, to try the pipeline with.

Usage: python first_telemetry.py http://127.0.0.1:8470 [TOKEN]
"""

import json
import math
import random
import sys
import time
import urllib.request

STEP_MS, STEPS, FAULT_STEPS = 60_000, 600, 12
USUAL = {"cpu_usage": 25.0, "memory_used": 40.0, "disk_write_latency_ms": 3.0, "requests": 120.0, "error_rate": 0.5}


def sample(host: str, step: int, now_ms: int, draw: random.Random) -> dict[str, object]:
    """Return what a server says of itself at a step; the last steps of web-2 are bad ones."""
    load = 1 + 0.2 * math.sin(step / 95)
    metrics = {name: round(usual * load * draw.lognormvariate(0, 0.05), 3) for name, usual in USUAL.items()}
    if host == "web-2" and step >= STEPS - FAULT_STEPS:
        metrics["disk_write_latency_ms"] *= 7
        metrics["error_rate"] *= 4
    return {"entity": host, "scope": "shop", "time_ms": now_ms - (STEPS - 1 - step) * STEP_MS, "metrics": metrics}


def main(page: str, token: str = "") -> None:
    """Send ten hours of three servers, an hour at a time."""
    draw, now_ms = random.Random(0), time.time_ns() // 1_000_000
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    for start in range(0, STEPS, 60):
        samples = [sample(host, step, now_ms, draw) for step in range(start, start + 60) for host in ("web-1", "web-2", "web-3")]
        body = json.dumps({"samples": samples}).encode()
        request = urllib.request.Request(f"{page}/api/v1/telemetry", body, headers)
        with urllib.request.urlopen(request) as answer:
            print(answer.status, f"{len(samples)} samples")


if __name__ == "__main__":
    main(*sys.argv[1:])
