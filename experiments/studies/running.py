"""Run the trials of a study over processes; what comes out does not depend on how many."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import NamedTuple, TypeVar

from threadpoolctl import threadpool_limits

from experiments.studies.study import Study, Trial
from experiments.studies.table import load
from schemas.settings import Profile


class Task(NamedTuple):
    """One trial: the study's and the condition's name, the seed, the profile."""

    study: str
    condition: str
    seed: int
    profile: Profile


Tried = tuple[Trial, float]
Mapper = Callable[[list[Task]], Iterator[Tried]]
T = TypeVar("T")
R = TypeVar("R")


def run_task(task: Task) -> Tried:
    """Run one trial in one thread; return it and the seconds of CPU it took."""
    study = load(task.study)
    begun_s = time.process_time()
    with threadpool_limits(1):
        trial = study.trial(task.seed, task.profile, **study.conditions[task.condition])
    return trial, time.process_time() - begun_s


def tasks(study: Study, seeds: list[int], profile: Profile) -> list[Task]:
    """Return the trials of a study: condition by condition, in each seed by seed."""
    return [Task(study.name, condition, seed, profile) for condition in study.conditions for seed in seeds]


@contextmanager
def workers(jobs: int) -> Iterator[Mapper]:
    """Give a function that runs tasks in so many processes and yields what came of them in the order of the tasks."""
    with pool_of(jobs, run_task) as mapper:
        yield mapper


@contextmanager
def pool_of(jobs: int, work: Callable[[T], R]) -> Iterator[Callable[[list[T]], Iterator[R]]]:
    """Give a function that does some work, at the top level of its module, for each of a list, in so many processes and in order."""
    if jobs == 1:
        yield lambda todo: map(work, todo)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield lambda todo: pool.map(work, todo)
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended; an interrupt is for that one to take."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "workers are started by another process"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
