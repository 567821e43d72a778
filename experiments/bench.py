"""`npo bench`: how fast telemetry goes through the running system, with CPU and memory of the worker; how soon a kill is in force.

Both formats run in one go on one machine, one after the other, so that what is compared is their ratio; the absolute figures are
those of the machine.
"""

import asyncio
import csv
import json as json_text
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from experiments.bench_control import measure_kill
from schemas.settings import Deployment
from streams import admin
from streams.cli.play import Played, send
from streams.groups import TaskGroup
from streams.home import find
from streams.logs import datasets
from streams.readiness import count_behind, group_states
from streams.stack import running_stack
from streams.topology import TOPOLOGY

ENTITIES, ROWS, METRICS, STEP_S = 40, 5_000, 38, 60
BATCH = 2_048
POLL_S = 0.25
FAULT = 1
ENCODING: TaskGroup = TOPOLOGY[0]

Format = Literal["json", "arrow"]


class Measured(Struct):
    """One run: from the first sample sent until the encoder has taken the last."""

    format: str
    samples: int
    seconds: float
    samples_per_second: float
    produced_per_second: float
    worker_cpu_seconds: float
    worker_cpu_seconds_per_100k: float
    worker_rss_mb: float


def bench(data_dir: Path | None = None, *, json: bool = False) -> int:
    """Measure samples a second of `npo play --speed max` for JSON and Arrow, and the delay of a kill under that load.

    Ends with 1 if anything was surfaced after a kill was in force.

    Args:
        data_dir: Telemetry of the layout of `npo play`; without it 40 made-up servers of 38 metrics, 200,000 samples.
        json: Print the figures as JSON.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = data_dir or write_servers(Path(scratch) / "made-up")
        measured = [measure(source, Path(scratch) / kind, kind) for kind in ("json", "arrow")]
        kill = measure_kill(Path(scratch))
    code = FAULT if kill.opened_while_killed else 0
    if json:
        print(json_text.dumps({"telemetry": to_builtins(measured), "kill": to_builtins(kill)}))  # noqa: T201  # the command's result
        return code
    table = Table("format", "samples", "samples/s", "produced/s", "CPU s / 100k", "RSS MB", title="npo play --speed max, encoding worker")
    for run in measured:
        table.add_row(
            run.format,
            f"{run.samples:,}",
            f"{run.samples_per_second:,.0f}",
            f"{run.produced_per_second:,.0f}",
            f"{run.worker_cpu_seconds_per_100k:.2f}",
            f"{run.worker_rss_mb:.0f}",
        )
    Console().print(table)
    Console().print(
        f"kill of all scopes in force after {kill.p50_ms:.0f} ms (p50), {kill.p95_ms:.0f} ms (p95), {kill.max_ms:.0f} ms at most, in "
        f"{kill.rounds} rounds, {kill.under_load} of them under full load; {kill.opened:,} recommendations were surfaced between them, "
        f"{kill.opened_while_killed} after a kill was in force",
        highlight=False,
        soft_wrap=True,
    )
    return code


def measure(source: Path, home: Path, kind: Format) -> Measured:
    """Play `source` into a fresh stack and wait until the encoder has taken all of it."""
    series = datasets.load(source, ())
    records = datasets.samples(series, None) if kind == "json" else datasets.arrow_batches(series, BATCH, None)
    played = Played(len(series), min(int(one.times_ms.min()) for one in series))
    with running_stack(home) as deployment:
        worker = encoding_worker(deployment)
        before, start = cpu_seconds(worker), time.perf_counter()
        asyncio.run(send(deployment, records, played, None, lambda _: None))
        asyncio.run(drained(deployment))
        seconds, used = time.perf_counter() - start, cpu_seconds(worker) - before
        rss_mb = worker.memory_info().rss / 2**20
    return Measured(
        kind, played.samples, seconds, played.samples / seconds, played.samples_per_second, used, used / played.samples * 1e5, rss_mb
    )


def encoding_worker(deployment: Deployment) -> psutil.Process:
    """Return the process of the encoding worker."""
    state = find(deployment.home)
    (pid,) = [process.pid for process in (state.processes if state else []) if process.name == f"{ENCODING.name}-1"]
    return psutil.Process(pid)


def cpu_seconds(process: psutil.Process) -> float:
    """Return user and system time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def drained(deployment: Deployment) -> None:
    """Wait until the encoding group has taken every sample."""
    async with admin.open_admin(deployment) as client:
        while True:
            states = await group_states(deployment, client, [ENCODING])
            await count_behind(deployment, client, [ENCODING], states)
            if not states[0].behind:
                return
            await asyncio.sleep(POLL_S)


def write_servers(folder: Path) -> Path:
    """Write made-up telemetry of the layout of `npo play`: noise around levels of their own, seeded."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(ENTITIES):
        noise = random.normal(1.0, 0.1, size=(ROWS, METRICS)) * random.uniform(0.1, 10, size=METRICS)
        columns: dict[str, pa.Array] = {"t": pa.array(np.arange(ROWS))}
        columns |= {f"server_metric_{index}": pa.array(noise[:, index]) for index in range(METRICS)}
        pq.write_table(pa.table(columns), folder / f"server-{number}.train.parquet")
    with (folder.parent / "entities.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "entity", "train_rows", "test_rows", "metrics", "step_seconds"])
        writer.writerows([folder.name, f"server-{number}", ROWS, 0, METRICS, STEP_S] for number in range(ENTITIES))
    return folder
