"""The queries of docs/queries.md over an export: they run as they stand and give what the events say; the files are as the page tells."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments.lockstep import Memory, Record
from schemas import codecs, topics
from schemas.alignment import LossWindow, ThresholdTable, TrustSummary
from schemas.events import Answer, Life, Outcome, Status, Verdict
from schemas.headers import find
from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka
from streams.groups import plan_topics
from streams.logs.exporting import export_log
from streams.logs.files import SCHEMA, Manifest, open_log
from streams.logs.sending import open_sender
from streams.serving.tally import standing_counts
from streams.topology import TOPOLOGY
from tests.deciding.logs import OPERATORS, START_MS, Entry, entry, feedback, heartbeat, scenario, settings_with

PAGE = Path(__file__).resolve().parent.parent / "docs" / "queries.md"
NAMES = [name for topic in topics.TOPICS for name in (topic.name, topics.dead_letter(topic.name))]
# A broker takes its time to start on a machine that is busy.
pytestmark = pytest.mark.timeout(300)
SETTINGS = settings_with(window_scenarios=60, retraining_price=2.0, cooldown_ms=0)
ROUNDED = 0.00051
Rows = list[tuple[Any, ...]]
Events = dict[str, list[Any]]


def sections() -> dict[str, str]:
    """The page by heading."""
    _, *pieces = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def sql_of(section: str) -> str:
    """The SQL of a section."""
    (text,) = re.findall(r"^```sql\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(text)


SECTIONS = sections()
FIRST = "First, once a session"
QUERIES = [heading for heading, text in SECTIONS.items() if "```sql" in text and heading != FIRST]


def happenings(scope: str, count: int, seed: int) -> Iterator[tuple[float, Entry]]:
    """Scenarios of a scope of which one feature tells whether they are wanted, with answers after a while and outcomes of some."""
    random = np.random.default_rng(seed)
    for number in range(count):
        signal, name = float(random.standard_normal()), f"{scope}-{number}"
        happening = msgspec.structs.replace(
            scenario(name, number, entity=f"{scope}-{number % 20}", label=f"metric-{random.integers(3)}:up", scope=scope),
            features={"log_score": 0.0, "signal": signal, "noise": float(random.standard_normal())},
        )
        yield number, entry("scenario", happening, scope)
        wanted = bool(random.random() < 1 / (1 + np.exp(-4 * signal)))
        for operator in OPERATORS if number % 3 == 0 else ["ana"]:
            # Some answers come after the deadline.
            after = number + float(random.exponential(15)) + 300 * (number % 7 == 3)
            says_wanted = wanted != (random.random() < 0.2)
            kind = Answer.NEUTRAL if random.random() < 0.1 else (Answer.LIKE if says_wanted else Answer.OVERRIDE)
            yield after, entry("feedback", feedback(name, kind, int(after), operator=operator), scope)
        if random.random() < 0.3:
            after = number + float(random.exponential(15))
            verdict = Verdict.INCIDENT if wanted else Verdict.NONE
            yield after, entry("outcome", Outcome(happening.entity, happening.time_ms, happening.time_ms + 1, verdict, START_MS), scope)
    yield count + 500, entry("scenario", heartbeat(count + 500, scope), scope)


def written() -> dict[str, list[Record]]:
    """What two scopes come to in the pipeline in memory, by topic: a model is adopted in one of them."""
    timed = sorted([*happenings("shop", 600, 3), *happenings("bank", 90, 4)], key=lambda pair: pair[0])
    memory = Memory([group for group in TOPOLOGY if group.name != "encoding"], SETTINGS, NAMES)
    for number, item in enumerate([*(item for _, item in timed), Entry("feedback", b"shop", b'{"poison":')]):
        memory.send(item.topic, [Record(item.key, item.value, (("ce_id", f"input-{number}".encode()),))])
        memory.settle()
    return {name: memory.read(name) for name in NAMES}


async def send(deployment: Deployment, records: dict[str, list[Record]]) -> None:
    """Write records to topics of one partition."""
    prefix = deployment.topic_prefix
    await admin.ensure(deployment, plan_topics(TOPOLOGY, 1, application=deployment.application, prefix=prefix, keep=True))
    async with open_sender(deployment) as sender:
        for name, of_topic in records.items():
            for record in of_topic:
                await sender.send(name, 0, *record)


@pytest.fixture(scope="module")
def export(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which an export of that run is as LOG."""
    name, directory = "test-queries", tmp_path_factory.mktemp("queries")
    deployment = Deployment(broker=kafka.bootstrap, topic_prefix=f"{name}.", application=name, partitions=1)
    asyncio.run(send(deployment, written()))
    asyncio.run(export_log(deployment, SETTINGS, TOPOLOGY, directory / "LOG", lambda *_: None))
    return directory


@pytest.fixture(scope="module")
def events(export: Path) -> Events:
    """The events of the export by topic, in order; of dead letters their headers, and where they are."""
    log = open_log(export / "LOG")
    found: Events = {}
    for name in log.manifest.topics:
        blocks = list(log.read(name, 0))
        if name.endswith(".dlq"):
            found[name] = [(name, headers) for block in blocks for headers in block.headers]
        elif name not in {"merge", "feedback"}:
            found[name] = [codecs.decode(name, value) for block in blocks for value in block.values]
    return found


@pytest.fixture
def database(export: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session of DuckDB in the directory of the export, with the macro of the page."""
    monkeypatch.chdir(export)
    with duckdb.connect() as connection:
        connection.execute(sql_of(SECTIONS[FIRST]))
        yield connection


def last(events: list[Any], name: str) -> list[Any]:
    """The last event of each that has the same in a field."""
    return list({getattr(event, name): event for event in events}.values())


def override_rates(events: Events) -> Rows:
    """How each class was answered, as the read model counts it."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for event in last(events["recommendation"], "id"):
        counts[event.scenario_class] += Counter(surfaced=1) + standing_counts(event)
    return [
        (name, each["surfaced"], each["answered"], each["overridden"], each["overridden"] / each["answered"] if each["answered"] else None)
        for name, each in counts.items()
    ]


def slowest_answers(events: Events) -> Rows:
    """The answers that came last after opening."""
    answered = [event for event in events["recommendation"] if event.life is Life.ANSWERED and event.answers and not event.late]
    first = last(answered[::-1], "id")
    rows = [(each.id, each.scope, each.entity, each.answers[0].operator, (each.time_ms - each.opened_ms) / 60_000) for each in first]
    return sorted(rows, key=lambda row: (-row[4], row[0]))[:20]


def misses(events: Events) -> Rows:
    """What outcomes said of what was withheld."""
    told: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for event in last(events["judgement"], "decision"):
        kinds = {answer.kind for answer in event.answers}
        if event.status is Status.WITHHELD and kinds & {"incident", "none"}:
            told[event.scope, event.entity].append("incident" in kinds)
    return [(*place, len(each), sum(each), fmean(each)) for place, each in told.items()]


def thresholds(events: Events) -> Rows:
    """The last tables, priced."""
    profile = SETTINGS.profile
    return [
        (table.scope, row.threshold, row.surfaced, row.known, row.overrides, row.misses, profile.override_cost * row.overrides
         + profile.miss_cost * row.misses)
        for table in last([event for event in events["alignment"] if isinstance(event, ThresholdTable)], "scope")
        for row in table.rows
    ]  # fmt: skip


def trust(events: Events) -> Rows:
    """Every source in every summary."""
    return [
        (event.scope, each.source, event.window, each.answers, each.alpha, each.beta, each.weight, each.quarantined)
        for event in events["alignment"]
        if isinstance(event, TrustSummary)
        for each in event.sources
    ]


def gains(events: Events) -> Rows:
    """What came of the commands."""
    rows = []
    for event in events["retraining-result"]:
        told, model = event.evaluation, event.model.id if event.model else None
        half = 1.96 * told.standard_error
        numbers = (told.difference, told.difference - half, told.difference + half, told.judged)
        rows.append((event.scope, event.window, event.status, *numbers, model, event.reason))
    return rows


def letters(events: Events) -> Rows:
    """How often what was refused; times and examples apart."""
    counts = Counter(
        (name, (find(headers, "npo_reason") or b"").decode())
        for name, held in events.items()
        if name.endswith(".dlq")
        for _, headers in held
    )
    return [(*place, count) for place, count in counts.items()]


def losses(events: Events) -> Rows:
    """Every closed window."""
    return [
        (each.scope, each.window, each.loss, each.loss_low, each.loss_high, each.overrides_per_surfaced, each.overrides_per_answered,
         each.overrides_per_scenario)
        for each in events["alignment"]
        if isinstance(each, LossWindow) and each.window >= 0
    ]  # fmt: skip


def reasons(events: Events) -> Rows:
    """Decisions by status and reason."""
    of_scope = Counter(event.scope for event in events["decision"])
    held: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events["decision"]:
        held[event.scope, event.status, event.reason].append(event.confidence)
    return [(*place, len(each), len(each) / of_scope[place[0]], fmean(each)) for place, each in held.items()]


def calibration(events: Events) -> Rows:
    """Judged decisions by confidence."""
    held: dict[float, list[Any]] = defaultdict(list)
    for event in last(events["judgement"], "decision"):
        if event.target is not None:
            held[float(np.floor(event.confidence * 10) / 10)].append(event)
    return [
        (low, len(each), fmean(event.confidence for event in each), 1 - fmean(event.target for event in each)) for low, each in held.items()
    ]


EXPECTED: dict[str, Callable[[Events], Rows]] = {
    "Override rate by class": override_rates,
    "Slowest answers": slowest_answers,
    "Misses by entity": misses,
    "What another threshold would have had": thresholds,
    "Trust by source, window by window": trust,
    "What retraining gained": gains,
    "Dead letters": letters,
    "Alignment loss by window": losses,
    "Why scenarios were not surfaced": reasons,
    "Does the confidence hold?": calibration,
}


def order(row: tuple[Any, ...]) -> tuple[list[str], list[float]]:
    """Where a row stands among the others, by what is rounded last."""
    fractions = [round(value, 2) for value in row if isinstance(value, float)]
    return [str(value) for value in row if not isinstance(value, float)], fractions


@pytest.mark.parametrize("heading", QUERIES)
def test_a_query_gives_what_the_events_say(heading: str, database: duckdb.DuckDBPyConnection, events: Events) -> None:
    """A query gives the columns that the page names, in their order, and the rows that the decoded events come to: some at least."""
    result = database.execute(sql_of(SECTIONS[heading]))
    _, _, named = SECTIONS[heading].partition("\nColumns: ")
    columns = [column[0] for column in result.description]
    assert columns == re.findall(r"`(\w+)`", named.partition("```")[0])
    rows, expected = result.fetchall(), EXPECTED[heading](events)
    assert expected
    assert len(rows) == len(expected)
    for row, told in zip(sorted(rows, key=order), sorted(expected, key=order), strict=True):
        assert list(row[: len(told)]) == [pytest.approx(value, abs=ROUNDED) if isinstance(value, float) else value for value in told]


def test_every_query_is_checked() -> None:
    """The page has ten queries, and each has what it is held against."""
    assert list(EXPECTED) == QUERIES
    assert len(QUERIES) == 10


def test_the_export_holds_what_queries_ask_for(events: Events) -> None:
    """Several operators' answers, misses, an adopted model and refusals for several reasons are in it: there is something to find."""
    assert max(len(event.answers) for event in events["recommendation"]) > 1
    assert any(row[3] for row in misses(events))
    assert {event.status for event in events["retraining-result"]} >= {"adopted"}
    assert {row[1] for row in letters(events)} >= {"undecodable", "not_surfaced"}
    assert {event.scope for event in events["alignment"]} == {"shop", "bank"}


def table(heading: str, first: str) -> list[list[str]]:
    """The cells of the table of a section that begins with a heading, backticks removed."""
    _, _, rest = SECTIONS[heading].partition(f"| {first} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_files_are_as_the_page_says(export: Path, database: duckdb.DuckDBPyConnection) -> None:
    """Every file of an export has the columns, types and nulls of the table, whatever topic it is of, and each topic but audit has one."""
    told = [(name, kind, null == "may be") for name, kind, null, _ in table("The files", "column")]
    assert [(name, null) for name, _, null in told] == [(field.name, field.nullable) for field in SCHEMA]
    files = sorted((export / "LOG").glob("*.parquet"))
    assert {file.name.removesuffix(".parquet") for file in files} == set(NAMES) - left_out()
    for file in files:
        assert pq.read_schema(file).equals(SCHEMA)
        described = database.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()  # noqa: S608 - a path of the test's own
        assert [(name, kind) for name, kind, *_ in described] == [(name, kind) for name, kind, _ in told]
    (manifest,) = (what for path, what in table("The files", "file") if path == "manifest.json")
    assert set(Manifest.__struct_fields__) - set(re.findall(r"`(\w+)`", f"`{manifest}`")) == set()


def left_out() -> set[str]:
    """The names of topics that no export has: people's, and dead letters of what no task reads."""
    planned = {topics.short(plan.name) for plan in plan_topics(TOPOLOGY, 1)}
    return set(NAMES) - planned | {topics.AUDIT.name}


def test_dead_letters_are_as_the_page_says(events: Events) -> None:
    """The headers that a dead letter has in addition are those of the table, all of them."""
    told = {name for name, _ in table("The files", "header")}
    for name, held in events.items():
        for _, headers in held if name.endswith(".dlq") else []:
            assert {header for header, _ in headers if header.startswith("npo_")} == told


def test_the_page_works_where_it_says(export: Path, database: duckdb.DuckDBPyConnection, events: Events) -> None:
    """The queries read LOG in the working directory and nothing else."""
    assert Path.cwd() == export
    assert database.execute("SELECT count(*) FROM events('decision')").fetchone() == (len(events["decision"]),)
    assert [path.name for path in export.iterdir()] == ["LOG"]
