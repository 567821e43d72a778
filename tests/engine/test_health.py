"""What a worker tells of itself: metrics that are true, and whether it lives and is ready."""

import asyncio
import logging
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiokafka.structs import TopicPartition
from msgspec.structs import replace

from agents.step import Block
from schemas import codecs
from schemas.alignment import LossWindow, TrustSummary
from schemas.settings import Deployment, load_settings
from streams.embedded import Kafka
from streams.engine.fetch import Delivery
from streams.engine.health import SILENCE_S_MAX, Health, TaskSeen, look, observe
from streams.engine.liveness import EXIT_FAULT, Watchdog
from streams.engine.logs import Repeats
from streams.engine.metrics import Metrics, Spent
from streams.engine.produce import Record
from streams.engine.store import StoreFacts
from streams.engine.task import Task
from tests.engine.lab import PARTITIONS, PATIENCE_S, Lab, mixed_records, until
from tests.engine.toy import HANG, POISON

WRONG_USE = 2
ANY_PORT = "0"
SOUND = TaskSeen({"alpha": 0}, 0.0, StoreFacts(1, 10, 1), "", "", 1.0)


async def test_metrics_count_what_was_committed(lab: Lab) -> None:
    """Records in, outputs and dead letters by reason are those of the log; nothing is behind; what a new store reads is counted."""
    records = mixed_records(300, ("alpha", "beta", "control"))
    await lab.write([*records, ("alpha", b"key-3", POISON)])
    worker = lab.start(NPO_HEALTH_PORT=ANY_PORT)
    await lab.drained(worker)
    await until(lambda: worker.ask("/readyz")[0] == 200 and worker.total("npo_lag_offsets") == 0)
    assert worker.total("npo_records_in_total", group="pair") == len(records) + 1
    assert worker.total("npo_records_in_total", topic="alpha") == sum(topic == "alpha" for topic, _, _ in records) + 1
    assert worker.total("npo_outputs_total", topic="out") == len(records)
    assert worker.total("npo_outputs_total") == len(records)
    assert worker.total("npo_dead_letters_total", topic="alpha", reason="step_failed") == worker.total("npo_dead_letters_total") == 1
    assert worker.total("npo_append_to_commit_seconds_count") == worker.total("npo_transaction_seconds_count", phase="store") > 0
    assert (worker.total("npo_tasks"), worker.total("npo_ready"), worker.total("npo_standstill_seconds") < PATIENCE_S) == (
        PARTITIONS,
        1,
        True,
    )
    assert worker.total("npo_store_rows") > 0
    assert worker.end() == 0

    shutil.rmtree(lab.directory / "home")
    with lab.running(NPO_HEALTH_PORT=ANY_PORT) as again:
        await until(lambda: again.ask("/readyz")[0] == 200)
        # A rebalance in between reads some again.
        assert again.total("npo_recovered_records_total") >= sum(map(len, (await lab.changes()).values()))
        assert again.total("npo_recovery_seconds") > 0
        assert again.checks()["stores"] == {"ok": True, "value": PARTITIONS, "reason": ""}


async def test_a_worker_without_tasks_is_ready_and_takes_over(kafka: Kafka, unique_name: str, tmp_path: Path) -> None:
    """Of two workers of one partition one has no task: it is ready, and has the task when the other is gone."""
    lab = Lab(kafka.bootstrap, unique_name[-60:], tmp_path)
    await lab.create_topics(1)
    workers = [lab.start(home=home, NPO_HEALTH_PORT=ANY_PORT) for home in ("first", "second")]
    try:
        await until(lambda: sorted(worker.checks().get("tasks", {}).get("value", -1) for worker in workers) == [0, 1])
        await until(lambda: [worker.ask("/readyz")[0] for worker in workers] == [200, 200])
        standby, owner = sorted(workers, key=lambda worker: worker.checks()["tasks"]["value"])
        owner.kill()
        await until(lambda: standby.checks()["tasks"] == {"ok": True, "value": 1, "reason": ""})
        assert standby.end() == 0
    finally:
        lab.close()


async def test_a_step_that_never_returns_is_told_and_ends_the_process(lab: Lab) -> None:
    """While a step blocks the worker, its health is still answered and names the task; then the process ends with a non-zero code."""
    worker = lab.start(NPO_HEALTH_PORT=ANY_PORT, NPO_STANDSTILL_S="5")
    await until(lambda: worker.ask("/readyz")[0] == 200)
    assert worker.ask("/livez")[0] == 200
    await lab.write([("alpha", b"key", HANG)])
    await until(lambda: worker.checks("/livez")["progress"]["value"] > 2)
    assert worker.total("npo_standstill_seconds") > 2
    assert worker.wait() == EXIT_FAULT
    assert re.search(rf"stands still: .*{lab.application}-pair-\d for", worker.said())
    assert "toy.py" in worker.said(), "where it stands is told"


async def test_a_port_that_is_taken_is_said(lab: Lab) -> None:
    """A worker that cannot listen where it is told to ends with the code for wrong use, before it joins its group."""
    first = lab.start(NPO_HEALTH_PORT=ANY_PORT)
    await until(lambda: first.ask("/livez")[0] == 200)
    port = first.said().split("port=")[1].split()[0]
    second = lab.start(home="second", NPO_HEALTH_PORT=port)
    assert second.wait() == WRONG_USE
    assert f"NPO_HEALTH_PORT={port}" in second.said()
    assert first.end() == 0


def health(seen: TaskSeen = SOUND) -> Health:
    """The health of a worker whose two tasks were seen, the second one as given."""
    found = Health(Deployment(broker="there:9092", ready_lag_max=100), Watchdog(60))
    found.phase, found.tasks, found.app = "", {0: SOUND, 1: seen}, at_work()
    return found


def at_work() -> Any:  # noqa: ANN401 - what health asks of an app
    """An app whose two tasks are at work."""
    recovery = SimpleNamespace(recovered=True, active_remaining=lambda: {"changes": 7})
    return SimpleNamespace(owned={0: None, 1: None}, recovery=recovery)


def failing(found: Health) -> dict[str, str]:
    """The reasons of the checks that fail."""
    report = found.ready()
    assert report.ok == all(check.ok for check in report.checks.values())
    assert all(check.ok != bool(check.reason) for check in report.checks.values())
    return {name: check.reason for name, check in report.checks.items() if not check.ok}


@pytest.mark.parametrize(
    ("name", "seen", "reason"),
    [
        ("lag", SOUND._replace(behind={"alpha": 90, "beta": 11}), "101 offsets behind, NPO_READY_LAG_MAX is 100"),
        ("stores", SOUND._replace(store=None, store_fault="cannot read it"), "task 1: cannot read it"),
        ("producers", SOUND._replace(producer_fault="no producer"), "task 1: no producer"),
    ],
)
def test_one_fault_of_one_task_fails_one_check(name: str, seen: TaskSeen, reason: str) -> None:
    """A sound worker is ready; each fault of a task fails its own check, with the reason in words."""
    assert failing(health()) == {}
    assert failing(health(SOUND._replace(behind={"alpha": 90, "beta": 10}))) == {}
    assert failing(health(seen)) == {name: reason}


def test_a_silent_broker_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer of the broker for too long, a worker is not ready."""
    silent = health()
    answered_s = silent.answered_s
    monkeypatch.setattr("streams.engine.health.time.monotonic", lambda: answered_s + SILENCE_S_MAX)
    assert failing(silent) == {}
    monkeypatch.setattr("streams.engine.health.time.monotonic", lambda: answered_s + SILENCE_S_MAX + 1)
    assert failing(silent) == {"broker": "no answer from there:9092 for 11.0 s, or an event loop that is busy"}


def test_a_rebalance_is_told_the_moment_it_begins() -> None:
    """Whether tasks are at work is asked of them, not of what was seen last: nobody has looked between these questions."""
    found, app = health(), at_work()
    found.app = app
    assert failing(found) == {}
    app.recovery.recovered, app.owned = False, {}
    assert failing(found) == {"tasks": "not a member of its group yet, or in a rebalance"}
    app.owned = {1: None, 2: None}
    assert failing(found) == {"tasks": "2 tasks are recovering: 7 offsets of their changelogs to read"}
    app.recovery.recovered = True
    assert failing(found) == {"tasks": "1 tasks have not been looked at yet"}
    found.tasks = {1: SOUND, 2: SOUND}
    assert failing(found) == {}
    app.owned = {}
    assert failing(found) == {}, "one that waits for tasks is ready"


async def test_a_broken_observer_breaks_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the observer runs into, it says so, the worker is not ready, and is again when the observer has seen it."""
    found = health()
    looks = iter([ZeroDivisionError("odd"), None])

    async def look(*_: object) -> None:
        if (error := next(looks)) is not None:
            raise error

    async def between(_: float) -> None:
        told.append(failing(found))
        if len(told) == 2:
            raise asyncio.CancelledError

    told: list[dict[str, str]] = []
    monkeypatch.setattr("streams.engine.health.look", look)
    monkeypatch.setattr("streams.engine.health.asyncio.sleep", between)
    with pytest.raises(asyncio.CancelledError):
        await observe(cast("Any", None), found)
    assert told == [{"tasks": "the tasks cannot be looked at: ZeroDivisionError('odd')"}, {}]


def test_a_watchdog_that_does_not_look_is_a_fault_of_liveness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits beyond the limit fails liveness; so does a watchdog that is not there, even if nobody waits."""
    watchdog = Watchdog(60)
    found = Health(Deployment(), watchdog)
    assert found.live().checks["watchdog"].reason.startswith("the watchdog has not looked")
    assert found.live().checks["progress"].ok
    watchdog.start()
    assert found.live().ok
    watchdog.working("task")
    begun_s = watchdog._since["task"]
    for module in ("health", "liveness"):
        monkeypatch.setattr(f"streams.engine.{module}.time.monotonic", lambda: begun_s + 61)
    assert found.live().checks["progress"].reason == "task has work and made no progress for 61.0 s"
    assert not found.live().ok
    watchdog.idle("task")
    assert found.live().checks["progress"].ok


def test_a_flood_in_the_log_becomes_a_line_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place logs once an interval and then says how much was left out; other places are not affected."""
    now_s = 0.0
    monkeypatch.setattr("streams.engine.logs.time.monotonic", lambda: now_s)
    repeats = Repeats(60.0)
    said = []

    def say(line: int, text: str) -> None:
        record = logging.LogRecord("library", logging.ERROR, "client.py", line, "%s", (text,), None)
        if repeats.filter(record):
            said.append(record.getMessage())

    for second in range(90):
        now_s = float(second)
        say(1, f"away at {second}")
        say(1, f"away at {second}")
        say(2 + second, "once")
    assert [line for line in said if line != "once"] == ["away at 0", "away at 60 (and 119 more of this kind before)"]
    assert said.count("once") == 90


async def test_what_is_behind_counts_from_where_the_task_stands() -> None:
    """Behind is the distance to the last stable offset from the next record to take, past the markers that were seen already."""
    plan: Any = SimpleNamespace(application="test", names={"alpha": "npo.alpha.v1"}, steps={"alpha": None}, changelog="changes")
    stores = SimpleNamespace(look=lambda _: StoreFacts(0, 0, None))
    task = Task(plan, 0, cast("Any", stores), Watchdog(60), Metrics("test", load_settings(Deployment())))
    task.positions = {"alpha": 5}
    marker = Delivery(Block("alpha", 0, [], [], [], [], []), 5, 7)
    waiting = Delivery(Block("alpha", 0, [7], [int((time.time() - 9) * 1000)], [b"k"], [b"v"], [()]), 7, 8)

    async def ends(places: list[tuple[str, int]]) -> dict[TopicPartition, int]:
        return {TopicPartition(*place): 10 for place in places}

    app: Any = SimpleNamespace(
        plan=plan, owned={0: task}, store=stores, positions=SimpleNamespace(ends=ends), recovery=SimpleNamespace(recovered=True)
    )
    found = health()
    await look(app, found)
    assert (found.tasks[0].behind, found.tasks[0].waiting_s, found.phase, found.app) == ({"alpha": 5}, 0.0, "", app)
    for delivery in (marker, waiting):
        task.offer(delivery)
        task.put(delivery)
    assert task._take() != []
    task.positions["alpha"] = 8
    await look(app, found)
    assert found.tasks[0].behind == {"alpha": 2}
    task.put(waiting)
    await look(app, found)
    assert 9 <= found.tasks[0].waiting_s < 9 + PATIENCE_S
    app.owned = {}
    await look(app, found)
    assert found.tasks == {}


def test_scopes_are_gauges_as_they_last_published_themselves() -> None:
    """Decisions, answers, loss and budget of each scope's whole past, as last written; those of tasks that went elsewhere are gone."""
    metrics = Metrics("deciding", load_settings(Deployment()))
    windows = [replace(example("window", LossWindow), window=window, surfaced=surfaced) for window, surfaced in ((-1, 7), (-1, 9), (3, 1))]
    trust = replace(example("trust", TrustSummary), scope="db")
    written = [Record(b"", codecs.encode(event), (), 0) for event in (*windows, trust)]
    spent = Spent(0.0, 0.0, 0.0, 0.0)
    metrics.committed(2, [], {("alignment", 0): written[:3], ("decision", 0): written}, spent)
    metrics.committed(3, [], {("alignment", 1): [*written[3:], Record(b"", b"{", (), 0)]}, spent)
    found = {
        (sample.name, *(value for label, value in sample.labels.items() if label != "group")): sample.value
        for family in metrics.published.gauges({2, 3})
        for sample in family.samples
    }
    scope = windows[0].scope
    assert found["npo_scope_decisions", scope, "surfaced"] == 9
    assert found["npo_scope_judged", scope, "overridden"] == windows[0].override_given_answered.events
    assert found["npo_scope_alignment_loss", scope, "high"] == windows[0].loss_high
    assert found["npo_scope_alignment_loss", scope, "target"] == pytest.approx(4 * 0.1 * 9 / windows[0].scenarios)
    assert found["npo_scope_outcomes", scope, "missed"] == windows[0].miss_given_outcome.events
    assert found["npo_scope_override_budget", "db", "trusted"] == trust.budget.trusted
    assert found["npo_scope_sources", "db", "quarantined"] == sum(source.quarantined for source in trust.sources)
    here = [sample.labels["scope"] for family in metrics.published.gauges({3}) for sample in family.samples]
    assert set(here) == {"db"}


def example(name: str, kind: type[Any]) -> Any:  # noqa: ANN401 - an event of that kind
    """An event of the examples."""
    path = Path(__file__).resolve().parents[2] / "schemas" / "examples" / "alignment" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=kind)
