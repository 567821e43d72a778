"""Telemetry from parquet into a real broker: every row once, in time order, under names that do not change."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from aiokafka import TopicPartition

from schemas.codecs import decode
from schemas.errors import LogFileError, SettingsError
from schemas.events import Sample
from schemas.headers import ARROW, CONTENT_TYPE, find
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import physical
from streams import admin
from streams.cli import main
from streams.cli.play import Played, parse_speed, send
from streams.embedded import Kafka
from streams.groups import TopicPlan
from streams.logs import datasets
from streams.logs.reading import bounds, open_reader, read_blocks

START_MS = 1_577_836_800_000
ROWS = {"train": 30, "test": 20}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small folder of the layout: `web` with two entities of two splits, `nab` with one file of timestamps."""
    draw = np.random.default_rng(1)
    for folder in ("web", "nab"):
        (tmp_path / folder).mkdir()
    (tmp_path / "entities.csv").write_text("dataset,entity,step_seconds\nweb,one,60\nweb,two,300\n")
    for entity in ("one", "two"):
        for split, first in (("train", 0), ("test", ROWS["train"])):
            cpu = [None if row == 3 else float(draw.normal()) for row in range(ROWS[split])]
            table = {"t": range(first, first + ROWS[split]), "cpu": cpu, "net": [float("nan")] * ROWS[split], "label": [1] * ROWS[split]}
            pl.DataFrame(table).write_parquet(tmp_path / "web" / f"{entity}.{split}.parquet")
    times = pl.Series(["2014-04-10 00:04:00", "2014-04-10 00:09:00"]).str.to_datetime()
    pl.DataFrame({"timestamp": times, "value": [1.5, 2.5], "label": [0, 1]}).write_parquet(tmp_path / "nab" / "rds.parquet")
    return tmp_path


@pytest.fixture
async def deployment(kafka: Kafka, unique_name: str) -> Deployment:
    """A telemetry topic of the test's own, with three partitions, that the broker shows."""
    deployment = Deployment(broker=kafka.bootstrap, topic_prefix=f"{unique_name[-150:]}.")
    name = physical("telemetry", deployment.topic_prefix)
    await admin.ensure(deployment, [TopicPlan(name, 3, {"message.timestamp.type": "LogAppendTime"})])
    return deployment


async def received(deployment: Deployment) -> list[tuple[str, Sample]]:
    """Read the telemetry topic: names and samples in the order of each partition, JSON and Arrow alike."""
    found: list[tuple[str, Sample]] = []
    async with open_reader(deployment) as consumer:
        for partition in range(3):
            place = TopicPartition(f"{deployment.topic_prefix}telemetry.v1", partition)
            held = (await bounds(consumer, [place]))[place]
            async for block in read_blocks(consumer, "telemetry", place, held.first, held.end):
                for key, value, headers in zip(block.keys, block.values, block.headers, strict=True):
                    assert partition_of(key or b"", 3) == partition
                    name = (find(headers, "ce_id") or b"").decode()
                    arrow = find(headers, CONTENT_TYPE) == ARROW
                    samples = list(from_arrow(value or b"")) if arrow else [decode("telemetry", value)]
                    assert {sample.entity.encode() for sample in samples} == {key}
                    found += [(name, sample) for sample in samples]
    return found


def from_arrow(value: bytes) -> Iterator[Sample]:
    """Read an Arrow record's samples."""
    for row in pa.ipc.open_stream(value).read_all().to_pylist():
        entity, scope, time_ms = (row.pop(name) for name in ("entity", "scope", "time_ms"))
        yield Sample(entity, time_ms, row, scope)


def expected(data: Path) -> dict[tuple[str, int], float | None]:
    """The `cpu` of every row of `web`, by entity and time."""
    found: dict[tuple[str, int], float | None] = {}
    for entity, step_s in (("one", 60), ("two", 300)):
        rows = pl.concat([pl.read_parquet(data / "web" / f"{entity}.{split}.parquet") for split in ROWS])
        found |= {(entity, START_MS + t * step_s * 1000): cpu for t, cpu in zip(rows["t"], rows["cpu"], strict=True)}
    return found


@pytest.mark.parametrize("form", ["json", "arrow"])
async def test_every_row_arrives_once_in_time_order(data: Path, deployment: Deployment, form: str) -> None:
    """Every row of every entity is on the topic once with its values, in time order per entity, missing as null, without its label."""
    series = datasets.load(data / "web")
    telemetry = datasets.samples(series) if form == "json" else datasets.arrow_batches(series, 7)
    played = Played(2, START_MS)
    shown: list[int] = []
    await send(deployment, telemetry, played, None, shown.append)
    found = await received(deployment)
    assert sum(shown) == played.samples == len(found) == 100
    assert {(sample.entity, sample.time_ms): sample.metrics["cpu"] for _, sample in found} == expected(data)
    assert all(sample.metrics.keys() == {"cpu", "net"} and sample.metrics["net"] is None and sample.scope == "web" for _, sample in found)
    for entity in ("one", "two"):
        times = [sample.time_ms for _, sample in found if sample.entity == entity]
        assert times == sorted(times)
    names = Counter(name for name, _ in found)
    if form == "json":
        assert names == Counter(f"web/{entity}/{row}" for entity in ("one", "two") for row in range(50))
    else:
        assert set(names) == {f"web/{entity}/{row}" for entity in ("one", "two") for row in range(0, 50, 7)}


def test_entities_are_interleaved_by_time(data: Path) -> None:
    """All sets together come in time order, whatever the steps; a limit keeps the earliest; names are the same every time."""
    series = datasets.load(data)
    played = list(datasets.samples(series))
    assert [one.time_ms for one in played] == sorted(one.time_ms for one in played)
    assert list(datasets.samples(series, 17)) == played[:17]
    assert list(datasets.samples(datasets.load(data))) == played
    assert len({dict(one.headers)["ce_id"] for one in played}) == len(played) == 102
    batches = list(datasets.arrow_batches(series, 9, 17))
    assert sum(one.samples for one in batches) == 17
    assert [one.time_ms for one in batches] == sorted(one.time_ms for one in batches)


def test_timestamps_stay_as_they_are(data: Path) -> None:
    """A file of timestamps keeps its own times, in UTC; its scope is its folder."""
    first, second = datasets.samples(datasets.load(data / "nab"))
    assert decode("telemetry", first.value) == Sample("rds", 1_397_088_240_000, {"value": 1.5}, "nab")
    assert second.time_ms - first.time_ms == 300_000


async def test_a_speed_sends_each_row_when_it_is_due(data: Path, deployment: Deployment) -> None:
    """At a speed, what is due later is sent later: broker time grows with event time, at the speed's rate or slower."""
    series = datasets.load(data / "web", ["one"])
    await send(deployment, datasets.samples(series, 11), Played(1, START_MS), 600.0, lambda _: None)
    async with open_reader(deployment) as consumer:
        place = TopicPartition(f"{deployment.topic_prefix}telemetry.v1", partition_of(b"one", 3))
        blocks = [block async for block in read_blocks(consumer, "telemetry", place, 0, 11)]
    appended = [time_ms for block in blocks for time_ms in block.timestamps_ms]
    assert len(appended) == 11
    assert appended[-1] - appended[0] >= 10 * 60_000 / 600 - 100


SPOILT = {
    "nowhere": ("nowhere", None, "no directory"),
    "empty": ("empty", "empty/README", "no parquet files"),
    "not parquet": ("web", "web/two.test.parquet", r"two\.test\.parquet"),
    "no steps": ("web", "entities.csv", "no row for web, one"),
}


@pytest.mark.parametrize(("folder", "file", "message"), SPOILT.values(), ids=SPOILT)
def test_what_is_no_telemetry_is_an_error(data: Path, folder: str, file: str | None, message: str) -> None:
    """A directory that is not of the layout gives an error that names what is wrong."""
    if file is not None:
        (data / file).parent.mkdir(exist_ok=True)
        (data / file).write_text("dataset,entity,step_seconds\n")
    with pytest.raises(LogFileError, match=message):
        datasets.load(data / folder)


TABLES = {
    "no time": ({"x": [1.0]}, "neither a column"),
    "no metrics": ({"timestamp": [datetime(2020, 1, 1, tzinfo=UTC)]}, "no metrics"),
    "words for times": ({"timestamp": ["x"], "value": [1]}, r"odd\.parquet"),
    "words for values": ({"timestamp": [datetime(2020, 1, 1, tzinfo=UTC)], "value": ["x"]}, r"odd\.parquet"),
    "no step": ({"t": [1], "value": [1]}, "no row for nab, odd"),
}


@pytest.mark.parametrize(("table", "message"), TABLES.values(), ids=TABLES)
def test_a_table_that_is_no_telemetry_is_an_error(data: Path, table: dict[str, list[object]], message: str) -> None:
    """A parquet file without times, metrics or numbers gives an error that names it."""
    pl.DataFrame(table).write_parquet(data / "nab" / "odd.parquet")
    with pytest.raises(LogFileError, match=message):
        datasets.load(data / "nab")


def test_unknown_entities_and_speeds_are_errors(data: Path) -> None:
    """An entity that is not there is named with those that are; a speed is `max` or a positive number."""
    with pytest.raises(LogFileError, match="no entity three; it has one, two"):
        datasets.load(data / "web", ["one", "three"])
    for speed in ("fast", "0", "-1", "nan", "inf"):
        with pytest.raises(SettingsError, match="--speed"):
            parse_speed(speed)
    assert (parse_speed("max"), parse_speed("60")) == (None, 60.0)


def test_the_command_tells_what_it_sent(
    data: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`npo play --json` ends with 0 and prints counts; a wrong directory ends with 1 and a message."""
    monkeypatch.setenv("NPO_BROKER", str(deployment.broker))
    monkeypatch.setenv("NPO_TOPIC_PREFIX", deployment.topic_prefix)
    assert main(["play", str(data / "web"), "--json", "--entities", "one", "--limit", "20"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["records"], told["entities"], told["first_ms"]) == (20, 20, 1, START_MS)
    assert main(["play", str(data / "none")]) == 1
    assert "no directory" in capsys.readouterr().err


def test_the_labelled_sets_are_of_the_layout(shared_data: Path) -> None:
    """Every row that entities.csv counts is there, and no label is among the metrics."""
    series = datasets.load(shared_data)
    counted = pl.read_csv(shared_data / "entities.csv")
    assert {(one.scope, one.entity): len(one.times_ms) for one in series} == {
        (row["dataset"], row["entity"]): row["train_rows"] + row["test_rows"] for row in counted.iter_rows(named=True)
    }
    assert not any("label" in one.metrics for one in series)
