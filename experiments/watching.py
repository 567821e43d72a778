"""What the demo sees of the pipeline: everything from its topics, folded into the numbers on the screen and the picture's courses."""

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from experiments.picture import Course
from experiments.world import FROZEN_SCOPE, SCOPE, START_MS
from schemas.alignment import ChallengerWindow, LossWindow, RetrainingResult
from schemas.codecs import decode
from schemas.events import Answer, Judgement, Life, Recommendation, Scenario, Status
from schemas.headers import find
from schemas.settings import Deployment
from schemas.topics import dead_letter, physical, short
from streams.clients import client_options
from streams.serving.brought import Brought, brought
from streams.serving.tally import WHOLE_PAST, ScopeTally, Tally
from streams.topology import TOPOLOGY

TOLD = ("scenario", "decision", "recommendation", "judgement", "alignment", "retraining-result")
READ = (*TOLD, *sorted({dead_letter(topic.name) for group in TOPOLOGY for topic in group.inputs}))


class Watch:
    """The numbers so far, of both scopes."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.tally = Tally({SCOPE: ScopeTally(), FROZEN_SCOPE: ScopeTally()})
        self.courses = {SCOPE: Course(SCOPE, learning=True), FROZEN_SCOPE: Course(FROZEN_SCOPE, learning=False)}
        self.closed: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.challengers: dict[str, list[ChallengerWindow]] = {scope: [] for scope in self.courses}
        self._found_ms: dict[str, list[int]] = {scope: [] for scope in self.courses}

    def add(self, topic: str, event: Struct, source: str = "") -> None:
        """Fold one event in; records of one topic and scope must come in their order."""
        self.tally.add(topic, event, source)
        match event:
            case Scenario():
                self._found_ms[event.scope].append(event.time_ms)
            case Recommendation(life=Life.UPDATED):
                self.repeated[event.scope] += 1
            case Judgement(status=Status.SURFACED, revision=1):
                self.closed[event.scope] += 1
                self._add_answered(event)
            case LossWindow(window=number) if number == WHOLE_PAST:
                self.courses[event.scope].past = event
            case LossWindow():
                self.courses[event.scope].windows.append(event)
            case ChallengerWindow():
                self.challengers[event.scope].append(event)
            case RetrainingResult():
                self.courses[event.scope].retrainings.append(event)

    def brought(self, scope: str) -> list[Brought | None]:
        """Return what each retraining of a scope brought."""
        return brought(self.courses[scope].retrainings, self.challengers[scope])

    def decided_ms(self) -> int:
        """Return the event time up to which everything has been decided in both scopes."""
        return min(self._decided_ms(scope) for scope in self.courses)

    @property
    def settled(self) -> bool:
        """Whether every scenario has been decided, and every surfaced decision has been closed."""
        scopes = self.tally.scopes.items()
        return all(self._handled(name) == scope.scenarios and self.closed[name] == scope.surfaced for name, scope in scopes)

    def _handled(self, scope: str) -> int:
        """Count the scenarios that were decided, or that repeated one whose recommendation is open."""
        return self.tally.scopes[scope].decisions.total() + self.repeated[scope]

    def _decided_ms(self, scope: str) -> int:
        tally, found_ms = self.tally.scopes[scope], self._found_ms[scope]
        handled = self._handled(scope)
        return found_ms[handled] if handled < len(found_ms) else max(tally.clock_ms, START_MS)

    def _add_answered(self, judgement: Judgement) -> None:
        kinds = Counter(answer.kind for answer in judgement.answers)
        told = kinds[Answer.OVERRIDE] + kinds[Answer.LIKE]
        if told:
            self.courses[judgement.scope].answered.append((judgement.decided_ms, kinds[Answer.OVERRIDE] / told))


async def watch(deployment: Deployment, seen: Watch) -> None:
    """Fold in what the topics bring, until cancelled."""
    names = [physical(name, deployment.topic_prefix) for name in READ]
    consumer = AIOKafkaConsumer(*names, isolation_level="read_committed", auto_offset_reset="earliest", **client_options(deployment))
    async with consumer:
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                topic = short(partition.topic, deployment.topic_prefix)
                for record in records:
                    if topic.endswith(".dlq"):
                        seen.dead[(find(record.headers, "npo_reason") or b"unknown").decode()] += 1
                    else:
                        seen.add(topic, decode(topic, record.value), (find(record.headers, "ce_source") or b"").decode())
            # A hot loop of small fetches would leave the other tasks no turn.
            await asyncio.sleep(0)
