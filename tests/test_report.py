"""The report: what it counts is what the log holds, what it shows is text and never markup, and the same log gives the same bytes."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codecs
from schemas.alignment import (
    Alarm,
    BudgetReopened,
    ChallengerWindow,
    Fidelity,
    LossWindow,
    MonitorDecision,
    RetrainingCommand,
    RetrainingResult,
    TeamSummary,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import Answer, Control, Decision, Judgement, Life, Model, Recommendation, StandingAnswer, Status
from schemas.headers import rfc3339
from schemas.identity import partition_of
from streams.cli import main
from streams.explaining.words import printable
from streams.reporting.page import page
from streams.reporting.retraining import mean_loss
from streams.reporting.run import Run, read_run
from streams.reporting.sentences import summary
from tests.replay.simulation import SETTINGS, Topics, append, empty, memory_log, save

EXAMPLES = Path(__file__).resolve().parent.parent / "schemas" / "examples"
PARTITIONS = 2
APPENDED_MS = 1_900_000_000_000
HOSTILE = '<script>alert(\'x\')</script>"&$^{_ id="x_1" url(#a)</svg>\x1b[31m\u202e'
ELEMENTS_MAX = 2_000
Event = tuple[str, Any]


def example(path: str, kind: type[Any], **changes: Any) -> Any:  # noqa: ANN401 - an event of that kind
    """An event of the examples with some fields replaced."""
    return msgspec.structs.replace(msgspec.json.decode((EXAMPLES / f"{path}.json").read_bytes(), type=kind), **changes)


def log_of(directory: Path, events: Sequence[Event], letters: Sequence[tuple[str, str, str]] = ()) -> Path:
    """An exported log that holds these events, each under its scope, and these dead letters: topic, reason, detail."""
    held: Topics = {
        topic: [empty(topic, partition) for partition in range(PARTITIONS)]
        for topic in (*codecs.TYPES, *(f"{topic}.dlq" for topic in codecs.TYPES))
    }
    for topic, event in events:
        scopes = [event.scope] if event.scope is not None else [None] * PARTITIONS
        for number, scope in enumerate(scopes):
            partition = number if scope is None else partition_of(scope.encode(), PARTITIONS)
            append(held, topic, partition, (APPENDED_MS, (scope or "*").encode(), codecs.encode(event), ()))
    for topic, reason, detail in letters:
        headers = (("npo_reason", reason.encode()), ("npo_detail", detail.encode()))
        append(held, f"{topic}.dlq", 0, (APPENDED_MS, b"k", b"{", headers))
    directory.mkdir(exist_ok=True)
    save(memory_log(held, SETTINGS), directory)
    return directory


def decision(name: str, scope: str, reason: str, scenario_class: str = "c") -> Decision:
    """A decision with the status that goes with its reason."""
    kind = reason.replace("_", "-")
    event: Decision = example(f"decision/{kind}", Decision, id=name, scope=scope, scenario_class=scenario_class)
    return event


def life(name: str, scope: str, state: Life, answers: tuple[StandingAnswer, ...] = (), *, late: bool = False) -> Recommendation:
    """One moment of a recommendation's life."""
    event: Recommendation = example("recommendation/opened", Recommendation, id=name, scope=scope, life=state, answers=answers, late=late)
    return event


def second_loop(scope: str, name: str, windows: int = 8) -> list[Event]:
    """A scope with all that the alignment topic tells, retrainings adopted, refused and rolled back; `name` stands where text can."""
    events: list[Event] = []
    for window in range(windows):
        loss = None if window == 1 else 0.5 - 0.3 * (window > 4)
        trust = example("alignment/trust", TrustSummary, scope=scope, window=window)
        sources = tuple(msgspec.structs.replace(each, source=f"{name}{each.source}") for each in trust.sources)
        events += [
            ("alignment", example("alignment/window", LossWindow, scope=scope, window=window, loss=loss, id=f"w{window}")),
            ("alignment", example("alignment/window", LossWindow, scope=scope, window=-1, id=f"p{window}")),
            ("alignment", example("alignment/thresholds", ThresholdTable, scope=scope, window=window)),
            ("alignment", msgspec.structs.replace(trust, sources=sources)),
            ("alignment", example("alignment/teams", TeamSummary, scope=scope, window=window)),
            ("alignment", example("alignment/challenger", ChallengerWindow, scope=scope, window=window)),
            ("alignment", example("alignment/monitor-waits", MonitorDecision, scope=scope, window=window, statistic=3.0 * window)),
        ]
    said = example("alignment/teams", TeamSummary).teams
    teams = tuple(msgspec.structs.replace(each, team=f"{name}{each.team}") for each in said)
    return [
        *events,
        ("alignment", example("alignment/teams", TeamSummary, scope=scope, window=-1, worst=f"{name}storage", teams=teams)),
        ("alignment", example("alignment/budget-reopened", BudgetReopened, scope=scope, by=name or "ben", reason=name)),
        ("alignment", example("alignment/fidelity", Fidelity, scope=scope)),
        ("alignment", example("alignment/alarm", Alarm, scope=scope, name=f"{name}budget", detail=name)),
        ("retraining-command", example("retraining-command/challenger", RetrainingCommand, scope=scope, window=3, by=name)),
        ("retraining-command", example("retraining-command/loss", RetrainingCommand, scope=scope, window=5, by=name)),
        ("retraining-result", example("retraining-result/adopted", RetrainingResult, scope=scope, window=4, reason=name)),
        (
            "retraining-result",
            example("retraining-result/refused", RetrainingResult, scope=scope, window=6, reason=name, command="7c1c0c7d9e1f2a38"),
        ),
        ("model", example("model/rollback", Model, scope=scope, by=name)),
    ]


class Reader(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """An end belongs to what is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


SCOPES = ("web", "db")
REASONS = ("passed", "below_threshold", "cooldown", "budget", "exploration", "policy", "shadow")
KINDS = st.sampled_from((None, Answer.LIKE, Answer.OVERRIDE, Answer.NEUTRAL))
DECIDED = st.lists(st.tuples(st.sampled_from(SCOPES), st.sampled_from(REASONS), KINDS, st.booleans()), max_size=30)


def lived(decided: Sequence[tuple[str, str, Answer | None, bool]]) -> list[Event]:
    """Decisions, and of those that were surfaced the life: answered, changed to another answer, answered late, or expired."""
    events: list[Event] = []
    for number, (scope, reason, kind, changes) in enumerate(decided):
        name = f"{number:016x}"
        event = decision(name, scope, reason)
        events.append(("decision", event))
        if event.status is not Status.SURFACED:
            continue
        events.append(("recommendation", life(name, scope, Life.OPENED)))
        if kind is None:
            late = StandingAnswer("ana", Answer.LIKE, 1, APPENDED_MS)
            events.append(("recommendation", life(name, scope, Life.EXPIRED)))
            if changes:
                events.append(("recommendation", life(name, scope, Life.ANSWERED, (late,), late=True)))
            continue
        first = StandingAnswer("ana", Answer.LIKE if changes else kind, 1, APPENDED_MS)
        last = StandingAnswer("ana", kind, 2, APPENDED_MS)
        events.append(("recommendation", life(name, scope, Life.ANSWERED, (first,))))
        if changes:
            events.append(("recommendation", life(name, scope, Life.ANSWERED, (last,))))
    return events


@settings(max_examples=25)
@given(decided=DECIDED)
def test_everything_is_counted_once(
    decided: Sequence[tuple[str, str, Answer | None, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Decisions by status and reason, and answers by kind, are what a plain recount of the drawn run gives; late answers do not count."""
    run = read_run(log_of(tmp_path_factory.mktemp("log"), lived(decided)))
    assert list(run.scopes) == sorted({scope for scope, *_ in decided})
    for name, scope in run.scopes.items():
        mine = [(reason, kind) for of, reason, kind, _ in decided if of == name]
        assert Counter({reason: count for (_, reason), count in scope.reasons.items()}) == Counter(reason for reason, _ in mine)
        assert scope.reasons.total() == scope.tally.decisions.total() == len(mine)
        shown = Counter(kind for reason, kind in mine if reason in {"passed", "exploration"})
        assert [scope.tally.answers[kind.value] for kind in (Answer.LIKE, Answer.OVERRIDE, Answer.NEUTRAL)] == [
            shown[kind] for kind in (Answer.LIKE, Answer.OVERRIDE, Answer.NEUTRAL)
        ]
        assert scope.tally.answers["skipped"] == shown[None]
    total = run.total
    assert total.decisions.total() == len(decided)
    if decided:
        text = "".join(Reader(page(run)).text)
        assert f"{total.surfaced:,} surfaced" in text
        assert f"{total.withheld:,} withheld, {total.blocked:,} blocked" in text


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    """Whatever scopes, classes, sources, notes, reasons, alarms and details are called, the page has no element or attribute of theirs."""
    plain, hostile = (
        [
            *lived([(name, reason, Answer.OVERRIDE, False) for reason in REASONS]),
            ("decision", decision("f" * 16, name, "policy", name)),
            ("judgement", example("judgement/answer", Judgement, scope=name, scenario_class=name)),
            ("control", example("control/kill", Control, scope=name, by=name, reason=name)),
            *second_loop(name, name),
        ]
        for name in ("plain", HOSTILE)
    )
    pages = []
    for directory, events in (("plain", plain), ("hostile", hostile)):
        name = HOSTILE if directory == "hostile" else "plain"
        judged = [
            (topic, msgspec.structs.replace(event, answers=(msgspec.structs.replace(event.answers[0], kind="override"),)))
            if topic == "judgement"
            else (topic, event)
            for topic, event in events
        ]
        pages.append(page(read_run(log_of(tmp_path / directory, judged, [("feedback", name, name)]))))
    expected, found = (Reader(each) for each in pages)
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in expected.elements]
    assert [sorted(attributes) for _, attributes in found.elements] == [sorted(attributes) for _, attributes in expected.elements]
    assert not found.open
    assert "<script" not in pages[1]
    # Named as a scope, class, source, alarm, detail, reason, by, rule's neighbour: everywhere as it is.
    assert "".join(found.text).count(HOSTILE) >= 10
    assert len(found.elements) < ELEMENTS_MAX


def test_page_needs_nothing_else(tmp_path: Path) -> None:
    """No script, no handler, no address beyond the page itself: nothing is fetched, whatever browser opens it."""
    html = page(read_run(log_of(tmp_path, [*lived([("web", "passed", Answer.LIKE, False)]), *second_loop("web", "")])))
    reader = Reader(html)
    assert not {tag for tag, _ in reader.elements} & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image"}
    for _, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href", "src"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    identities = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    targets = [target for _, each in reader.elements for name in ("href", "xlink:href") if (target := each.get(name))]
    assert {target.removeprefix("#") for target in targets} <= set(identities)
    assert len([tag for tag, _ in reader.elements if tag == "svg"]) == 8


def test_same_log_gives_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written twice, from two directories, to two names, by two processes that hash differently: the same bytes; nothing else is left."""
    events = [
        *lived([("web", "passed", Answer.LIKE, False), ("db", "policy", None, False)]),
        *second_loop("web", ""),
        *second_loop("db", "x"),
    ]
    first, second = log_of(tmp_path / "first", events), log_of(tmp_path / "second", events)
    before = sorted(path.name for path in first.iterdir())
    assert main(["report", str(first)]) == 0
    again = [sys.executable, "-m", "streams.cli", "report", str(second), "--output", str(tmp_path / "other.html")]
    subprocess.run(again, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (first / "report.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    assert sorted(path.name for path in first.iterdir()) == sorted([*before, "report.html"])
    said = capsys.readouterr().out
    assert all(printable(sentence) in said for sentence in summary(read_run(first)))


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ((), ("Nothing was decided", "The log holds no scope", "None was given", "Every record could be processed")),
        (
            lived([("web", "policy", None, False)]),
            ("shown nothing", "Nothing was surfaced", "No window has ended yet", "no monitor's decision", "No override was applied"),
        ),
        (lived([("web", "passed", None, False)]), ("No operator liked or overrode anything", "Nobody answered anything")),
        (second_loop("web", ""), ("Nothing was decided in this scope",)),
    ],
    ids=["empty", "nothing surfaced", "nothing answered", "windows alone"],
)
def test_what_a_log_lacks_is_said(events: Sequence[Event], says: Sequence[str], tmp_path: Path) -> None:
    """A log without scopes, answers, windows or retrainings gives a page of whole sections that say so, and five sentences."""
    run = read_run(log_of(tmp_path, events))
    assert len(summary(run)) == 5
    text = "".join(Reader(page(run)).text)
    for sentence in says:
        assert sentence in text


def retrained_run(directory: Path) -> Run:
    """A run of one scope with the second loop in it."""
    return read_run(log_of(directory, [("decision", decision("1", "web", "passed")), *second_loop("web", "")]))


def test_each_retraining_is_told_with_what_it_brought(tmp_path: Path) -> None:
    """Command, result, evaluation, loss of three windows before and after (those that are known, by scenarios), fidelity and costs."""
    run = retrained_run(tmp_path)
    text = "".join(Reader(page(run)).text)
    assert "adopted a41f7c22d0c4e9b8" in text
    assert "effective sample size 183" in text
    assert "difference 0.090 ± 0.030" in text
    assert "Loss per scenario 0.50 before, 0.20 after" in text
    assert "refused 93b2a1f0c4d5e6f7" in text
    assert "fidelity F is 100.0\N{NO-BREAK SPACE}%" in text
    assert "29.2 more" in text
    assert "2 retrainings were commanded: 1 adopted, 1 refused" in summary(run)[3]
    windows = run.scopes["web"].windows
    assert mean_loss([windows[1]]) is None
    assert mean_loss([windows[1], windows[4], windows[5]]) == pytest.approx(0.35)


def test_what_people_say_and_do_is_told(tmp_path: Path) -> None:
    """Each team's rate, which overrides most, conflict, a source's disagreement, and who has reopened the budget and why."""
    run = retrained_run(tmp_path)
    text = "".join(Reader(page(run)).text)
    assert "storageoverrides most1145.5\N{NO-BREAK SPACE}%" in text
    assert "they differ in 22.2\N{NO-BREAK SPACE}%" in text
    assert "ben reopened the override budget, which was closed: from 0.7 by trust and -4.2 by every override to 150.0 and 150.0" in text
    last = run.scopes["web"].trust[-1]
    assert all(f"{each.weight:.2f}{each.disagreement:.1f}" in text for each in last.sources)
    assert "The monitor challenger looked at 8 windows" in text


def test_windows_are_named_by_when_they_ended(tmp_path: Path) -> None:
    """Below a window's number stands the day and time of its end."""
    run = retrained_run(tmp_path)
    ends = run.scopes["web"].ends_ms
    assert sorted(ends) == list(range(8))
    assert f"{rfc3339(ends[2])[5:16].replace('T', ' ')}</" in page(run)


def test_what_is_left_over_is_named_in_the_summary(tmp_path: Path) -> None:
    """Raised alarms, commands in force, sources in quarantine and dead letters stand in the last sentence; what was taken back does not."""
    events = [
        *second_loop("web", ""),
        ("alignment", example("alignment/alarm", Alarm, scope="web", name="gone")),
        ("alignment", example("alignment/alarm", Alarm, scope="web", name="gone", raised=False)),
        ("control", example("control/kill", Control, scope=None, by="ana", reason="storm")),
    ]
    run = read_run(log_of(tmp_path, events, [("feedback", "unknown_decision", "who?"), ("feedback", "unknown_decision", "what?")]))
    last = summary(run)[-1]
    assert "1 alarm still raised (budget in web)" in last
    assert "all scopes: killed by ana" in last
    assert "1 source in quarantine (mallory in web)" in last
    assert "2 records that could not be processed (unknown_decision)" in last
    # To all scopes is one record in every partition, and one command.
    assert len(run.controls) == 1
    text = "".join(Reader(page(run)).text)
    assert "what?" in text
    assert "storm" in text


def test_most_overridden_classes_count_each_answer_once(tmp_path: Path) -> None:
    """A judgement's next revision repeats its answers: they count once; confidence now is the last decision's, moved by later answers."""
    event: Decision = decision("1", "web", "passed", "noisy")
    judgement: Judgement = example("judgement/answer", Judgement, decision="1", scope="web", scenario_class="noisy")
    heard = event.history.answers
    answer = msgspec.structs.replace(judgement.answers[0], kind="override", moved=-1.0, sequence=heard + 1)
    again = msgspec.structs.replace(answer, source="ben", moved=-0.5, sequence=heard + 2)
    events = [
        ("decision", event),
        ("judgement", msgspec.structs.replace(judgement, answers=(answer,))),
        ("judgement", msgspec.structs.replace(judgement, revision=2, answers=(answer, again))),
    ]
    run = read_run(log_of(tmp_path, events))
    of_class = run.scopes["web"].classes["noisy"]
    assert (of_class.overrides, of_class.answers) == (2, 2)
    now = of_class.now("logit")
    assert now is not None
    odds = event.confidence / (1 - event.confidence) * 2.718281828459045**-1.5
    assert now == pytest.approx(odds / (1 + odds))
    assert of_class.now("mean") == 0.0


@pytest.mark.parametrize("tokens", [["report"], ["report", "no-such-directory"]])
def test_wrong_use_says_what_to_do(tokens: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a directory it is wrong use; a directory that is no log is a fault with the remedy."""
    assert main(tokens) == (2 if len(tokens) == 1 else 1)
    error = " ".join(capsys.readouterr().err.split())
    assert "directory" in error.lower()


def test_page_that_cannot_be_written_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output in a directory that is not there gives a message, and leaves nothing behind."""
    log = log_of(tmp_path / "log", [])
    assert main(["report", str(log), "--output", str(tmp_path / "absent" / "page.html")]) == 1
    assert "--output" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()
