"""Run what the points need, a line for each run, so that what was interrupted goes on where it stopped."""

import gc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from threadpoolctl import threadpool_limits

from experiments.evidence.code import digest
from experiments.evidence.points import CONDITIONS, Condition, Found
from experiments.evidence.trials import KINDS, Numbers
from experiments.studies.running import pool_of
from experiments.studies.study import rounded

RUNS = "evidence.jsonl"
SHORTENED = ("closed_loop", "clean", "override_bound")  # kinds that take `scenarios`


class Ran(Struct, frozen=True):
    """One run: the digest of the code, the condition and what it sets, the seed, and what came of it; None where it is undefined."""

    code: str
    condition: str
    kind: str
    sets: dict[str, bool | float | str]
    seed: int
    numbers: dict[str, float | None]


class Task(Struct, frozen=True):
    """One run to do."""

    condition: str
    kind: str
    sets: dict[str, bool | float | str]
    seed: int


def conditions(names: Iterable[str], scenarios: int | None = None) -> dict[str, Condition]:
    """Return conditions by name, those of the simulator with so many scenarios if that is given."""
    chosen = {name: CONDITIONS[name] for name in dict.fromkeys(names)}
    if scenarios is None:
        return chosen
    return {
        name: each._replace(sets=each.sets | {"scenarios": scenarios}) if each.kind in SHORTENED else each for name, each in chosen.items()
    }


def run_task(task: Task) -> Numbers:
    """Do one run in one thread; the collector of cycles waits: it would look at all live rows again and again."""
    gc.disable()
    try:
        with threadpool_limits(1):
            return KINDS[task.kind](task.seed, **task.sets)
    finally:
        gc.enable()
        gc.collect()


def read(path: Path) -> list[Ran]:
    """Return the runs that a file holds, none if there is no file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Ran) for line in lines[:-1]]


def gather(
    path: Path, chosen: dict[str, Condition], seeds: Sequence[int], jobs: int = 2, done: Callable[[int, int], None] | None = None
) -> Found:
    """Run what a file does not hold yet of today's code, add it there line by line, and return all numbers.

    Args:
        path: of the file of runs.
        chosen: conditions by name.
        seeds: of each.
        jobs: processes.
        done: is told after each run how many are done, and of how many.
    """
    kept = read(path)
    known = {_key(each) for each in kept if each.code == digest(each.kind)}
    todo = [Task(name, each.kind, each.sets, seed) for name, each in chosen.items() for seed in seeds]
    todo = [task for task in todo if _key(task) not in known]
    if todo:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, kept)
        with path.open("ab") as file, pool_of(min(jobs, len(todo)), run_task) as mapper:
            for count, (task, numbers) in enumerate(zip(todo, mapper(todo), strict=True), 1):
                rounds = {name: rounded(value) for name, value in numbers.items()}
                ran = Ran(digest(task.kind), task.condition, task.kind, task.sets, task.seed, rounds)
                file.write(msgspec.json.encode(ran) + b"\n")
                file.flush()
                kept.append(ran)
                if done:
                    done(count, len(todo))
    return found([each for each in kept if each.code == digest(each.kind)], chosen, seeds)


def found(runs: Iterable[Ran], chosen: dict[str, Condition], seeds: Sequence[int] | None = None) -> Found:
    """Return the numbers of runs by condition and measure, seed by seed, NaN where undefined; a condition without runs is left out."""
    of = {(each.condition, each.seed): each.numbers for each in runs if _is_of(each, chosen)}
    numbers: dict[str, dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]] = {}
    for name in chosen:
        own = [of[name, seed] for seed in (sorted(seed for known, seed in of if known == name) if seeds is None else seeds)]
        if own:
            numbers[name] = {measure: np.array([each.get(measure) for each in own], dtype=np.float64) for measure in own[0]}
    return numbers


def tidy(path: Path, chosen: dict[str, Condition]) -> None:
    """Write a file of runs anew: those of the chosen conditions, in order; of two of one seed that of today's code, or the later."""
    runs = sorted((each for each in read(path) if _is_of(each, chosen)), key=lambda each: each.code == digest(each.kind))
    best = {(each.condition, each.seed): each for each in runs}
    order = {name: place for place, name in enumerate(chosen)}
    _write(path, [best[key] for key in sorted(best, key=lambda key: (order[key[0]], key[1]))])


def _is_of(ran: Ran, chosen: dict[str, Condition]) -> bool:
    return ran.condition in chosen and ran.sets == chosen[ran.condition].sets


def _key(ran: Ran | Task) -> tuple[str, str, frozenset[tuple[str, bool | float | str]], int]:
    # Values, not their JSON: what is set as 12000 is read as 12000.0.
    return ran.condition, ran.kind, frozenset(ran.sets.items()), ran.seed


def _write(path: Path, runs: Iterable[Ran]) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in runs))
    part.replace(path)
