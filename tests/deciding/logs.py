"""Made-up logs of one deciding task, and what folds them: the inputs of five topics in one merge order, cut into blocks."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from agents.deciding.decider import decide
from agents.deciding.learner import learn
from agents.state import R, read_row, row_key
from agents.step import Block, Context, Output
from schemas import codecs
from schemas.events import (
    Action,
    Answer,
    Cleared,
    Command,
    Control,
    Feedback,
    Heartbeat,
    Model,
    Outcome,
    Scenario,
    Symptom,
    Verdict,
)
from schemas.identity import derived_name
from schemas.settings import DEPLOY, Catalogue, CatalogueAction, Policy, Profile, Settings, read_yaml

START_MS = 1_577_836_800_000
MINUTE_MS = 60_000
STEPS = {"scenario": decide, "control": decide, "model": decide, "feedback": learn, "outcome": learn}
OPERATORS = {"ana": "sre", "ben": "sre", "cho": "sre"}


def settings_with(**profile: object) -> Settings:
    """The default settings with a roster, and with some fields of the profile replaced."""
    return Settings(
        profile=msgspec.structs.replace(read_yaml(DEPLOY / "profiles" / "default.yaml", Profile), **profile),
        policy=read_yaml(DEPLOY / "policies" / "default.yaml", Policy),
        catalogue=Catalogue(actions=(CatalogueAction("restart", ("*",), 1, reversible=True),), operators=OPERATORS),
    )


def in_teams(settings: Settings, **operators: str) -> Settings:
    """The same settings with another roster: operators by name, each with a team."""
    return msgspec.structs.replace(settings, catalogue=msgspec.structs.replace(settings.catalogue, operators=operators))


DEFAULT = settings_with()
PAPER_FIELDS: dict[str, object] = {
    "score": "mean", "silence": "pull", "selector": "thompson", "trust": False, "budget": "off",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One input of the task, at its place in the merge order."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int = START_MS + 40 * 24 * 60 * MINUTE_MS


def entry(topic: str, event: msgspec.Struct, scope: str = "shop") -> Entry:
    """One input record under its scope's key."""
    return Entry(topic, scope.encode(), codecs.encode(event))


def scenario(name: str, minute: int, *, entity: str = "web-1", label: str = "cpu:up", score: float = 1.0, scope: str = "shop") -> Scenario:
    """One scenario at a minute of the log's time."""
    time_ms = START_MS + minute * MINUTE_MS
    symptom = Symptom(label.partition(":")[0], label, "level", "up", 7.0, 0.9, 0.2)
    return Scenario(
        id=name,
        scope=scope,
        entity=entity,
        time_ms=time_ms,
        scenario_class=f"{scope}|{label}|restart",
        score=score,
        symptoms=(symptom,),
        action=Action("restart", 1, reversible=True),
        features={"log_score": float(np.log(score)), "share_high": 0.25},
        detector_scores={"raw": score},
        symptom_start_ms=time_ms,
        excerpt={},
        excerpt_times_ms=[],
        peers_alike=0,
        peers_seen=3,
        parents=(f"sample-{name}",),
    )


def decision_of(name: str) -> str:
    """The id of the decision on a scenario."""
    return derived_name(name, "decision")


def feedback(name: str, kind: Answer, minute: int, operator: str = "ana", revision: int = 1, reason: str | None = None) -> Feedback:
    """One answer to the decision on a scenario."""
    return Feedback(decision_of(name), operator, kind, START_MS + minute * MINUTE_MS, revision, reason=reason)


def heartbeat(minute: int, scope: str = "shop") -> Heartbeat:
    """Telemetry time."""
    return Heartbeat(f"beat-{scope}-{minute}", scope, START_MS + minute * MINUTE_MS, 0, 0, 0, 0)


@dataclass
class Folded:
    """What a log came to."""

    outputs: list[Output] = field(default_factory=list)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))

    def events(self, topic: str) -> list[Any]:
        """The events written to a topic, in order."""
        return [codecs.decode(topic, output.value) for output in self.outputs if output.topic == topic]

    def row(self, kind: type[R], *parts: str) -> R:
        """One row, by its kind and what it is about."""
        return read_row(kind, self.rows[row_key(kind, *parts)])

    def reasons(self) -> list[str]:
        """The reasons of the dead letters, in order."""
        return [dict(output.headers)["npo_reason"].decode() for output in self.outputs if output.topic.endswith(".dlq")]


def run(
    log: list[Entry], settings: Settings = DEFAULT, cuts: set[int] | None = None, partitions: int = 1, onto: Folded | None = None
) -> Folded:
    """Fold a log: one block per run of one topic, and a new block at each place in `cuts` (None: at every place); `onto` goes on."""
    folded = onto or Folded()
    positions = folded.positions
    start = 0
    for end in range(1, len(log) + 1):
        if end < len(log) and log[end].topic == log[start].topic and cuts is not None and end not in cuts:
            continue
        records, topic = log[start:end], log[start].topic
        first = positions[topic]
        block = Block(
            topic,
            0,
            list(range(first, first + len(records))),
            [record.timestamp_ms for record in records],
            [record.key for record in records],
            [record.value for record in records],
            [()] * len(records),
        )
        result = STEPS[topic](folded.rows, block, Context(settings, dict(positions), partitions))
        folded.outputs += result.outputs
        for key, value in result.rows.items():
            if value is None:
                folded.rows.pop(key)
            else:
                folded.rows[key] = value
        positions[topic] += len(records)
        start = end
    return folded


def busy_log(seed: int, scenarios: int = 60, answers: int = 200) -> list[Entry]:
    """A log in which everything meets: two scopes, repeats, answers late, changed or unknown, outcomes, control, models, poison."""
    random = np.random.default_rng(seed)
    kinds = list(Answer)
    timed: list[tuple[float, Entry]] = []
    opened: list[tuple[str, str, int]] = []
    for number in range(scenarios):
        minute = int(random.integers(0, scenarios * 12))
        scope, name = str(random.choice(["shop", "bank"])), f"s{number}"
        event = scenario(
            name,
            minute,
            entity=f"{scope}-{random.integers(4)}",
            label=str(random.choice(["cpu:up", "disk:up", "spike:up"])),
            score=float(random.uniform(0.6, 2.5)),
            scope=scope,
        )
        timed.append((minute, entry("scenario", event, scope)))
        opened.append((name, scope, minute))
    for number in range(answers):
        name, scope, minute = opened[int(random.integers(len(opened)))]
        after = minute + float(random.exponential(60)) + 0.001 * number
        answer = feedback(
            name if random.random() > 0.03 else f"unknown-{number}",
            kinds[int(random.choice(4, p=[0.35, 0.45, 0.1, 0.1]))],
            int(minute + random.integers(0, 300)),
            operator=str(random.choice(["ana", "ben", "eve"])),
            revision=int(random.integers(1, 4)),
            reason=str(random.choice(["noise", "known"])) if random.random() > 0.5 else None,
        )
        timed.append((after, entry("feedback", answer, scope)))
    for minute in range(0, scenarios * 12, 37):
        timed += [(minute + 0.5, entry("scenario", heartbeat(minute, scope), scope)) for scope in ("shop", "bank")]
        start_ms = START_MS + minute * MINUTE_MS
        verdict = Verdict.INCIDENT if random.random() > 0.5 else Verdict.NONE
        verdict_on = Outcome(f"shop-{random.integers(4)}", start_ms, start_ms + 120 * MINUTE_MS, verdict, start_ms, reward_minutes=1.5)
        timed.append((minute + 200.25, entry("outcome", verdict_on)))
        cleared = Cleared(f"clear-{minute}", "bank", f"bank-{random.integers(4)}", start_ms, ())
        timed.append((minute + 0.75, entry("scenario", cleared, "bank")))
    middle = scenarios * 6
    timed.append((middle, entry("control", Control(Command.KILL, START_MS, "ana", scope="bank"))))
    timed.append((middle + 30, entry("control", Control(Command.RESUME, START_MS, "ana", scope="bank"))))
    timed.append((middle + 90, entry("control", Control(Command.FREEZE, START_MS, "ana"))))
    timed.append((middle + 95, entry("control", Control(Command.RESUME, START_MS, "ana"))))
    for topic in STEPS:
        timed.append((float(random.uniform(0, scenarios * 12)), Entry(topic, b"shop", b'{"poison":')))
    timed += [(float(random.uniform(0, scenarios * 12)), item) for item in (*commands(random), *models(random))]
    return [item for _, item in sorted(timed, key=lambda pair: pair[0])]


def commands(random: np.random.Generator, count: int = 8) -> list[Entry]:
    """Drawn commands of every kind, to a scope or to all; half of them `resume`, so that something is surfaced."""
    drawn = []
    for _ in range(count):
        command = Command.RESUME if random.random() > 0.5 else Command(str(random.choice(list(Command))))
        scope = str(random.choice(["shop", "bank", ""])) or None
        subject = str(random.choice(["ana", "ben", "eve", "outcome:outcome", "never", ""], p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]))
        drawn.append(entry("control", Control(command, START_MS, "ana", scope, subject, "drawn")))
    return drawn


def models(random: np.random.Generator, count: int = 4) -> list[Entry]:
    """Drawn models of both scopes; some come twice."""
    drawn = []
    for number in random.integers(0, 3, count):
        scope, weight = str(random.choice(["shop", "bank"])), float(number)
        drawn.append(entry("model", Model(f"m{number}", scope, START_MS, 1.0, {"log_score": 4.0 - weight, "share_high": weight}), scope))
    return drawn
