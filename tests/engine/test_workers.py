"""Several workers, and workers that should not be any more."""

import re
import signal
from functools import partial

import psutil

from streams.engine.liveness import EXIT_FAULT
from tests.engine.lab import PARTITIONS, Lab, Worker, mixed_records, until

# On a busy machine a worker may be silent for longer than the other tests allow, and its tasks go to and fro.
PATIENT = {"NPO_SESSION_TIMEOUT_S": "4.0"}


def tasks_of(worker: Worker) -> set[int]:
    """The tasks of a worker's last assignment."""
    assigned = re.findall(r"tasks assigned.*partitions=\[(.*?)\]", worker.said())
    return {int(number) for number in assigned[-1].split(",") if number.strip()} if assigned else set()


async def reassigned(worker: Worker, before: int) -> None:
    """Wait for the next assignment of a worker that has had so many."""
    await until(lambda: worker.said().count("tasks assigned") > before)


async def test_workers_share_tasks_and_take_over(lab: Lab) -> None:
    """Two workers share the tasks; when one is killed, a third takes its part; all is written once, and nobody listens on a port."""
    await lab.write(mixed_records(400))
    first, second = lab.start(home="first", **PATIENT), lab.start(home="second", **PATIENT)
    # On a busy machine the second may have all of them for a moment.
    await until(lambda: all(map(tasks_of, (first, second))) and sorted([*tasks_of(first), *tasks_of(second)]) == list(range(PARTITIONS)))
    assert not [connection for connection in psutil.Process(first.process.pid).net_connections() if connection.status == psutil.CONN_LISTEN]
    await lab.drained(first, second)
    await lab.write(mixed_records(400, ("alpha", "beta", "control")))
    first.kill()
    third = lab.start(home="third", **PATIENT)
    await until(lambda: tasks_of(third) and tasks_of(second) | tasks_of(third) == set(range(PARTITIONS)))
    await lab.drained(second, third)
    assert [worker.end() for worker in (second, third)] == [0, 0]
    await lab.check()


async def test_what_arrives_with_a_rebalance_is_taken_with_it(lab: Lab) -> None:
    """A record for each task and topic, sent at the moment a worker has its new tasks, is taken without another one to follow it."""
    await lab.write(mixed_records(60, ("alpha", "beta", "control")))
    stays = lab.start(home="stays", **PATIENT)
    await lab.drained(stays)
    for round_number in range(2):
        assignments = stays.said().count("tasks assigned")
        comes = lab.start(home=f"comes-{round_number}", **PATIENT)
        await reassigned(stays, assignments)
        await lab.write([(topic, b"key-%d" % key, b"value") for topic in ("alpha", "beta", "control") for key in range(16)])
        await lab.drained(stays)
        # A machine that is busy may have reassigned before the other was there.
        await until(partial(tasks_of, comes))
        assignments = stays.said().count("tasks assigned")
        assert comes.end() == 0
        await reassigned(stays, assignments)
        await lab.write([(topic, b"key-%d" % key, b"value") for topic in ("alpha", "beta", "control") for key in range(16)])
        await lab.drained(stays)
    assert stays.end() == 0
    await lab.check()


async def test_a_zombie_writes_nothing(lab: Lab) -> None:
    """A worker that was stopped inside a transaction and wakes when its tasks are another's has that transaction refused."""
    await lab.write(mixed_records(300))
    zombie = lab.start(home="zombie", fault="after_positions:2:SIGSTOP")
    await until(lambda: psutil.Process(zombie.process.pid).status() == psutil.STATUS_STOPPED)
    heir = lab.start(home="heir")
    await lab.drained(heir)
    await lab.write(mixed_records(100))
    await lab.drained(heir)
    zombie.process.send_signal(signal.SIGCONT)
    await lab.write(mixed_records(100))
    await lab.drained(heir)
    # It may hear of its successor from the refused transaction, and ends, or from the group, and joins it.
    await until(lambda: zombie.process.poll() is not None or zombie.said().count("tasks assigned") > 1)
    assert heir.end() == 0
    if zombie.process.poll() is None:
        assert zombie.end() == 0
    else:
        assert zombie.process.returncode == EXIT_FAULT
    await lab.check()
