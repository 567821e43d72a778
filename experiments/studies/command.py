"""`npo simulate`: run simulated studies, show their numbers, and write their pages."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.simulator.run import asked
from experiments.simulator.through import check_through
from experiments.studies import pages
from experiments.studies.running import Mapper, tasks, workers
from experiments.studies.study import Results, Study, StudyError, collect
from experiments.studies.table import STUDIES, load
from schemas.settings import DEPLOY, Profile, read_yaml

SEEDS = 20
SCENARIOS = 150
RESULTS = Path("docs/results")
DEFAULT = "default"


def simulate(  # noqa: PLR0913 - one for each option
    study: str,
    *,
    seeds: Annotated[int, Parameter(validator=Number(gte=2))] = SEEDS,
    profile: str = DEFAULT,
    jobs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    out: Path = RESULTS,
    redraw: bool = False,
    json: bool = False,
    through: Literal["loop", "memory", "kafka"] = "loop",
    scenarios: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
) -> int:
    """Run a simulated study over many seeds: a table here; its numbers, picture and page in a folder.

    The same seeds give the same bytes, whatever the number of jobs. A study's files are written when it is done.

    Args:
        study: Its name; `all` for all of them, `list` to see them.
        seeds: How many seeds, from 0 on.
        profile: Name of a profile of deploy/profiles, or a file.
        jobs: How many processes; as many as there are processors by default.
        out: The folder to write to.
        redraw: Run nothing; make pictures and pages anew from the numbers in the folder.
        json: Print the numbers as JSON instead of tables.
        through: `memory` or `kafka` sends the beginning of each condition's first run through the topics, beside the loop of plain
            calls, and checks that both write the same events; nothing is measured then.
        scenarios: Of how many scenarios that beginning is, in which people and truth turn at the same share of it; 150 by default, and
            no more than the run has.

    Raises:
        StudyError: There is no such study, no numbers of it to draw from, or `scenarios` of a run that goes through no topics.
        SettingsError: The profile cannot be used.
        StackError: The topics wrote other events than the loop.
    """
    if study == "list":
        _list(json=json)
        return 0
    chosen = [load(name) for name in (STUDIES if study == "all" else [study])]
    if through != "loop":
        return check(chosen, profile_of(profile), through, scenarios or SCENARIOS)
    if scenarios is not None:
        raise StudyError(f"a study's runs are as long as it says; --scenarios {scenarios} is for --through memory or kafka")
    if redraw:
        results = [pages.read(each.name, out) for each in chosen]
        for each, found in zip(chosen, results, strict=True):
            pages.write(each, found, out)
    else:
        results = _run(chosen, list(range(seeds)), profile, jobs or os.cpu_count() or 1, out)
    pages.write_index(out)
    if json:
        print(msgspec.json.encode({each.study: each for each in results}).decode())  # noqa: T201  # the command's result
    else:
        for each, found in zip(chosen, results, strict=True):
            show(each, found, out)
    return 0


def profile_of(name: str) -> Profile:
    """Return the profile of a name in deploy/profiles, or of a file.

    Raises:
        SettingsError: It cannot be used.
    """
    known = DEPLOY / "profiles" / f"{name}.yaml"
    return read_yaml(known if known.exists() else Path(name), Profile)


def command_of(study: str, seeds: int, profile: str) -> str:
    """Return the command that makes a study's results."""
    return f"npo simulate {study} --seeds {seeds}" + ("" if profile == DEFAULT else f" --profile {profile}")


def _run(chosen: list[Study], seeds: list[int], profile: str, jobs: int, out: Path) -> list[Results]:
    read = profile_of(profile)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    results = []
    with workers(jobs) as mapper, Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("trials", total=sum(len(study.conditions) * len(seeds) for study in chosen))
        for study in chosen:
            bars.update(bar, description=study.name)
            command = command_of(study.name, len(seeds), profile)
            found, cpu_seconds = _try(study, seeds, read, command, mapper, lambda: bars.advance(bar))
            pages.write(study, found, out)
            results.append(found)
            allowed = study.cpu_seconds * len(seeds) / SEEDS
            over = ", over its budget" if cpu_seconds > allowed else ""
            bars.console.print(f"{study.name}: {cpu_seconds:.0f} of {allowed:.0f} CPU seconds{over}", highlight=False)
    return results


def _try(
    study: Study, seeds: list[int], profile: Profile, command: str, mapper: Mapper, advance: Callable[[], None]
) -> tuple[Results, float]:
    trials, cpu_seconds = [], 0.0
    for trial, took in mapper(tasks(study, seeds, profile)):
        trials.append(trial)
        cpu_seconds += took
        advance()
    return collect(study, command, profile.name, seeds, trials), cpu_seconds


def check(chosen: list[Study], profile: Profile, through: Literal["memory", "kafka"], scenarios: int) -> int:
    """Send the beginning of each condition's first run through the topics; the same world under the same profile goes once."""
    known: dict[bytes, str] = {}
    for study in chosen:
        for condition, keywords in study.conditions.items():
            found = asked(partial(study.trial, 0, profile, **keywords))
            if found is None:
                continue
            what = msgspec.msgpack.encode((found.world, found.profile))
            if what not in known:
                same = check_through(found.world, found.profile, 0, min(scenarios, found.world.scenarios), through)
                known[what] = f"{same.events} events of {same.scenarios} scenarios, {same.digest}"
            Console().print(f"{study.name}, {condition}: {known[what]}, the same through the loop and {through}", soft_wrap=True)
    if not known:
        raise StudyError(f"{', '.join(study.name for study in chosen)} asks rules alone: there is no loop to send through {through}")
    return 0


def show(study: Study, results: Results, out: Path) -> None:
    """Print a study's table and what it shows."""
    console = Console()
    shown = pages.ordered(study)
    table = Table("condition", *(measure.title for measure in shown), title=f"{study.name}: simulated, {len(results.seeds)} seeds")
    for column in table.columns[1:]:
        column.justify = "right"
    for condition in study.conditions:
        table.add_row(condition, *(pages.cell(results.summary(condition, measure.name), len(results.seeds)) for measure in shown))
    console.print(table)
    for sentence in study.words(results):
        console.print(sentence, highlight=False, soft_wrap=True)
    console.print(
        f"mean ± standard deviation over seeds, 95 % interval of the mean; {out / study.name}.md",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def _list(*, json: bool) -> None:
    known = [load(name) for name in STUDIES]
    if json:
        print(msgspec.json.encode([{"study": each.name, "question": each.question} for each in known]).decode())  # noqa: T201
        return
    table = Table("study", "question", "trials a seed", "CPU seconds, 20 seeds", box=None)
    for each in known:
        table.add_row(each.name, each.question, str(len(each.conditions)), f"≤ {each.cpu_seconds:.0f}")
    Console().print(table)
