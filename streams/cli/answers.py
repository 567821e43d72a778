"""`npo answer`: one operator's answer to one recommendation, and the recommendations that wait for one."""

import asyncio
import json as json_text
from typing import Annotated, Literal

import msgspec
from aiokafka import AIOKafkaConsumer
from cyclopts import Parameter
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas import topics
from schemas.errors import NotSurfacedError, SettingsError, UnknownDecisionError
from schemas.events import Answer, Feedback, Life, Recommendation, StandingAnswer, Status
from schemas.headers import rfc3339
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.home import account, connect
from streams.logs.reading import open_reader, partition_counts, require
from streams.logs.tails import event_time, records_of
from streams.logs.taking import WAIT_S, Sent, Since, open_office, since_now
from streams.serving.answering import Said, compose, letter, standing
from streams.serving.following import follow
from streams.serving.tally import is_answerable

FAULT = 1


class Shown(Struct):
    """What an answer needs to know of a recommendation's record."""

    id: str
    scope: str
    time_ms: int
    answers: tuple[StandingAnswer, ...] = ()


class Made(Struct):
    """What of a decision tells whether it was shown to anyone."""

    id: str
    scope: str
    status: Status


class Given(Struct):
    """An answer, whether the pipeline has taken it (None where that was not waited for), and what it made of it in words."""

    feedback: Feedback
    taken: bool | None
    said: str


_SHOWN = msgspec.json.Decoder(Shown)
_MADE = msgspec.json.Decoder(Made)
_GIVEN = msgspec.json.Decoder(Feedback)


def answer(  # noqa: PLR0913 - one for each option
    decision: str | None = None,
    kind: Literal["override", "like", "neutral", "retract"] | None = None,
    *,
    operator: Annotated[str | None, Parameter(name="--as")] = None,
    reason: str | None = None,
    note: str | None = None,
    revision: int | None = None,
    scope: str | None = None,
    wait: bool = True,
    json: bool = False,
) -> int:
    """Answer a recommendation. Without arguments, list those that wait for an answer: open ones, and cleared ones that nobody answered.

    The answer's time is the event time of the recommendation's scope: the largest that its recommendations, decisions and
    telemetry heartbeats on the topics tell. Where telemetry is live that is within a minute of now; in a replay of
    historic telemetry it is that history's time, never the wall clock of another era.

    Args:
        decision: The recommendation's id, or the beginning of it where only one begins so.
        kind: override (it was unwanted), like, neutral, or retract (take the answer back).
        operator: Who answers; the account that runs the command if not given.
        reason: A reason code of the deployment's own.
        note: Free text.
        revision: One more than this operator's last answer if not given.
        scope: Look among this scope's recommendations only.
        wait: Wait until the pipeline has taken the answer, or has refused it: then the exit code is 1 and the reason is told.
        json: Print what came of it, or the list, as JSON.

    Raises:
        UnknownDecisionError: no recommendation has this id, or several begin with it.
        NotSurfacedError: the decision of this id was withheld or blocked.
        SettingsError: a decision without an answer.
    """
    deployment = connect()
    if decision is None:
        return show_waiting(asyncio.run(waiting(deployment, scope)), json=json)
    if kind is None:
        raise SettingsError(f"no answer to {decision}: add override, like, neutral or retract")
    said = Said(Answer(kind), operator or account(), reason, note, revision)
    with Console(stderr=True).status("sending"):
        given = asyncio.run(give(deployment, decision, said, scope, WAIT_S if wait else None))
    told = given.feedback
    if json:
        Console().print_json(data=to_builtins(told) | {"taken": given.taken, "said": given.said})
    else:
        heading = f"{told.kind} by {told.operator} to {told.decision}, revision {told.revision}"
        Console().print(f"{heading}: {given.said}", markup=False, highlight=False, soft_wrap=True)
    return FAULT if given.taken is False else 0


def show_waiting(found: list[Recommendation], *, json: bool) -> int:
    """Print the recommendations that wait for an answer, the newest first."""
    if json:
        print(json_text.dumps([to_builtins(each) for each in found]))  # noqa: T201 - the command's result
        return 0
    table = Table("id", "scope", "opened", "life", "what", "proposed", "confidence", box=None)
    for each in found:
        opened, action = rfc3339(each.opened_ms)[:19], Text(each.action.name)
        table.add_row(each.id, Text(each.scope), opened, each.life.value, Text(each.summary), action, f"{each.confidence:.2f}")
    Console().print(table if found else "nothing waits for an answer")
    return 0


async def waiting(deployment: Deployment, scope: str | None = None) -> list[Recommendation]:
    """Return the recommendations that nobody has answered and that have not expired, the newest first.

    Raises:
        TopologyError: there is no recommendation topic.
    """
    latest: dict[str, Recommendation] = {}
    async for batch in follow(deployment, [topics.RECOMMENDATION.name]):
        for told in batch:
            latest[told.event.id] = told.event
    found = [each for each in latest.values() if is_answerable(each) and scope in {None, each.scope}]
    return sorted(found, key=lambda each: (-each.opened_ms, each.id))


async def give(deployment: Deployment, decision: str, said: Said, scope: str | None = None, wait_s: float | None = None) -> Given:
    """Send one answer to the feedback topic under the recommendation's own key, and say what became of it.

    Raises:
        UnknownDecisionError: no recommendation has this id, or several begin with it.
        NotSurfacedError: the decision of this id was withheld or blocked.
        SettingsError: not an answer, e.g. a note that is too long.
        TopologyError: the topics do not exist.
        StackError: it was taken, and what came of it cannot be seen.
    """
    counts = await partition_counts(deployment)
    refused = topics.dead_letter(topics.FEEDBACK.name)
    require(counts, [topics.RECOMMENDATION.name, topics.FEEDBACK.name, *([] if wait_s is None else [refused])], deployment)
    async with open_reader(deployment) as consumer:
        key, shown = await find_recommendation(consumer, deployment.topic_prefix, counts, decision, scope)
        time_ms = await event_time(consumer, deployment.topic_prefix, counts, shown.scope, shown.time_ms)
        partition = partition_of(key, counts[topics.FEEDBACK.name])
        # Not of those that stand: a retracted answer does not, and the next one must still be newer.
        given = [earlier async for _, earlier in records_of(consumer, topics.FEEDBACK.name, deployment.topic_prefix, partition, _GIVEN)]
    feedback = compose(said, shown.id, time_ms, [*given, *standing(shown.id, shown.answers)])
    watched = [(name, partition_of(key, counts[name])) for name in (topics.RECOMMENDATION.name, refused) if name in counts]
    since = None if wait_s is None else await since_now(deployment, watched)
    async with open_office(deployment) as office:
        (sent,) = await office.send([letter(feedback, key, counts[topics.FEEDBACK.name])])
        if since is None or wait_s is None:
            return Given(feedback, taken=None, said="sent; `npo watch` counts it when it is taken")
        if not await office.taken([sent], wait_s):
            return Given(
                feedback, taken=False, said=f"sent, NOT taken yet after {wait_s:.0f} s: do workers of `deciding` run? (`npo status`)"
            )
    return await verdict(since, feedback, sent, wait_s)


async def verdict(since: Since, feedback: Feedback, sent: Sent, wait_s: float) -> Given:
    """Say what the pipeline has made of an answer that it has taken: it stands, it was late, it is a dead letter, or nothing.

    Raises:
        StackError: that cannot be seen within `wait_s`.
    """
    if why := await since.refusal([sent], wait_s):
        return Given(feedback, taken=False, said=f"refused, {why}")
    for event in await since.events(topics.RECOMMENDATION.name):
        if event.id == feedback.decision and event.life is Life.ANSWERED and event.positions.get(sent.topic) == sent.offset + 1:
            late = "; it came after the decision had closed, and counts for trust only" if event.late else ""
            return Given(feedback, taken=True, said=f"taken{late}")
    return Given(feedback, taken=True, said="taken, and nothing changed: this operator's answer has this revision, or a later one, already")


async def find_recommendation(
    consumer: AIOKafkaConsumer, prefix: str, counts: dict[str, int], decision: str, scope: str | None
) -> tuple[bytes, Shown]:
    """Find key and last record of a recommendation by its id or the beginning of it.

    Raises:
        UnknownDecisionError: none, or several.
        NotSurfacedError: a decision that was withheld or blocked.
    """
    count = counts[topics.RECOMMENDATION.name]
    matches: dict[str, tuple[bytes, Shown]] = {}
    for partition in range(count) if scope is None else [partition_of(scope.encode(), count)]:
        async for key, shown in records_of(consumer, topics.RECOMMENDATION.name, prefix, partition, _SHOWN):
            if shown.id.startswith(decision) and scope in {None, shown.scope}:
                matches[shown.id] = (key, shown)
    if decision in matches or len(matches) == 1:
        return matches[decision if decision in matches else next(iter(matches))]
    if matches:
        raise UnknownDecisionError(f"{len(matches)} recommendations begin with {decision}: {', '.join(list(matches)[:5])}; give more of it")
    for partition in range(counts.get(topics.DECISION.name, 0)):
        async for _, made in records_of(consumer, topics.DECISION.name, prefix, partition, _MADE):
            if made.id.startswith(decision) and made.status is not Status.SURFACED and scope in {None, made.scope}:
                raise NotSurfacedError(
                    f"decision {made.id} was {made.status.value}: nobody was shown it, and there is nothing to answer; "
                    f"`npo why {made.id}` tells why it was"
                )
    within = f" in scope {scope}" if scope else ""
    raise UnknownDecisionError(f"no recommendation {decision}{within}; `npo answer` alone lists those that can be answered")
