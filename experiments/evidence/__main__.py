"""`python -m experiments.evidence`: run what is missing, print every point, and write the page."""

import os
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.evidence.page import limits, measured, page, reached
from experiments.evidence.points import POINTS
from experiments.evidence.running import RUNS, conditions, found, gather, read, tidy
from experiments.studies.command import RESULTS, SEEDS

PAGE = "evidence.md"


def evidence(
    only: str = "",
    *,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = SEEDS,
    scenarios: Annotated[int | None, Parameter(validator=Number(gte=300))] = None,
    jobs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    out: Path = RESULTS,
) -> None:
    """Run what the points to be reached need and a folder does not hold yet, and write the page there.

    Args:
        only: Part of the name of the points that are run; all by default.
        seeds: How many seeds, from 0 on.
        scenarios: Of each run of the simulator, instead of those declared, to try this out in another folder.
        jobs: How many processes; as many as there are processors by default.
        out: The folder to write to.
    """
    points = [each for each in POINTS if only in each.name]
    chosen = conditions((name for each in points for name in each.conditions), scenarios)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("runs", total=None)
        numbers = gather(
            out / RUNS,
            chosen,
            range(seeds),
            jobs or os.cpu_count() or 1,
            lambda count, total: bars.update(bar, completed=count, total=total),
        )
    table = Table("point", "measured", "to be", "reached", title=f"simulated, {seeds} seeds")
    for each in points:
        table.add_row(each.name, measured(each, numbers), limits(each), reached(each, numbers).strip("*"))
    Console().print(table)
    known = conditions((name for each in POINTS for name in each.conditions), scenarios)
    tidy(out / RUNS, known)
    (out / PAGE).write_text(page(found(read(out / RUNS), known)), encoding="utf-8")


if __name__ == "__main__":
    cyclopts.run(evidence)
