"""The API's reads: all that the page shows, from the read model; why a decision came out as it did, from the topics."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.events import Decision, Name, Recommendation, Scenario, Status
from schemas.topics import DECISION, RECOMMENDATION, SCENARIO
from streams.console import cards, loop
from streams.console.problems import ProblemError
from streams.console.reading import ReadModel, found, read_model
from streams.console.routes import API, DEPLOYMENT, SETTINGS, Call, Route
from streams.console.views import DecisionList, Me, MomentView, Queue, RecommendationList, ScopeList, ScopeView
from streams.explaining.explanation import Explanation
from streams.explaining.finding import explain_running
from streams.serving.force import ALL_SCOPES
from streams.serving.tally import is_open

LIMIT_MAX = 200
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="At most so many.")]
Scope = Annotated[Name | UnsetType, Meta(description="Of this scope; of all where it is not given.")]
After = Annotated[str, Meta(description="A cursor that this server gave: waits, up to 2 s, until the answer is at least as new.")]
Before = Annotated[str, Meta(description="`next` of the page before; the newest where it is not given.")]


class Fresh(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a read that may wait for what was written."""

    after: After = ""


class QueueQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the queue."""

    scope: Scope = UNSET
    after: After = ""


class RecommendationsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of recommendations."""

    scope: Scope = UNSET
    open: Annotated[bool, Meta(description="Only those that wait for an answer.")] = False
    limit: Limit = 50
    before: Before = ""


class DecisionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of decisions."""

    scope: Scope = UNSET
    status: Annotated[Status | UnsetType, Meta(description="Only those that came out so.")] = UNSET
    limit: Limit = 50
    before: Before = ""


async def me(call: Call) -> Me:
    """Tell who asks."""
    who = call.identity
    return Me(who.name, who.role, who.operator, who.team, who.tokens)


async def queue(call: Call) -> Queue:
    """Give what waits for an answer, as cards."""
    model, query = read_model(call.request.app), call.query
    position = await model.cursor_after(query.after)
    clocks_ms = await model.clocks()
    waiting = await model.answerable([query.scope] if query.scope else clocks_ms)
    made = await model.held(DECISION.name, (each.id for each in waiting))
    told = await model.held(SCENARIO.name, (each.scenario for each in made.values()))
    shown = {scope: time_ms for scope, time_ms in clocks_ms.items() if not query.scope or scope == query.scope}
    undo_ms = call.request.app[SETTINGS].profile.undo_window_ms
    forces = {reach: force for reach, force in (await model.forces()).items() if not query.scope or reach in {query.scope, ALL_SCOPES}}
    return Queue(position, shown, sum(map(is_open, waiting)), cards.cards(waiting, made, told), undo_ms, loop.in_force(forces))


async def recommendations(call: Call) -> RecommendationList:
    """List recommendations, the newest first."""
    model, query = read_model(call.request.app), call.query
    position = await model.cursor_after("")
    names = await scopes_of(model, query.scope)
    page = await model.newest(RECOMMENDATION.name, names, query.before, query.limit, lambda _: True, waiting=query.open)
    return RecommendationList(position, tuple(page.events), page.next)


async def recommendation(call: Call) -> Recommendation:
    """Give one recommendation as it stands."""
    name = call.path["id"]
    event: Recommendation = found(await read_model(call.request.app).event(RECOMMENDATION.name, name), "recommendation", name)
    return event


async def decisions(call: Call) -> DecisionList:
    """List decisions, the newest first."""
    model, query = read_model(call.request.app), call.query
    position = await model.cursor_after("")
    names = await scopes_of(model, query.scope)
    page = await model.newest(
        DECISION.name, names, query.before, query.limit, lambda event: query.status is UNSET or event.status is query.status
    )
    return DecisionList(position, tuple(page.events), page.next)


async def decision(call: Call) -> Decision:
    """Give one decision."""
    name = call.path["id"]
    event: Decision = found(await read_model(call.request.app).event(DECISION.name, name), "decision", name)
    return event


async def why(call: Call) -> Explanation:
    """Explain one decision from the topics."""
    return await explain_running(call.request.app[DEPLOYMENT], call.path["id"])


async def moment(call: Call) -> MomentView:
    """Give the blamed metrics around the moment of one decision; only what is usual of them where its scenario is not held any more."""
    model, name = read_model(call.request.app), call.path["id"]
    made: Decision = found(await model.event(DECISION.name, name), "decision", name)
    usual = {symptom.metric: symptom.usual for symptom in made.symptoms}
    scenario: Scenario | None = await model.event(SCENARIO.name, made.scenario)
    if scenario is None:
        return MomentView((), {}, None, usual)
    times_ms = tuple(scenario.excerpt_times_ms)
    # A scenario's lists are of one length; what is written by others might not be.
    metrics = {name: (*values[: len(times_ms)], *[None] * (len(times_ms) - len(values))) for name, values in scenario.excerpt.items()}
    return MomentView(times_ms, metrics, scenario.symptom_start_ms, usual)


async def scopes(call: Call) -> ScopeList:
    """Give the numbers of every scope."""
    model = read_model(call.request.app)
    position = await model.cursor_after(call.query.after)
    clocks_ms, forces = await model.clocks(), await model.forces()
    told = [loop.scope_summary(await model.scope(name, clock_ms, forces, series={})) for name, clock_ms in clocks_ms.items()]
    return ScopeList(position, tuple(told))


async def scope(call: Call) -> ScopeView:
    """Give everything about one scope."""
    model, name = read_model(call.request.app), call.path["scope"]
    position = await model.cursor_after(call.query.after)
    clock_ms = await model.clock(name)
    if clock_ms is None:
        raise ProblemError(404, f"no scope {name!r} has been heard of; GET {API}/scopes lists those that have", "unknown_scope")
    records = await model.scope(name, clock_ms, await model.forces())
    return loop.scope_view(records, call.request.app[SETTINGS].profile, position)


async def scopes_of(model: ReadModel, scope: str | UnsetType) -> list[str]:
    """Return the scope that was asked for, or all."""
    return [scope] if scope else list(await model.clocks())


ROUTES = (
    Route("GET", "/me", me, "viewer", "Who asks, and what he may do.", Me),
    Route("GET", "/queue", queue, "viewer", "What waits for an answer, as cards, the most urgent first.", Queue, query=QueueQuery),
    Route(
        "GET", "/recommendations", recommendations, "viewer", "Recommendations, the newest first.", RecommendationList,
        query=RecommendationsQuery,
    ),
    Route("GET", "/recommendations/{id}", recommendation, "viewer", "One recommendation as it stands.", Recommendation, problems=(404,)),
    Route("GET", "/decisions", decisions, "viewer", "Decisions, the newest first.", DecisionList, query=DecisionsQuery),
    Route("GET", "/decisions/{id}", decision, "viewer", "One decision, with all that led to it.", Decision, problems=(404,)),
    Route("GET", "/decisions/{id}/why", why, "viewer", "Why it came out so, and what came of it, in words.", Explanation, problems=(404,)),
    Route("GET", "/decisions/{id}/moment", moment, "viewer", "The blamed metrics around its moment.", MomentView, problems=(404,)),
    Route("GET", "/scopes", scopes, "viewer", "The numbers of every scope.", ScopeList, query=Fresh),
    Route("GET", "/scopes/{scope}", scope, "viewer", "All that the Loop view shows of one scope.", ScopeView, query=Fresh, problems=(404,)),
)  # fmt: skip
