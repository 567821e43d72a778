"""The read model: which keys it has in Redis, and what a record changes in them.

Every key starts with the application's name and a colon (`npo:`); `clear` removes these and no others.

| key | type | holds |
|---|---|---|
| `positions` | hash | `<topic>:<partition>` to the next offset to read; `cluster` and `version` say what the positions belong to |
| `clock` | sorted set | scopes by their event time: the largest `time_ms` seen |
| `scope:<scope>` | hash | counts (`surfaced`, `withheld`, `blocked`, `override`, `like`, `neutral`, `skipped`, `answered`, `overridden`) and, as JSON, the latest of each kind of `LATEST`: `past` (loss over the whole past), `window`, `thresholds`, `trust`, `teams`, `teams_past`, `reopened`, `challenger`, `monitor`, `fidelity`, `command`, `result`, `model`, `taken`, `revoked` |
| `windows:<scope>`, `monitors:<scope>`, `challengers:<scope>`, `results:<scope>` | sorted set | the newest 200 loss windows that have closed, decisions of the meta-monitor, and windows of models held against each other, and the newest 50 results of retraining: JSON, by offset |
| `alarms:<scope>` | hash | alarms that are raised, by name, JSON |
| `open:<scope>`, `cleared:<scope>` | sorted set | ids of recommendations that wait for an answer, and of those whose entity shows nothing unusual any more and that can still be answered, by the time they were opened |
| `recommendation:<id>` | string | the recommendation as it stands, JSON |
| `decision:<id>` | string | the decision, JSON |
| `scenario:<id>` | string | the scenario that a decision names, JSON |
| `judgement:<id>` | string | the latest judgement of the decision, JSON |
| `recommendations:<scope>`, `decisions:<scope>`, `scenarios:<scope>`, `judgements:<scope>` | sorted set | the ids of the above that are held, by the offset of their first record |
| `control` | hash | `<scope>:<partition>`, `*` for all scopes, to what is in force there and by whom, JSON as `Force` has it |

Of recommendations, decisions, scenarios and judgements each scope holds the newest 10,000 (`HELD_MAX`); later records of one that has
dropped out change nothing. Records of one topic and partition are folded in their order; how topics and partitions interleave, and how
records are cut into batches, makes no difference: what is rebuilt equals what was kept up to date, scenarios apart that their topic has
deleted since (it keeps a week). So a decision may be held whose scenario is not.
"""  # noqa: E501 - a table's row is one line

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from schemas import codecs
from schemas.alignment import (
    Alarm,
    BudgetReopened,
    ChallengerWindow,
    Fidelity,
    LossWindow,
    ModelTaken,
    MonitorDecision,
    RetrainingCommand,
    RetrainingResult,
    SourceRevoked,
    TeamSummary,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import Cleared, Control, Decision, Heartbeat, Judgement, Life, Model, Recommendation, Scenario
from streams.serving.following import KEYED_BY_PEOPLE
from streams.serving.force import ALL_SCOPES, Force
from streams.serving.tally import WHOLE_PAST, is_answerable, is_open, standing_counts

# Counts one up with every change of keys or meanings: a read model of another version is rebuilt.
VERSION = b"5"
HELD_MAX = 10_000
READ = ("recommendation", "decision", "scenario", "judgement", "alignment", "retraining-command", "retraining-result", "model", "control")
# Each of these is held under its id.
HELD = (Recommendation, Decision, Scenario, Judgement)
# Of these a scope has the newest, as a sorted set of this name; so many of each.
SERIES: dict[type, str] = {LossWindow: "windows", MonitorDecision: "monitors", ChallengerWindow: "challengers", RetrainingResult: "results"}
SERIES_MAX: Mapping[str, int] = {"windows": 200, "monitors": 200, "challengers": 200, "results": 50}
# Of these a scope's hash has the latest, under this name; a loss window and a summary of teams have two.
LATEST: dict[type, str] = {
    ThresholdTable: "thresholds",
    TrustSummary: "trust",
    BudgetReopened: "reopened",
    ChallengerWindow: "challenger",
    MonitorDecision: "monitor",
    Fidelity: "fidelity",
    RetrainingCommand: "command",
    RetrainingResult: "result",
    Model: "model",
    ModelTaken: "taken",
    SourceRevoked: "revoked",
}
SCAN_COUNT = 1_000


class Entry(NamedTuple):
    """One record to fold: where it stands, its bytes, and its event."""

    topic: str
    partition: int
    offset: int
    value: bytes
    event: Any


@dataclass
class Held:
    """The ids that one scope holds of one kind: the oldest few, which may have to go, and the number of all."""

    size: int
    oldest: deque[str]


@dataclass
class Changes:
    """What a batch of records changes: read what it needs, fold the records, write all of it in one transaction.

    Attributes:
        prefix: What every key starts with, without the colon.
        held_max: How many recommendations, decisions, scenarios and judgements each scope holds, of each kind.
        series_max: How many events of each series each scope holds.
        strings: New values by key; None deletes.
        fields: New values of hashes by key and field; None deletes.
        counts: What to add to counts, by scope and name.
        members: New scores of sorted sets by key and member; None removes.
        clocks: Largest event time of the batch by scope.
        series: Events with their offsets, by series and scope.
    """

    prefix: str
    held_max: int = HELD_MAX
    series_max: Mapping[str, int] = field(default_factory=lambda: SERIES_MAX)
    strings: dict[str, bytes | None] = field(default_factory=dict)
    fields: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    members: dict[tuple[str, str], float | None] = field(default_factory=dict)
    clocks: dict[str, int] = field(default_factory=dict)
    series: dict[tuple[str, str], dict[bytes, int]] = field(default_factory=dict)
    _strings_before: dict[str, bytes | None] = field(default_factory=dict)
    _fields_before: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    _held: dict[str, Held] = field(default_factory=dict)

    async def read(self, redis: Redis, entries: list[Entry]) -> None:
        """Read what folding the entries needs to know: strings as they stand, the oldest that are held, what is in force."""
        holding = [entry for entry in entries if isinstance(entry.event, HELD)]
        strings = sorted({self.string_key(entry) for entry in holding})
        held = Counter(self.key(f"{entry.topic}s", entry.event.scope) for entry in holding)
        forces = sorted({self.force_place(entry) for entry in entries if entry.topic == "control"})
        async with redis.pipeline(transaction=False) as pipe:
            for key in strings:
                pipe.get(key)
            for place in forces:
                pipe.hget(*place)
            for key, added in held.items():
                pipe.zcard(key)
                pipe.zrange(key, 0, added - 1)
            answers = iter(await pipe.execute())
        self._strings_before = {key: next(answers) for key in strings}
        self._fields_before = {place: next(answers) for place in forces}
        self._held = {key: Held(next(answers), deque(name.decode() for name in next(answers))) for key in held}

    def fold(self, entry: Entry) -> None:
        """Fold one record in."""
        event = entry.event
        # What people write has their own clock's time.
        if entry.topic not in KEYED_BY_PEOPLE:
            self.clocks[event.scope] = max(self.clocks.get(event.scope, 0), event.time_ms)
        match event:
            case Recommendation() | Decision() | Scenario() | Judgement():
                self._fold_held(entry)
            case Cleared() | Heartbeat():
                pass
            case Alarm():
                self.fields[self.key("alarms", event.scope), event.name] = entry.value if event.raised else None
            case LossWindow():
                self.fields[self.key("scope", event.scope), "past" if event.window == WHOLE_PAST else "window"] = entry.value
            case TeamSummary():
                self.fields[self.key("scope", event.scope), "teams_past" if event.window == WHOLE_PAST else "teams"] = entry.value
            case Control():
                place = self.force_place(entry)
                before = self.fields.get(place, self._fields_before.get(place))
                force = msgspec.json.decode(before, type=Force) if before else Force()
                self.fields[place] = msgspec.json.encode(force.after(event))
            case _:
                self.fields[self.key("scope", event.scope), LATEST[type(event)]] = entry.value
        name = SERIES.get(type(event))
        if name and getattr(event, "window", None) != WHOLE_PAST:
            self.series.setdefault((name, event.scope), {})[entry.value] = entry.offset

    def write(self, pipe: Pipeline) -> None:
        """Queue the changes."""
        for key, value in self.strings.items():
            pipe.delete(key) if value is None else pipe.set(key, value)
        for (key, name), value in self.fields.items():
            pipe.hdel(key, name) if value is None else pipe.hset(key, name, value)
        for (key, member), score in self.members.items():
            pipe.zrem(key, member) if score is None else pipe.zadd(key, {member: score})
        for scope, counts in self.counts.items():
            for name, change in counts.items():
                # Also by 0: which counts exist must not depend on how records were cut into batches.
                pipe.hincrby(self.key("scope", scope), name, change)
        for (name, scope), events in self.series.items():
            pipe.zadd(self.key(name, scope), events)
            pipe.zremrangebyrank(self.key(name, scope), 0, -self.series_max[name] - 1)
        if self.clocks:
            pipe.zadd(self.key("clock"), self.clocks, gt=True)

    def key(self, *parts: str) -> str:
        """Return the key of a part of the read model."""
        return ":".join((self.prefix, *parts))

    def string_key(self, entry: Entry) -> str:
        """Return the key under which a recommendation, decision, scenario or judgement is held."""
        return self.key(entry.topic, name_of(entry.event))

    def force_place(self, entry: Entry) -> tuple[str, str]:
        """Return key and field of what a control record changes."""
        return self.key("control"), f"{entry.event.scope or ALL_SCOPES}:{entry.partition}"

    def _fold_held(self, entry: Entry) -> None:
        """Fold a recommendation, decision, scenario or judgement in; one that is not held and is no first record changes nothing."""
        event, key = entry.event, self.string_key(entry)
        before = self.strings.get(key, self._strings_before.get(key))
        if before is None:
            if not is_first(event):
                return
            self._hold(entry)
        # Holding it may just have dropped it: with room for none, nothing is held.
        if key not in self.strings or self.strings[key] is not None:
            self.strings[key] = entry.value
        counts = self.counts.setdefault(event.scope, Counter())
        if isinstance(event, Decision):
            counts[event.status.value] += 1
        if isinstance(event, Recommendation):
            for name, waits in (("open", is_open(event)), ("cleared", is_answerable(event) and not is_open(event))):
                self.members[self.key(name, event.scope), event.id] = event.opened_ms if waits else None
            # A late answer counts for trust only: what was counted stays.
            if not event.late:
                counts.update(standing_counts(event))
                counts.subtract(standing_counts(codecs.decode(entry.topic, before) if before else None))

    def _hold(self, entry: Entry) -> None:
        """Hold one more of a scope's events of a kind, and drop the oldest where there are too many."""
        key = self.key(f"{entry.topic}s", entry.event.scope)
        held, name = self._held[key], name_of(entry.event)
        held.size += 1
        held.oldest.append(name)
        self.members[key, name] = entry.offset
        if held.size > self.held_max:
            held.size -= 1
            oldest = held.oldest.popleft()
            self.members[key, oldest] = None
            self.strings[self.key(entry.topic, oldest)] = None
            if entry.topic == "recommendation":
                for waiting in ("open", "cleared"):
                    self.members[self.key(waiting, entry.event.scope), oldest] = None


def name_of(event: Recommendation | Decision | Scenario | Judgement) -> str:
    """Return the id under which a record is held: that of its decision, or a scenario's own."""
    return event.decision if isinstance(event, Judgement) else event.id


def is_first(event: Recommendation | Decision | Scenario | Judgement) -> bool:
    """Tell whether a record is the first under its id in its topic."""
    if isinstance(event, Recommendation):
        return event.life is Life.OPENED
    return not isinstance(event, Judgement) or event.revision == 1


async def clear(redis: Redis, prefix: str) -> None:
    """Remove the read model: its positions first, so that one half removed is never taken for a whole one."""
    await redis.delete(f"{prefix}:positions")
    keys = []
    # Names may hold what SCAN takes for a pattern.
    pattern = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in prefix)
    async for key in redis.scan_iter(match=f"{pattern}:*", count=SCAN_COUNT):
        keys.append(key)
        if len(keys) == SCAN_COUNT:
            await redis.unlink(*keys)
            keys.clear()
    if keys:
        await redis.unlink(*keys)
