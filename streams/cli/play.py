"""`npo play`: telemetry from parquet into the telemetry topic."""

import asyncio
import json as json_text
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas import topics
from schemas.errors import SettingsError
from schemas.headers import rfc3339
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.home import connect
from streams.logs import datasets
from streams.logs.reading import partition_counts, require
from streams.logs.sending import open_sender

# What is due within this time goes with the batch at hand.
TICK_S = 0.02
SHOWN_SAMPLES = 2_000


class Played(Struct):
    """What was sent; times are the first and the last sample's."""

    entities: int
    first_ms: int
    samples: int = 0
    records: int = 0
    value_bytes: int = 0
    last_ms: int = 0
    seconds: float = 0.0
    samples_per_second: float = 0.0


def play(
    data_dir: Path,
    *,
    speed: str = "max",
    format: Literal["json", "arrow"] = "json",  # noqa: A002 - it is the option's name
    batch: Annotated[int, Parameter(validator=Number(gte=1))] = 2_048,
    entities: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    json: bool = False,
) -> int:
    """Send telemetry from parquet files to the telemetry topic, all entities interleaved in time order; never their labels.

    The scope is the data set's name; `t` = 0 is 2020-01-01T00:00Z. A sample is named `<dataset>/<entity>/<row>`, so the same
    data has the same names wherever and however often it is played.

    Args:
        data_dir: A data set's folder, e.g. data/smd, or the folder above several.
        speed: `max` for as fast as the broker takes them, or a number: so many times real time.
        format: One JSON record a sample, or one Arrow record a batch of an entity's samples.
        batch: Samples in an Arrow batch.
        entities: Only these entities.
        limit: Only so many samples, the earliest.
        json: Print what was sent as JSON.

    Raises:
        LogFileError: `data_dir` is not telemetry.
        SettingsError: `speed` is neither `max` nor a positive number.
    """
    factor = parse_speed(speed)
    series = datasets.load(data_dir, entities or ())
    total = sum(len(one.times_ms) for one in series)
    records = datasets.samples(series, limit) if format == "json" else datasets.arrow_batches(series, batch, limit)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=json) as progress:
        task = progress.add_task(data_dir.name, total=min(total, limit or total))
        played = Played(len(series), min(int(one.times_ms.min()) for one in series))
        asyncio.run(send(connect(), records, played, factor, lambda count: progress.advance(task, count)))
    if json:
        print(json_text.dumps(to_builtins(played)))  # noqa: T201 - the command's result
    else:
        Console().print(
            f"{played.samples:,} samples of {played.entities} entities, {rfc3339(played.first_ms)} to {rfc3339(played.last_ms)}: "
            f"{played.records:,} records in {played.seconds:.1f} s, {played.samples_per_second:,.0f} samples/s"
        )
    return 0


def parse_speed(speed: str) -> float | None:
    """Read the option `--speed`: None for `max`.

    Raises:
        SettingsError: neither `max` nor a positive number.
    """
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise SettingsError(f"--speed {speed} is neither `max` nor a positive number, e.g. 60 for a minute of telemetry a second")
    return factor


async def send(
    deployment: Deployment, records: Iterable[datasets.Telemetry], played: Played, speed: float | None, advance: Callable[[int], object]
) -> None:
    """Send records in their order, all at once or each when it is due.

    Args:
        deployment: where to.
        records: in time order.
        played: counts to add to.
        speed: seconds of telemetry a second; None does not wait.
        advance: called with the number of samples that were handed over.

    Raises:
        TopologyError: there is no telemetry topic.
    """
    counts = await partition_counts(deployment)
    require(counts, [topics.TELEMETRY.name], deployment)
    partitions = counts[topics.TELEMETRY.name]
    partition = cache(partial(partition_of, partitions=partitions))
    begin, shown = time.monotonic(), 0
    async with open_sender(deployment) as sender:
        for record in records:
            if speed is not None:
                wait_s = begin + (record.time_ms - played.first_ms) / 1000 / speed - time.monotonic()
                if wait_s > TICK_S:
                    await sender.push()
                    await asyncio.sleep(wait_s)
            await sender.send(topics.TELEMETRY.name, partition(record.key), record.key, record.value, record.headers)
            played.records += 1
            played.samples += record.samples
            played.value_bytes += len(record.value)
            played.last_ms = record.time_ms
            if speed is not None or played.samples - shown >= SHOWN_SAMPLES:
                advance(played.samples - shown)
                shown = played.samples
    advance(played.samples - shown)
    played.seconds = time.monotonic() - begin
    played.samples_per_second = played.samples / played.seconds
