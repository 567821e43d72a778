"""`npo evaluate` over made-up data: nothing of the future, answers only to what was surfaced, the same bytes every time."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from experiments import evaluation_run
from experiments.evaluation import evaluate
from experiments.evaluation_answers import OPERATOR, Operator
from experiments.evaluation_data import Course, Rows, load_courses, load_faults
from experiments.evaluation_run import FEEDBACK, KEPT, RECOMMENDATION, Run
from experiments.lockstep import Memory, Record
from experiments.operators import Behaviour
from schemas.codecs import decode
from schemas.errors import LogFileError, StackError
from schemas.events import Answer, Feedback, Life, Recommendation
from schemas.settings import DEPLOY, Catalogue, Policy, Profile, Settings, read_yaml
from streams.topology import TOPOLOGY
from tests.experiments.test_evaluation_data import write_data

Courses = dict[str, Course]
Faults = dict[str, list[Rows]]
DEFAULT = DEPLOY / "catalogue" / "default.yaml"
# Surfaces what is likelier than not, so that little data tells much; and knows the operator.
SETTINGS = Settings(
    msgspec.structs.replace(read_yaml(DEPLOY / "profiles" / "default.yaml", Profile), override_cost=1.0, window_scenarios=10),
    read_yaml(DEPLOY / "policies" / "default.yaml", Policy),
    msgspec.structs.replace(read_yaml(DEFAULT, Catalogue), operators={OPERATOR: "evaluation"}),
)


@cache
def data() -> tuple[Courses, Faults]:
    """The made-up data."""
    with TemporaryDirectory() as directory:
        courses = load_courses(write_data(Path(directory)))
        return courses, load_faults(Path(directory), courses)


class Outcome(msgspec.Struct):
    """What came of a run: the alerts' file, recommendations and answers in their order, and the run itself."""

    run: Run
    table: pa.Table
    recommendations: list[Recommendation]
    feedback: list[Feedback]

    @property
    def said(self) -> list[tuple[str, Answer]]:
        """Decisions and answers in the order in which they were given."""
        return [(answer.decision, answer.kind) for answer in self.feedback]


class Listening(Memory):
    """The pipeline in memory, and everything that was read of it."""

    heard: list[Recommendation]

    def read(self, topic: str) -> list[Record]:
        """Read, and keep the recommendations."""
        records = super().read(topic)
        if topic == RECOMMENDATION:
            self.heard = [*getattr(self, "heard", []), *(decode(topic, record.value) for record in records)]
        return records


def run(courses: Courses, faults: Faults, behaviour: Behaviour = Behaviour(), seed: int = 0) -> Outcome:  # noqa: B008 - frozen
    """Run over data in memory."""
    memory = Listening(TOPOLOGY, SETTINGS, (*KEPT, FEEDBACK))
    operator = Operator(behaviour, seed, courses, faults)
    ran = Run(memory, courses, operator)
    ran.go(lambda _: None)
    assert not ran.refused
    feedback = [decode(FEEDBACK, record.value) for record in memory.read(FEEDBACK)]
    return Outcome(ran, ran.alerts.table(courses), memory.heard, feedback)


@cache
def whole(seed: int = 0) -> Outcome:
    """A run over all of the made-up data."""
    return run(*data(), seed=seed)


def cut(courses: Courses, faults: Faults, time_ms: int) -> tuple[Courses, Faults]:
    """Leave of telemetry and labels what there is before a time."""
    cut_courses = {}
    for name, course in courses.items():
        count = int(np.searchsorted(course.clock_ms, time_ms))
        series = course.series._replace(times_ms=course.series.times_ms[:count], values=course.series.values[:count])
        if count:
            cut_courses[name] = course._replace(series=series, clock_ms=course.clock_ms[:count])
    ends = {name: len(course.clock_ms) - course.test for name, course in cut_courses.items()}
    left = {name: [(s, min(e, ends[name])) for s, e in rows if s < ends[name]] for name, rows in faults.items() if name in ends}
    return cut_courses, left


def rows_before(table: pa.Table, courses: Courses) -> list[tuple[str, str, int, int, str]]:
    """Return the alerts' rows as far as they are in these courses."""
    found = []
    for row in table.to_pylist():
        course = courses.get(f"{row['dataset']}/{row['entity']}")
        end = min(row["end"], len(course.clock_ms) - course.test) if course else 0
        if row["start"] < end:
            found.append((row["dataset"], row["entity"], row["start"], end, row["recommendation"]))
    return found


def test_the_made_up_data_tells_something() -> None:
    """All kinds of things come of the made-up data, or the tests below would hold of nothing."""
    outcome = whole()
    counts = outcome.run.summary()
    assert {"web", "db"} == counts.keys()
    assert all(each.surfaced and each.withheld for each in counts.values())
    assert {kind for _, kind in outcome.said} == {Answer.LIKE, Answer.OVERRIDE}
    assert outcome.table.num_rows >= 12
    assert {Life.OPENED, Life.ANSWERED, Life.CLEARED} <= {event.life for event in outcome.recommendations}


@given(st.data())
@hypothesis_settings(max_examples=25)
def test_nothing_of_the_future_is_used(drawn: st.DataObject) -> None:
    """Telemetry and labels that end at any row lead to the same alerts in all rows before it, and to the same answers."""
    courses, faults = data()
    course = drawn.draw(st.sampled_from(list(courses.values())))
    row = drawn.draw(st.integers(course.history, len(course.clock_ms) - 1))
    seed = drawn.draw(st.integers(0, 2))
    left, labels = cut(courses, faults, int(course.clock_ms[row]))
    outcome, all_of_it = run(left, labels, seed=seed), whole(seed)
    assert rows_before(outcome.table, left) == rows_before(all_of_it.table, left)
    assert outcome.said == all_of_it.said[: len(outcome.said)]


def test_no_alert_begins_before_it_was_surfaced() -> None:
    """The first row of each alert is at or after the moment at which its recommendation was opened, and after history."""
    courses, _ = data()
    opened = {event.id: event.time_ms for event in whole().recommendations if event.life is Life.OPENED}
    for row in whole().table.to_pylist():
        course = courses[f"{row['dataset']}/{row['entity']}"]
        assert course.clock_ms[course.test + row["start"]] >= opened[row["recommendation"]]
        assert course.history - course.test <= row["start"] < row["end"] <= len(course.clock_ms) - course.test


def test_each_scenario_is_decided_when_it_is_seen() -> None:
    """Telemetry is in time order over all entities, so that no scenario waits for another entity's clock."""
    opened = [event for event in whole().recommendations if event.life is Life.OPENED]
    assert all(event.scenario_ms == event.opened_ms for event in opened)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
@hypothesis_settings(max_examples=10)
def test_answers_are_for_what_was_surfaced_after_history(error: float, silence: float, seed: int) -> None:
    """Each answer is the first and only one to a recommendation opened after history, and later than that."""
    courses, faults = data()
    outcome = run(courses, faults, Behaviour(error=error, silence=silence), seed)
    opened = {event.id: event for event in outcome.recommendations if event.life is Life.OPENED}
    assert len({name for name, _ in outcome.said}) == len(outcome.said)
    for answer in outcome.feedback:
        recommendation = opened[answer.decision]
        assert recommendation.opened_ms >= courses[recommendation.entity].tested_ms
        assert answer.time_ms > recommendation.opened_ms
    assert all(first.time_ms <= second.time_ms for first, second in pairwise(outcome.feedback))


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_answers_say_what_the_labels_say(error: float) -> None:
    """Without error, a like is where a labelled fault was on while the recommendation stood before the answer; with error, the opposite."""
    courses, faults = data()
    outcome = run(courses, faults, Behaviour(error=error, silence=0.0))
    kinds = set()
    for answer in outcome.feedback:
        alert = outcome.run.alerts.by_id[answer.decision]
        first, last = outcome.run.alerts.rows(alert, courses[alert.entity], answer.time_ms)
        fault = first < last and any(start < last and first < end for start, end in faults[alert.entity])
        assert (answer.kind is Answer.LIKE) == (fault if error == 0 else not fault)
        kinds.add(answer.kind)
    assert kinds == {Answer.LIKE, Answer.OVERRIDE}


def test_silence_is_no_feedback_at_all() -> None:
    """With nobody to answer, nothing is sent to the feedback topic, and labels are not looked at."""
    outcome = run(data()[0], {}, Behaviour(silence=1.0))
    assert outcome.feedback == []
    assert outcome.table.num_rows
    assert not any(event.answers for event in outcome.recommendations)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_windows_mean_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many samples are read at once, the alerts are the same."""
    monkeypatch.setattr(evaluation_run, "WINDOW", size)
    assert run(*data()).table == whole().table


def test_data_sets_do_not_meet() -> None:
    """Each data set's alerts are the same without the other one, of which an entity has the same name."""
    courses, faults = data()
    for dataset in ("web", "db"):
        outcome = run({name: course for name, course in courses.items() if course.dataset == dataset}, faults)
        assert outcome.table == whole().table.filter(pa.compute.equal(whole().table["dataset"], dataset))


def beside(other: Settings) -> Run:
    """Run with a second pipeline in memory in the place of a running stack: it takes whole chunks at once."""
    courses, faults = data()
    twin = Memory(TOPOLOGY, other, (RECOMMENDATION,))
    run = Run(Memory(TOPOLOGY, SETTINGS, KEPT), courses, Operator(Behaviour(), 0, courses, faults), twin)
    run.go(lambda _: None)
    return run


def test_chunks_come_to_the_same_as_record_after_record() -> None:
    """What takes each chunk as a whole surfaces the same as what takes it record by record."""
    assert beside(SETTINGS).alerts.table(data()[0]) == whole().table


def test_a_stack_that_differs_is_found() -> None:
    """A pipeline that draws otherwise stops the evaluation with what each of the two wrote."""
    with pytest.raises(StackError, match="other recommendations"):
        beside(msgspec.structs.replace(SETTINGS, seed=1))


@pytest.fixture
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands use the profile of these tests."""
    path = tmp_path / "profile.yaml"
    path.write_bytes(msgspec.yaml.encode(SETTINGS.profile))
    monkeypatch.setenv("NPO_PROFILE", str(path))


@pytest.mark.usefixtures("_profile")
def test_the_same_bytes_twice_and_without_labels(tmp_path: Path) -> None:
    """The same data and seed give the same file, byte for byte; a column of labels in the telemetry is never looked at."""
    files = []
    for name, labels in (("first", True), ("second", True), ("bare", False)):
        (tmp_path / name).mkdir()
        file = tmp_path / f"{name}.parquet"
        assert evaluate(write_data(tmp_path / name, labels=labels), alerts=file, answers="labels", seed=3, json=True) == 0
        files.append(file.read_bytes())
    assert files[0] == files[1] == files[2]
    table = pl.read_parquet(tmp_path / "first.parquet")
    assert table.columns[:4] == ["dataset", "entity", "start", "end"]
    assert set(table["dataset"]) == {"web", "db"}


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """A file in a folder that is not there, or a folder, is refused before anything runs."""
    for alerts in (tmp_path / "absent" / "a.parquet", tmp_path):
        with pytest.raises(LogFileError, match="cannot write"):
            evaluate(tmp_path, alerts=alerts)


@pytest.mark.usefixtures("_profile")
@pytest.mark.timeout(400)  # a stack of every group, and some hundred barriers, on a machine that may be busy
def test_a_running_stack_comes_to_the_same_bytes(tmp_path: Path) -> None:
    """Through Kafka, with every worker a process of its own, the file is the same, byte for byte."""
    written = write_data(tmp_path)
    files = {through: tmp_path / f"{through}.parquet" for through in ("memory", "kafka")}
    assert evaluate(written, alerts=files["memory"], answers="labels", json=True) == 0
    assert evaluate(written, alerts=files["kafka"], answers="labels", through="kafka", json=True) == 0
    assert files["memory"].read_bytes() == files["kafka"].read_bytes()
    assert pl.read_parquet(files["kafka"]).height >= 12
