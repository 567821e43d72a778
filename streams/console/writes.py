"""The API's writes: answers, outcomes, telemetry and commands; each is answered once the log has it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import codecs, topics
from schemas.errors import NotSurfacedError, SettingsError, UnknownDecisionError
from schemas.events import Control, Decision, Life, Outcome, Recommendation, Status
from schemas.headers import CONTENT_TYPE, JSON
from schemas.identity import SEPARATOR, partition_of
from streams.admin import cluster_id
from streams.console import cursor
from streams.console.cursor import Cursor
from streams.console.problems import ProblemError
from streams.console.reading import ReadModel, read_model
from streams.console.routes import DEPLOYMENT, Answer, Call, Identity, Route
from streams.console.stream import HUB
from streams.console.views import (
    Accepted,
    AnswerRequest,
    Commanded,
    ControlRequest,
    OutcomeRequest,
    TelemetryAccepted,
    TelemetryRequest,
    Written,
)
from streams.console.writer import WRITER
from streams.logs.reading import open_reader
from streams.logs.taking import Letter
from streams.serving.answering import AnswerLog, Logged, Said, check_operator, compose, letter, repeated, standing
from streams.serving.commanding import send, sentence

# A command is in force within milliseconds where workers run; the page sees on the stream of events when a later one is.
COMMAND_WAIT_S = 5.0
# What an operator has said is asked of the broker, which tells it within milliseconds where it is well.
LOOK_S = 5.0

READER = web.AppKey("reader", AIOKafkaConsumer)
ANSWERS = web.AppKey("answers", AnswerLog)
CLUSTER = web.AppKey("cluster", str)


class Shown(NamedTuple):
    """What an answer needs to know of a recommendation.

    Attributes:
        recommendation: As it stands.
        start: An offset of the feedback topic before the first answer to it.
        time_ms: The scope's event time.
        closed: Whether it is closed, so that an answer counts for trust only.
    """

    recommendation: Recommendation
    start: int
    time_ms: int
    closed: bool


async def lifespan(application: web.Application) -> AsyncIterator[None]:
    """Open what an application looks answers up with."""
    deployment = application[DEPLOYMENT]
    application[CLUSTER] = await cluster_id(deployment)
    async with open_reader(deployment) as reader:
        application[READER] = reader
        application[ANSWERS] = AnswerLog(reader, deployment.topic_prefix)
        yield


async def give_answer(call: Call) -> Accepted | Answer:
    """Write one answer; one that is on the log already is not written again."""
    request: AnswerRequest = call.body
    application, name = call.request.app, call.path["id"]
    operator, team = speaker(call.identity, request.operator), team_of(call.identity, request.team)
    said = Said(request.kind, operator, request.reason, request.note, request.revision, request.counter_proposal, team)
    shown = await find(application, name)
    key, writer, answers = shown.recommendation.scope.encode(), application[WRITER], application[ANSWERS]
    partition = partition_of(key, writer.counts[topics.FEEDBACK.name])
    answers.begin(application[HUB].epoch)
    async with answers.turn(name, operator):
        own = await look(answers, name, operator, partition, shown.start)
        with bad_request():
            feedback = compose(said, name, shown.time_ms, [each.feedback for each in own] + standing(name, shown.recommendation.answers))
        logged, status = repeated(feedback, own, revised=request.revision is not None), 200
        if logged is None:
            (sent,) = await writer.send([letter(feedback, key, writer.counts[topics.FEEDBACK.name])])
            logged, status = Logged(feedback, sent.offset), 201
            answers.add(partition, logged)
    call.position = f"{topics.FEEDBACK.name}:{partition}:{logged.offset}"
    told = logged.feedback
    accepted = Accepted(
        name, operator, told.kind, told.revision, told.time_ms, topics.FEEDBACK.name, partition, logged.offset, closed=shown.closed
    )
    return Answer(accepted, status)


async def look(answers: AnswerLog, decision: str, operator: str, partition: int, start: int) -> list[Logged]:
    """Return what an operator has said to a decision.

    Raises:
        ProblemError: 503 where the broker does not tell in time.
    """
    try:
        async with asyncio.timeout(LOOK_S):
            return await answers.of(decision, operator, partition, start)
    except TimeoutError as error:
        detail = f"Kafka has not told within {LOOK_S:.0f} s what {operator!r} has said before; nothing was written, try again"
        raise ProblemError(503, detail, "broker_away") from error


async def find(application: web.Application, name: str) -> Shown:
    """Find a recommendation in the read model; where that lacks it, once more when it has read what is on the topics by now.

    Raises:
        UnknownDecisionError: it is not held.
        NotSurfacedError: nobody was shown it.
    """
    model = read_model(application)
    for last in (False, True):
        async with model.redis.pipeline(transaction=False) as pipe:
            pipe.get(model.key("recommendation", name))
            pipe.get(model.key("decision", name))
            pipe.exists(model.key("judgement", name))
            stands, made, judged = await pipe.execute()
        decision: Decision | None = codecs.decode(topics.DECISION.name, made) if made else None
        if decision is not None and decision.status is not Status.SURFACED:
            raise NotSurfacedError(
                f"decision {name} was {decision.status.value}: nobody was shown it, and there is nothing to answer; /decisions/{name}/why "
                "tells why it was"
            )
        if stands and (decision is not None or last):
            recommendation: Recommendation = codecs.decode(topics.RECOMMENDATION.name, stands)
            clock_ms = await model.redis.zscore(model.key("clock"), recommendation.scope)
            closed = bool(judged) or recommendation.late or recommendation.life is Life.EXPIRED
            start = await start_of(application, model, recommendation, decision)
            return Shown(recommendation, start, max(recommendation.time_ms, int(cast("float", clock_ms or 0))), closed)
        if not last:
            await catch_up(application, model)
    raise UnknownDecisionError(
        f"no recommendation {name!r} is held: each scope holds its newest 10,000; `npo answer` finds older ones, by the topics"
    )


async def start_of(application: web.Application, model: ReadModel, recommendation: Recommendation, decision: Decision | None) -> int:
    """Return the position that the deciding task had in the feedback topic when it surfaced a recommendation."""
    positions = decision.positions if decision is not None else {}
    if decision is None:
        # Decisions are held for a shorter time, because there are more of them: the first record of the recommendation says the same.
        first = await model.redis.zscore(model.key("recommendations", recommendation.scope), recommendation.id)
        partition = partition_of(recommendation.scope.encode(), application[WRITER].counts[topics.RECOMMENDATION.name])
        value = await application[ANSWERS].value(topics.RECOMMENDATION.name, partition, int(first or 0))
        opened: Recommendation | None = codecs.decode(topics.RECOMMENDATION.name, value) if value else None
        positions = opened.positions if opened is not None and opened.id == recommendation.id else {}
    return positions.get(topics.FEEDBACK.name, 0)


async def catch_up(application: web.Application, model: ReadModel) -> None:
    """Wait until the read model has what the topics have now: the stream of events may have been quicker.

    Raises:
        ProblemError: 503 where it has not, within the time that a read waits.
    """
    counts, prefix = application[WRITER].counts, application[DEPLOYMENT].topic_prefix
    places = {
        TopicPartition(topics.physical(name, prefix), partition): (name, partition)
        for name in (topics.RECOMMENDATION.name, topics.DECISION.name)
        for partition in range(counts.get(name, 0))
    }
    ends = await application[READER].end_offsets(list(places))
    wanted = Cursor(application[CLUSTER], {places[place]: end for place, end in ends.items()})
    if not cursor.at_least(cursor.parse(await model.cursor_after(cursor.write(wanted))), wanted):
        raise ProblemError(503, "the read model is behind the topics, and cannot tell what was surfaced; try again", "read_model_behind")


async def tell_outcome(call: Call) -> Written:
    """Write one outcome."""
    request: OutcomeRequest = call.body
    if request.end_ms <= request.start_ms:
        raise ProblemError(400, f"the interval [{request.start_ms}, {request.end_ms}) is empty; end_ms must be after start_ms", "invalid")
    check_names(request.scope, request.entity, request.source)
    check_time(request.time_ms)
    outcome = Outcome(**{name: getattr(request, name) for name in Outcome.__struct_fields__})
    key, writer = request.scope.encode(), call.request.app[WRITER]
    partition = partition_of(key, writer.counts[topics.OUTCOME.name])
    (sent,) = await writer.send([Letter(topics.OUTCOME.name, partition, key, codecs.encode(outcome), ((CONTENT_TYPE, JSON),))])
    call.position = f"{topics.OUTCOME.name}:{partition}:{sent.offset}"
    return Written(*sent)


async def send_telemetry(call: Call) -> TelemetryAccepted:
    """Write samples; of one entity in the order in which they are given."""
    request: TelemetryRequest = call.body
    for sample in request.samples:
        check_names(sample.entity, sample.scope or "")
        check_time(sample.time_ms)
    positions = await call.request.app[WRITER].send_samples(request.samples)
    call.position = places_before(positions)
    return TelemetryAccepted(len(request.samples), positions)


async def command(call: Call) -> Commanded:
    """Write a command, and wait a while until it is in force."""
    request: ControlRequest = call.body
    control = Control(
        request.command,
        time.time_ns() // 1_000_000,
        speaker(call.identity, request.operator),
        request.scope,
        request.subject,
        request.reason,
    )
    with bad_request():
        effect = await send(call.request.app[DEPLOYMENT], control, COMMAND_WAIT_S)
    call.position = places_before(effect.positions)
    told = {name: getattr(effect, name) for name in effect.__struct_fields__}
    return Commanded(**told, says=sentence(effect, COMMAND_WAIT_S))


def places_before(positions: dict[str, int]) -> str:
    """Write, for each partition, the place of the last record before its next offset."""
    return ",".join(f"{place}:{following - 1}" for place, following in positions.items())


def speaker(identity: Identity, named: str | None) -> str:
    """Return under which name somebody speaks: his token's pseudonym, or where there are no tokens, what he calls himself.

    Raises:
        ProblemError: 403 for another's name, 400 for none or one that means something else.
    """
    if identity.tokens and (identity.operator is None or named not in {None, identity.operator}):
        raise ProblemError(403, f"{identity.name} speaks as {identity.operator}, not as {named}; leave `operator` out", "operator")
    operator = identity.operator or named
    if operator is None:
        raise ProblemError(400, "who says so? name yourself in `operator`", "operator")
    with bad_request():
        check_operator(operator)
    return operator


def team_of(identity: Identity, named: str | None) -> str | None:
    """Return the team for which somebody speaks.

    Raises:
        ProblemError: 403 for another than his token's.
    """
    if identity.team is not None and named not in {None, identity.team}:
        raise ProblemError(403, f"{identity.name} is of team {identity.team}, not of {named}; leave `team` out", "team")
    return identity.team or named


def check_names(*names: str) -> None:
    """Check names as the tasks do, which would refuse the record.

    Raises:
        ProblemError: 400.
    """
    if wrong := next((name for name in names if SEPARATOR in name), None):
        raise ProblemError(400, f"{wrong!r} has the control character U+001F in it; give another name", "invalid")


def check_time(time_ms: int) -> None:
    """Check a time as the tasks do, which would refuse the record.

    Raises:
        ProblemError: 400.
    """
    ahead_ms = time_ms - time.time_ns() // 1_000_000
    if ahead_ms > codecs.HOUR_MS:
        raise ProblemError(
            400, f"time_ms {time_ms} is {ahead_ms / codecs.HOUR_MS:.1f} hours ahead of now; at most one is taken", "future_time"
        )


@contextmanager
def bad_request() -> Iterator[None]:
    """Make what cannot be written a problem of the request.

    Raises:
        ProblemError: 400.
    """
    try:
        yield
    except SettingsError as error:
        raise ProblemError(400, str(error), "invalid") from error


ROUTES = (
    Route(
        "POST", "/decisions/{id}/answers", give_answer, "operator", "Answer a recommendation; the same answer again is written once.",
        Accepted, 201, body=AnswerRequest, also=(200,), problems=(404, 409),
    ),
    Route("POST", "/outcomes", tell_outcome, "operator", "Tell what was the matter with an entity.", Written, 201, body=OutcomeRequest),
    Route("POST", "/telemetry", send_telemetry, "operator", "Send samples.", TelemetryAccepted, 201, body=TelemetryRequest),
    Route("POST", "/control", command, "admin", "Command scopes or a source of answers.", Commanded, body=ControlRequest),
)  # fmt: skip
