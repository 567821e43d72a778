"""A broker that is away: workers wait quietly, say that they are not ready, and go on; one that hangs in a transaction ends."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.embedded import Kafka, start_kafka
from streams.engine.liveness import EXIT_FAULT
from tests.engine.lab import Lab, mixed_records, until

ANY_PORT = "0"
# Lines that an outage of some ten seconds may cost; without a limit there are eighty a second.
LINES_MAX = 40


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own, which may be stopped."""
    with start_kafka(tmp_path / "kafka") as kafka:
        yield kafka


async def test_a_worker_waits_for_its_broker(broker: Kafka, tmp_path: Path) -> None:
    """Without a broker, at the start or later, a worker lives, is not ready, says why in few lines, and takes up what comes after."""
    lab = Lab(broker.bootstrap, "toy", tmp_path)
    await lab.create_topics()
    broker.stop()
    worker = lab.start(NPO_HEALTH_PORT=ANY_PORT)
    early = lab.start(home="early", NPO_HEALTH_PORT=ANY_PORT)
    try:
        await until(lambda: worker.ask("/readyz")[0] == 503 and "no broker answers" in worker.said())
        assert worker.checks()["tasks"]["reason"] == "no broker has answered yet"
        assert worker.ask("/livez")[0] == 200
        await until(lambda: "no broker answers" in early.said())
        assert early.end() == 0

        with start_kafka(tmp_path / "kafka", broker.port):
            await lab.write(mixed_records(60))
            await lab.drained(worker)
            await until(lambda: worker.ask("/readyz")[0] == 200)
            assert worker.said().count("no broker answers") == 1
        lines = len(worker.said().splitlines())
        await until(lambda: not worker.checks()["broker"]["ok"] and "the broker does not answer" in worker.said())
        assert worker.ask("/livez")[0] == 200
        assert len(worker.said().splitlines()) - lines < LINES_MAX

        with start_kafka(tmp_path / "kafka", broker.port):
            await lab.write(mixed_records(60))
            await lab.drained(worker)
            await until(lambda: worker.ask("/readyz")[0] == 200)
            await lab.check()
            assert worker.end() == 0
    finally:
        lab.close()


async def test_a_transaction_that_hangs_ends_the_process(broker: Kafka, tmp_path: Path) -> None:
    """A broker that stops answering inside a transaction blocks no event loop; the task stands still and the process ends all the same."""
    lab = Lab(broker.bootstrap, "toy", tmp_path)
    await lab.create_topics()
    await lab.write(mixed_records(60))
    worker = lab.start(fault="after_begin:1:SIGSTOP", NPO_HEALTH_PORT=ANY_PORT, NPO_STANDSTILL_S="5")
    try:
        await until(lambda: psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED)
        broker.process.send_signal(signal.SIGSTOP)
        worker.process.send_signal(signal.SIGCONT)
        assert worker.wait() == EXIT_FAULT
        assert "toy-pair-" in worker.said().split("process ends")[1]
        assert "stands still" in worker.said()
        broker.process.send_signal(signal.SIGCONT)
        with lab.running() as heir:
            await lab.drained(heir)
        await lab.check()
    finally:
        broker.process.send_signal(signal.SIGCONT)
        lab.close()
