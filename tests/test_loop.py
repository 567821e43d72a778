"""The loop as plain calls against the pipeline's steps over bytes: the same inputs give the same events."""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import pytest

from agents.loop import Loop
from experiments.lockstep import Memory, Record
from schemas import codecs
from schemas.errors import DecodeError, RecordError, SettingsError, UnknownDecisionError
from schemas.events import Answer, Feedback, Life, Outcome, Scenario, Verdict
from schemas.headers import find
from schemas.identity import generator
from schemas.settings import Settings
from streams.topology import TOPOLOGY
from tests.deciding.logs import (
    DEFAULT,
    MINUTE_MS,
    OPERATORS,
    PAPER_FIELDS,
    START_MS,
    Entry,
    busy_log,
    decision_of,
    entry,
    feedback,
    scenario,
    settings_with,
)

GROUPS = tuple(group for group in TOPOLOGY if group.name != "encoding")
DERIVED = tuple(dict.fromkeys(topic.name for group in GROUPS for topic in group.outputs))
LETTERS = tuple(f"{topic.name}.dlq" for group in GROUPS for topic in group.inputs)
DELAY = 15  # scenarios until an answer comes


@dataclass
class Written:
    """What came of a log: by topic the name, scope, trace and content of each event, and the reasons of what was refused."""

    events: dict[str, list[tuple[str, str, str, Any]]] = field(default_factory=lambda: {topic: [] for topic in DERIVED})
    refused: list[str] = field(default_factory=list)


def through_pipeline(log: list[Entry], settings: Settings) -> Written:
    """Send a log record by record through the steps of the topology, as bytes."""
    memory, written = Memory(GROUPS, settings, (*DERIVED, *LETTERS)), Written()
    for number, item in enumerate(log):
        memory.send(item.topic, [Record(item.key, item.value, (("ce_id", f"input-{number}".encode()),))])
        memory.settle()
        for topic in LETTERS:
            written.refused += [(find(record.headers, "npo_reason") or b"").decode() for record in memory.read(topic)]
    for topic in DERIVED:
        for record in memory.read(topic):
            identity, trace = (find(record.headers, name) or b"" for name in ("ce_id", "traceparent"))
            if identity.startswith(b"input-"):
                continue  # a model that was sent, not written
            event = codecs.decode(topic, record.value)
            written.events[topic].append((identity.decode(), (record.key or b"").decode(), trace.decode()[3:35], event))
    return written


def through_loop(log: list[Entry], settings: Settings, *, retraining: bool = True) -> Written:
    """Send the same log through plain calls."""
    loop, written = Loop(settings, retraining=retraining), Written()
    for number, item in enumerate(log):
        event = codecs.decode(item.topic, item.value)
        scope = item.key.decode() if item.key and item.topic != "control" else None
        try:
            emitted = loop.send(item.topic, event, scope=scope, identity=f"input-{number}")
        except RecordError as error:
            written.refused.append(error.reason)
            continue
        for each in emitted:
            written.events[each.topic].append((each.identity, each.scope, each.trace[:32], each.event))
    return written


def readable(log: list[Entry]) -> list[Entry]:
    """The records of a log that can be decoded: what cannot be is no event, and never reaches a loop."""
    return [item for item in log if b"poison" not in item.value]


def answered_log(seed: int, scenarios: int) -> list[Entry]:
    """A log of one scope in which one feature tells what operators want, so that a model is worth its price."""
    random = np.random.default_rng(seed)
    timed: list[tuple[float, Entry]] = []
    for number in range(scenarios):
        signal = float(random.standard_normal())
        happening = msgspec.structs.replace(
            scenario(f"s{number}", number, entity=f"web-{number % 50}", label=f"metric-{random.integers(3)}:up"),
            features={"log_score": 0.0, "signal": signal, "noise": float(random.standard_normal())},
        )
        wanted = bool(random.random() < 1 / (1 + np.exp(-4 * signal)))
        says, operator = Answer.LIKE if wanted else Answer.OVERRIDE, str(random.choice(sorted(OPERATORS)))
        verdict = Verdict.INCIDENT if wanted else Verdict.NONE
        outcome = Outcome(happening.entity, happening.time_ms, happening.time_ms + 1, verdict, START_MS)
        after = number + float(random.exponential(DELAY))
        answer = feedback(f"s{number}", says, int(after), operator=operator)
        timed += [(number, entry("scenario", happening)), (after, entry("feedback", answer))]
        timed += [(after, entry("outcome", outcome))] if random.random() < 0.3 else []
    return [item for _, item in sorted(timed, key=lambda pair: pair[0])]


@pytest.mark.parametrize("profile", [{}, PAPER_FIELDS, {"score": "mean"}], ids=["default", "paper", "mean"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_plain_calls_write_what_the_pipeline_writes(profile: dict[str, object], seed: int) -> None:
    """Whatever meets in a log, both write the same events under the same names, positions with them, and refuse the same."""
    log, declared = readable(busy_log(seed)), settings_with(window_scenarios=10, **profile)
    assert through_loop(log, declared) == through_pipeline(log, declared)


def test_a_model_that_is_put_in_force_is_the_same() -> None:
    """Where the second loop fits, deploys and is judged, both write the same, models and all."""
    log, declared = answered_log(seed=3, scenarios=600), settings_with(window_scenarios=60, retraining_price=2.0, cooldown_ms=0)
    written = through_loop(log, declared)
    assert written == through_pipeline(log, declared)
    models = {event.versions["model"] for _, _, _, event in written.events["decision"]}
    assert len(models) > 1
    assert written.events["retraining-result"]


def test_without_the_second_loop_the_first_is_the_same() -> None:
    """Left out, trainer and monitor write nothing, and until the first model everything is decided as with them."""
    log, declared = answered_log(seed=4, scenarios=200), settings_with(window_scenarios=20, retraining_price=1e6)
    whole, alone = through_loop(log, declared), through_loop(log, declared, retraining=False)
    assert not any(alone.events[topic] for topic in ("retraining-command", "retraining-result", "model"))
    before = [each for each in whole.events["decision"] if each[3].versions["model"] == whole.events["decision"][0][3].versions["model"]]
    assert len(before) > 20
    assert alone.events["decision"][: len(before)] == before


def test_what_an_event_says_is_not_changed_later() -> None:
    """What was written stays as it was written, though the rows behind it go on."""
    loop = Loop(settings_with(override_cost=0.1), retraining=False)
    first = loop.send("scenario", scenario("s1", 0))
    kept = [codecs.encode(each.event) for each in first]
    assert any(each.topic == "recommendation" for each in first)
    loop.send("feedback", feedback("s1", Answer.LIKE, 1), scope="shop")
    for minute in range(1, 30):
        loop.send("scenario", scenario(f"s{minute + 1}", minute * 61))
    assert [codecs.encode(each.event) for each in first] == kept


def test_an_answer_closes_what_it_answers() -> None:
    """A recommendation out, an answer in, and once it has stood for the undo window its judgement out."""
    loop = Loop(settings_with(override_cost=0.1), retraining=False)
    opened = next(each.event for each in loop.send("scenario", scenario("s1", 0)) if each.topic == "recommendation")
    answered = loop.send("feedback", Feedback(opened.id, "ana", Answer.LIKE, START_MS), scope="shop")
    later = loop.send("scenario", scenario("s2", 5, entity="web-2"))
    assert opened.life == Life.OPENED
    assert [each.event.life for each in answered] == [Life.ANSWERED]
    assert [each.event.target for each in later if each.topic == "judgement"] == [0.0]


NAN = msgspec.structs.replace(scenario("s1", 0), features={"log_score": float("nan")})
EARLY = msgspec.structs.replace(scenario("s1", 0), time_ms=-1)
WRONG: dict[str, tuple[str, msgspec.Struct, str | None]] = {
    "nan": ("scenario", NAN, None),
    "time": ("scenario", EARLY, None),
    "numpy": ("scenario", msgspec.structs.replace(NAN, features={"log_score": np.float32(1)}), None),
    "topic": ("decision", scenario("s1", 0), None),
    "kind": ("feedback", scenario("s1", 0), None),
    "two scopes": ("scenario", scenario("s1", 0), "bank"),
    "no scope": ("feedback", feedback("s1", Answer.LIKE, 1), None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_worker_would_refuse_is_raised(wrong: str) -> None:
    """Numbers and names that cannot travel are refused with what to do, and change nothing."""
    loop, clean = Loop(DEFAULT), Loop(DEFAULT)
    topic, event, scope = WRONG[wrong]
    with pytest.raises(DecodeError):
        loop.send(topic, event, scope=scope)
    later: Scenario = scenario("s2", 1)
    assert loop.send("scenario", later) == clean.send("scenario", later)


def test_an_answer_to_nothing_is_raised_and_the_loop_goes_on() -> None:
    """An unknown decision is refused by name, and what comes after is decided."""
    loop = Loop(DEFAULT)
    with pytest.raises(UnknownDecisionError):
        loop.send("feedback", feedback("never", Answer.LIKE, 1), scope="shop")
    (decided,) = (each.event for each in loop.send("scenario", scenario("s1", 0)) if each.topic == "decision")
    assert decided.id == decision_of("s1")
    assert decided.positions["feedback"] == 1
    assert decided.time_ms < START_MS + MINUTE_MS


def test_settings_out_of_range_are_refused() -> None:
    """Settings that were built in code are held against the ranges of the files."""
    with pytest.raises(SettingsError):
        Loop(settings_with(override_rate=1.5))


@pytest.mark.parametrize("number", range(20))
def test_a_draw_is_philox_keyed_by_the_hash_of_its_names(number: int) -> None:
    """The generator of an event is NumPy's own Philox with the hash as its key, whatever is drawn from it."""
    key = blake2b(f"7\x1fs{number}\x1fposterior".encode(), digest_size=16).digest()
    expected, own = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))), generator(7, f"s{number}", "posterior")
    assert own.standard_normal(9).tolist() == expected.standard_normal(9).tolist()
    assert own.beta(2.0, 3.0) == expected.beta(2.0, 3.0)
    assert own.integers(1 << 40) == expected.integers(1 << 40)
