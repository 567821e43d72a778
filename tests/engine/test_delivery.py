"""Exactly once, whatever happens to the process: outputs and state equal a fold of the inputs in their recorded order."""

import shutil

import pytest

from streams.engine.faults import POINTS
from tests.engine.lab import PARTITIONS, Lab, mixed_records, replay_rows

SIGKILLED = -9


@pytest.mark.parametrize("wiped", [False, True], ids=["store kept", "store lost"])
async def test_kills_leave_nothing_lost_doubled_or_out_of_order(lab: Lab, *, wiped: bool) -> None:
    """A SIGKILL in every gap of a transaction, with and without the local store afterwards, changes nothing that is written."""
    for number, point in enumerate(POINTS):
        await lab.write(mixed_records(150, ("alpha", "beta", "control")))
        await lab.write(mixed_records(40, ("alpha", "beta")), transaction=f"{lab.application}-writer", abort=bool(number % 2))
        assert lab.start(fault=f"{point}:3").wait() == SIGKILLED
        await check_store_is_never_ahead(lab, must_be_behind=point == "after_commit")
        if wiped:
            shutil.rmtree(lab.directory / "home")
    await lab.write(mixed_records(150, ("alpha", "beta", "control")))
    with lab.running() as worker:
        await lab.drained(worker)
    await lab.check()


async def check_store_is_never_ahead(lab: Lab, *, must_be_behind: bool) -> None:
    """Each local store holds what the changelog says up to the offset that it stands for, and no row beyond."""
    behind = False
    for partition, changes in (await lab.changes()).items():
        rows, offset = lab.database(partition)
        assert rows == replay_rows(change for change in changes if change.offset <= offset)
        behind |= any(change.offset > offset for change in changes)
    if must_be_behind:
        assert behind


async def test_a_group_of_one_topic_needs_no_merge_records(lab: Lab) -> None:
    """One topic is taken in the order of its offsets, and nothing is written to the merge topic."""
    await lab.write(mixed_records(300, ("single",)))
    with lab.running("lone") as worker:
        await lab.drained(worker, group="lone")
    assert await lab.check("lone") == {partition: [] for partition in range(PARTITIONS)}


async def test_aborted_records_are_not_seen_and_are_no_gap(lab: Lab) -> None:
    """Between, before and after what is committed, aborted transactions and markers move positions and do nothing else."""
    name = f"{lab.application}-writer"
    topics = ("alpha", "beta", "control")
    for index in range(4):
        await lab.write(mixed_records(30, topics), transaction=name, abort=index % 2 == 0)
    await lab.write(mixed_records(30, topics), transaction=name, abort=True)
    with lab.running() as worker:
        await lab.drained(worker)
        for index in range(6):
            await lab.write(mixed_records(20, topics), transaction=name, abort=index % 2 == 0)
        await lab.drained(worker)
    await lab.check()


async def test_control_goes_first(lab: Lab) -> None:
    """Control records that were there when a task started are taken before any other record, whatever backlog there is."""
    await lab.write(mixed_records(3000, ("alpha", "beta")))
    await lab.write(mixed_records(32, ("control",)))
    with lab.running() as worker:
        await lab.drained(worker)
    for order in (await lab.check()).values():
        assert order[0] == "control"
        assert "control" not in order[order.index("alpha") :]
