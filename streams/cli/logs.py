"""`npo export`, `npo import` and `npo replay`: logs of a deployment."""

import asyncio
import json as json_text
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import to_builtins
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from schemas import topics
from schemas.errors import ReplayError
from schemas.settings import load_settings
from streams.cli import whatif
from streams.home import connect
from streams.logs import importing
from streams.logs.compare import compare, describe
from streams.logs.exporting import export_log
from streams.logs.files import open_log
from streams.logs.replay import Produced
from streams.logs.replay import replay as replay_log
from streams.topology import TOPOLOGY


def export(directory: Path, *, json: bool = False) -> int:
    """Write every topic, committed records only and up to this moment, to parquet files with a manifest.

    Args:
        directory: Where to; made if absent, refused if it holds a log.
        json: Print what was written as JSON.

    Raises:
        LogFileError: the directory holds a log already.
        TopologyError: the broker has none of the topics.
    """
    deployment = connect()
    with _progress(quiet=json) as progress:
        tasks: dict[str, TaskID] = {}

        def show(topic: str, read: int, more: int) -> None:
            if topic not in tasks:
                tasks[topic] = progress.add_task(f"{topic}, offsets", total=more)
            progress.advance(tasks[topic], read)

        manifest = asyncio.run(export_log(deployment, load_settings(deployment), TOPOLOGY, directory, show))
    counts = {topic: sum(part.records for part in parts) for topic, parts in manifest.topics.items()}
    told = "" if manifest.quiet else "; records were written meanwhile: the ends of the topics do not fit together exactly"
    _print({"directory": str(directory), "records": counts, "quiet": manifest.quiet, "settings": manifest.digest}, json=json, text=[
        f"{sum(counts.values()):,} records of {len(counts)} topics in {directory}{told}",
    ])  # fmt: skip
    return 0


def import_log(
    directory: Path,
    *,
    names: Annotated[str | None, Parameter(name="--topics")] = None,
    broker: str | None = None,
    wait_s: float = importing.WAIT_S,
    json: bool = False,
) -> int:
    """Send the inputs of an exported log to this deployment, by their original append time; its workers do the rest.

    Records keep key, value and headers, and their names: what derives from them is named as it was. Answers, outcomes, commands and
    models are held back until the decisions that they came after have appeared. Models that the trainer put in force are not sent:
    the deployment's own trainer makes them again.

    Args:
        directory: What `npo export` wrote.
        names: Only these input topics, separated by commas, e.g. feedback,control.
        broker: host:port to send to instead.
        wait_s: How long to wait for a decision while no decision at all appears.
        json: Print what was sent as JSON.

    Raises:
        LogFileError: not a complete log, or a topic that is no input of it.
        TopologyError: the deployment lacks a topic.
    """
    deployment = connect() if broker is None else connect().model_copy(update={"broker": broker})
    log = open_log(directory)
    held = [topic.name for topic in topics.INPUTS if topic.name in log.manifest.topics]
    chosen = held if names is None else [name.strip() for name in names.split(",")]
    total = sum(part.records for name in chosen for part in log.manifest.topics.get(name, ()))
    with _progress(quiet=json) as progress:
        task = progress.add_task("import", total=total)
        imported = asyncio.run(importing.import_log(deployment, TOPOLOGY, log, chosen, lambda count: progress.advance(task, count), wait_s))
    lines = [f"{count:,} {name}" for name, count in imported.records.items()]
    if imported.not_found:
        lines.append(f"{imported.not_found:,} were sent although the decision before them did not appear: do workers run? (`npo status`)")
    if imported.left_out:
        lines.append(f"{imported.left_out:,} left out: tasks wrote them, and those of this deployment write their own")
    used = load_settings(deployment).digest
    if used != log.manifest.digest:
        lines.append(f"the log was made under settings {log.manifest.digest}, these are {used}: what derives from it may differ")
    settings = {"settings": used, "settings_of_log": log.manifest.digest}
    _print(to_builtins(imported) | settings, json=json, text=lines)
    return 0


def replay(
    directory: Path,
    *,
    profile: str | None = None,
    policy: Path | None = None,
    without: str = "",
    json: bool = False,
) -> int:
    """Run an exported log through the steps again, without a broker, and compare every derived record, byte for byte.

    Ends with 1 if any record differs, is missing, or is too many. With another profile or policy, or without a source, it says
    instead what would have happened: cost per scenario with its interval, or that the log cannot tell.

    Args:
        directory: What `npo export` wrote.
        profile: Hold this profile against the log: a YAML file, or `default` or `paper`.
        policy: Hold this safety policy against it.
        without: Leave out what this operator said, or a source of outcomes, e.g. outcome:tickets.
        json: Print the result as JSON.

    Raises:
        LogFileError: not a complete log.
        ReplayError: the log does not start at offset 0, or lacks merge or derived records.
        SettingsError: no such profile or policy, or one that cannot be used.
    """
    log = open_log(directory)
    if profile is not None or policy is not None or without:
        settings = whatif.settings_for(log, profile, policy)
        with _progress(quiet=json) as progress:
            task = progress.add_task("replay", total=sum(part.records for part in log.manifest.topics.get("decision", ())))
            return whatif.show(log, settings, without, lambda: progress.advance(task), json=json)
    derived = dict.fromkeys(topic.name for group in TOPOLOGY for topic in group.outputs)
    total = sum(part.records for name in derived for part in log.manifest.topics.get(name, ()))
    with _progress(quiet=json) as progress:
        task = progress.add_task("replay", total=total)
        produced = _shown(replay_log(TOPOLOGY, log, log.manifest.settings), progress, task)
        result = compare(TOPOLOGY, log, produced)
    if not (result.compared or result.missing or result.extra):
        raise ReplayError(f"{directory} holds nothing that a worker wrote: there is nothing to compare; export a log of running workers")
    first = [] if result.first is None else describe(result.first)
    counts = {name: getattr(result, name) for name in ("compared", "different", "missing", "extra", "unfinished")}
    verdict = "the same bytes" if result.equal else "NOT the same"
    _print({"equal": result.equal, **counts, "first_difference": first}, json=json, text=[
        f"{verdict}: {result.compared:,} compared, {result.different:,} different, {result.missing:,} missing, {result.extra:,} too many",
        *([f"{result.unfinished:,} at the end not compared: the export cut them from their inputs"] if result.unfinished else []),
        *first,
    ])  # fmt: skip
    return 0 if result.equal else 1


def _shown(produced: Iterable[Produced], progress: Progress, task: TaskID) -> Iterator[Produced]:
    for one in produced:
        progress.advance(task)
        yield one


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def _print(result: dict[str, Any], *, json: bool, text: list[str]) -> None:
    print(json_text.dumps(result) if json else "\n".join(text))  # noqa: T201 - the command's result
