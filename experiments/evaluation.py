"""`npo evaluate`: the pipeline over labelled telemetry, and what it surfaced, as known at the time."""

import json as json_text
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from msgspec import to_builtins
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.evaluation_alerts import write
from experiments.evaluation_answers import OPERATOR, TEAM, Operator
from experiments.evaluation_data import load_courses, load_faults
from experiments.evaluation_run import KEPT, RECOMMENDATION, Run
from experiments.lockstep import PARTITIONS, Memory, Pipeline
from experiments.lockstep_kafka import running
from experiments.operators import Behaviour
from schemas.errors import LogFileError
from schemas.settings import Catalogue, load_settings
from streams.home import declared
from streams.stack import running_stack
from streams.topology import TOPOLOGY

SHOWN = ("entities", "scenarios", "surfaced", "answered", "likes", "overrides")
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def evaluate(
    data_dir: Path,
    *,
    alerts: Path,
    answers: Literal["none", "labels"] = "none",
    error: Share = 0.05,
    silence: Share = 0.3,
    seed: int = 0,
    through: Literal["memory", "kafka"] = "memory",
    json: bool = False,
) -> int:
    """Run the pipeline over labelled telemetry and write what it surfaced: dataset, entity, and rows [start, end) of the test part.

    All entities go through the same steps in time order, the train part first (of an entity without one, the first 15 %) as
    history without answers. The scope is the data set's name. A recommendation stands from the row at which it was surfaced,
    for 30 minutes after it was last opened or updated, until it is answered, cleared or expired; nothing of the future is used.

    Args:
        data_dir: The folder above the data sets, with entities.csv and, for answers, segments.csv.
        alerts: The parquet file to write.
        answers: Nobody answers, or one operator of the roster does, from the labels, some 22 minutes after being shown it.
        error: Share of the answers that say the opposite of the labels.
        silence: Share of the recommendations that nobody answers.
        seed: Seed of errors, silence and delays.
        through: The steps in this process, or also a running stack of one partition, which must come to the same.
        json: Print the counts as JSON.

    Raises:
        LogFileError: The data is not of this layout, or the file cannot be written.
        StackError: The running stack came to something else than the run in memory.
    """
    if alerts.is_dir() or not alerts.absolute().parent.is_dir():
        raise LogFileError(f"cannot write {alerts}: give the name of a file in a folder that is there")
    begun_s = time.monotonic()
    courses = load_courses(data_dir)
    behaviour = Behaviour(error=error, silence=silence if answers == "labels" else 1.0)
    operator = Operator(behaviour, seed, courses, load_faults(data_dir, courses) if answers == "labels" else {})
    deployment = declared()
    settings = load_settings(deployment)
    roster = replace(settings.catalogue, operators={**settings.catalogue.operators, OPERATOR: TEAM})
    memory = Memory(TOPOLOGY, replace(settings, catalogue=roster), KEPT)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True), disable=json)
    with _stack(roster) if through == "kafka" else nullcontext() as stack, bars as bar:
        task = bar.add_task("samples", total=sum(len(course.clock_ms) for course in courses.values()))
        run = Run(memory, courses, operator, stack)
        run.go(lambda count: bar.advance(task, count))
    table = run.alerts.table(courses)
    write(table, alerts)
    _report(run, table.num_rows, time.monotonic() - begun_s, alerts, json=json)
    return 0


@contextmanager
def _stack(roster: Catalogue) -> Iterator[Pipeline]:
    """Run a stack of one partition in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="npo-evaluate-") as directory:
        home = Path(directory)
        catalogue = home / "catalogue.yaml"
        catalogue.write_bytes(msgspec.yaml.encode(roster))
        # Its own servers, whatever the environment names.
        with (
            running_stack(home / "stack", broker=None, redis=None, partitions=PARTITIONS, catalogue=catalogue) as deployment,
            running(deployment, TOPOLOGY, (RECOMMENDATION,)) as pipeline,
        ):
            yield pipeline


def _report(run: Run, alerts: int, seconds: float, path: Path, *, json: bool) -> None:
    """Print what came of each data set."""
    counts = run.summary()
    if json:
        found = {"alerts": str(path), "rows": alerts, "seconds": seconds, "refused": run.refused, "datasets": to_builtins(counts)}
        print(json_text.dumps(found))  # noqa: T201 - the command's result
        return
    console = Console()
    table = Table("data set", *SHOWN, title="after history")
    for dataset, row in counts.items():
        table.add_row(dataset, *(f"{getattr(row, name):,}" for name in SHOWN))
    console.print(table)
    for reason, count in run.refused.items():
        console.print(f"{count} records refused, {reason}", style="red", highlight=False)
    console.print(f"{path}: {alerts:,} alerts, {seconds:.0f} s", highlight=False, soft_wrap=True)
