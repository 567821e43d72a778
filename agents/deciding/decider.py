"""The decider: scenarios become decisions, and those that pass become recommendations.

Score, then safety policy, then threshold: a scenario that the policy refuses is blocked and touches no score, arm or budget.
A repeat of an open surfaced decision (same entity and class) that the policy allows writes `updated` and nothing else; another
repeat within the cooldown is withheld for that reason, unless what was withheld has become more confident. Control and model
records are inputs of the same task, with recorded positions (`agents.deciding.control`).

In shadow everything is decided, drawn and logged as usual, and nothing new is shown: what would have been surfaced is withheld
as `shadow`, every propensity is 0, and no unit of the budget is held. A repeat of a recommendation that was open before is not
`updated` but decided as any other scenario, as under kill; the open one goes on with its life: it can be answered, cleared, or
expire. For the cooldown what would have been surfaced counts as surfaced, so that a shadow shows how often one would have been
asked.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from agents import guardrails, scoring, thresholds
from agents.deciding import budget, clock, closing, control, learning, means, plain, refolding, windows
from agents.deciding.rows import RECENT_MAX, STATUS_OF, ClassRow, DecisionRow, EntityRow, SourceRow, Surfaced
from agents.deciding.turn import Turn
from agents.step import Block, Context, Result, Rows
from agents.thresholds import Selection
from agents.turn import fold
from schemas.codecs import HOUR_MS
from schemas.events import (
    ChannelState,
    ClassHistory,
    Cleared,
    Decision,
    Heartbeat,
    Life,
    PolicyVerdict,
    Reason,
    Scenario,
    Status,
)  # fmt: skip
from schemas.identity import derived_name, generator

compiled = lru_cache(maxsize=8)(guardrails.compile_policy)

CHANNELS_MAX = 8  # sources that a decision names, the latest of its class


class Scored(NamedTuple):
    """A scenario and its features with its class as it stands, the model's output by feature (logit), R, and the policy's verdict."""

    scenario: Scenario
    features: dict[str, float]
    class_row: ClassRow
    contributions: dict[str, float]
    model_output: float
    confidence: float
    verdict: PolicyVerdict


class Ruling(NamedTuple):
    """Why it was decided as it was, and by which draw."""

    reason: Reason
    selection: Selection


def decide(rows: Rows, block: Block, context: Context) -> Result:
    """Handle a block of scenario, control or model records."""
    return fold(rows, block, context, Turn, HANDLERS[block.topic])


def handle_scenario_event(turn: Turn, event: Scenario | Cleared | Heartbeat) -> None:
    """Move the scope's clock, then decide a scenario, or end what has cleared."""
    clock.advance(turn, event.time_ms, closing.close)
    if isinstance(event, Scenario):
        handle_scenario(turn, event)
    elif isinstance(event, Cleared):
        handle_cleared(turn, event)


def handle_cleared(turn: Turn, event: Cleared) -> None:
    """End the open recommendations of an entity that shows nothing unusual any more; they can still be answered."""
    entity = turn.state.find(EntityRow, turn.scope, event.entity)
    if entity is None:
        return
    for name in entity.open.values():
        decision = turn.state.find(DecisionRow, turn.scope, name)
        if decision is not None:
            decision.cleared = True
            closing.recommend(turn, decision, Life.CLEARED, event.time_ms)
    entity.open = {}


def handle_scenario(turn: Turn, scenario: Scenario, ruling: Callable[[Turn, Scored, bool], Ruling] | None = None) -> None:
    """Decide one scenario: a decision always, a recommendation if it passes, `updated` for a repeat of an open one.

    A scenario that comes a second time under its own name changes nothing. `ruling` is what rules instead of `rule`.
    """
    if turn.state.find(DecisionRow, turn.scope, derived_name(scenario.id, "decision")) is not None:
        return
    scored = score(turn, scenario, means.with_means(turn, scenario))
    entity = turn.state.get(EntityRow, turn.scope, scenario.entity)
    open_name = entity.open.get(scenario.scenario_class)
    decision = turn.state.find(DecisionRow, turn.scope, open_name) if open_name is not None else None
    if decision is not None and scored.verdict.allowed and not turn.shadowed():
        decision.repeats += 1
        decision.symptoms = scenario.symptoms
        decision.peers_alike = scenario.peers_alike
        closing.recommend(turn, decision, Life.UPDATED, turn.row.clock_ms)
        return
    last_ms = entity.last_ms.get(scenario.scenario_class)
    recent = last_ms is not None and turn.row.clock_ms < last_ms + turn.settings.profile.cooldown_ms
    # What was withheld and has grown since is looked at again: a fault that builds up must not hide behind its beginning.
    cooling = recent and scored.confidence <= entity.last_confidence.get(scenario.scenario_class, 1.0)
    event = explain(turn, scored, ruling(turn, scored, cooling) if ruling is not None else rule(turn, scored, cooling=cooling))
    turn.emit("decision", event.id, scenario.time_ms, event)
    remember(turn, entity, scenario, event)
    if event.status != Status.BLOCKED:
        means.remember_means(turn, scenario, event.features)
    windows.count_decision(turn, event)


def score(turn: Turn, scenario: Scenario, features: dict[str, float]) -> Scored:
    """Score a scenario by its features in its class, as the class stands, and ask the safety policy."""
    class_row = turn.state.find(ClassRow, turn.scope, scenario.scenario_class) or learning.new_class()
    parts = scoring.contributions(features, turn.row.weights)
    model_output = turn.row.intercept + sum(parts.values())
    confidence = learning.confidence_of(turn.settings.profile, class_row, model_output)
    del turn.row.surfaced[: bisect_right(turn.row.surfaced, turn.row.clock_ms - HOUR_MS, key=lambda past: past.time_ms)]
    verdict = guardrails.judge(compiled(turn.settings.policy), facts(turn, scenario))
    return Scored(scenario, features, class_row, parts, model_output, confidence, verdict)


def rule(turn: Turn, scored: Scored, *, cooling: bool) -> Ruling:
    """Apply the gates in their order: policy, cooldown, threshold, budget, shadow."""
    nothing = Selection(None, turn.settings.profile.threshold, passes=False, propensity=0.0)
    if not scored.verdict.allowed:
        return Ruling(Reason.POLICY, nothing)
    if cooling:
        return Ruling(Reason.COOLDOWN, nothing)
    selection = select(turn, scored)
    reason = Reason.PASSED if selection.passes else Reason.BELOW_THRESHOLD
    if budget.is_closed(turn):
        explores = generator(turn.settings.seed, scored.scenario.id, "exploration").random() < thresholds.EXPLORATION
        reason = Reason.EXPLORATION if explores else Reason.BUDGET
        selection = selection._replace(propensity=thresholds.EXPLORATION)
    if turn.shadowed():
        reason = Reason.SHADOW if STATUS_OF[reason] == Status.SURFACED else reason
        selection = selection._replace(propensity=0.0)
    return Ruling(reason, selection)


def select(turn: Turn, scored: Scored) -> Selection:
    """Draw once, by the profile's selector, with the scenario's own generator."""
    profile, class_row, confidence = turn.settings.profile, scored.class_row, scored.confidence
    if profile.selector == "fixed":
        return thresholds.fixed(confidence, profile.threshold)
    random = generator(turn.settings.seed, scored.scenario.id, profile.selector)
    if profile.selector == "thompson":
        return thresholds.thompson(confidence, np.array(turn.row.arm_likes), np.array(turn.row.arm_overrides), random)
    if profile.score == "mean":
        misaligned = profile.prior_weight * profile.prior_mean + class_row.weighted
        aligned = profile.prior_weight * (1 - profile.prior_mean) + class_row.weight - class_row.weighted
        return thresholds.posterior_mean(misaligned, aligned, profile.threshold, random)
    return thresholds.posterior(scored.model_output, class_row.offset, class_row.draw_information, profile.threshold, random)


def facts(turn: Turn, scenario: Scenario) -> dict[str, Any]:
    """Return the facts that the safety policy is declared over; rates are those of the hour before."""
    return {
        "scenario": {
            "scope": scenario.scope,
            "entity": scenario.entity,
            "scenario_class": scenario.scenario_class,
            "label": scenario.symptoms[0].label if scenario.symptoms else "",
            "score": scenario.score,
            "peers_alike": scenario.peers_alike,
            "peers_seen": scenario.peers_seen,
        },
        "action": {
            "name": scenario.action.name,
            "blast_radius": scenario.action.blast_radius,
            "reversible": scenario.action.reversible,
        },
        "rates": {
            "surfaced_last_hour_scope": len(turn.row.surfaced),
            "surfaced_last_hour_entity": [past.entity for past in turn.row.surfaced].count(scenario.entity),
            "surfaced_last_hour_action": [past.action for past in turn.row.surfaced].count(scenario.action.name),
        },
        "budget": {"trusted": budget.state(turn).trusted, "open": turn.row.open},
        "control": {"killed": turn.killed(), "frozen": turn.frozen()},
    }


def explain(turn: Turn, scored: Scored, ruling: Ruling) -> Decision:
    """Write down everything that led to the decision."""
    settings, scenario, class_row = turn.settings, scored.scenario, scored.class_row
    channels = {}
    for source in list(class_row.by_source)[-CHANNELS_MAX:]:
        known = turn.state.find(SourceRow, turn.scope, source)
        if known is not None:
            channels[source] = ChannelState(*map(float, turn.channel(known)))
    return Decision(
        id=derived_name(scenario.id, "decision"),
        scenario=scenario.id,
        scope=turn.scope,
        entity=scenario.entity,
        scenario_class=scenario.scenario_class,
        time_ms=scenario.time_ms,
        decided_ms=turn.row.clock_ms,
        status=STATUS_OF[ruling.reason],
        reason=ruling.reason,
        confidence=scored.confidence,
        model_output=scored.model_output,
        offset=class_row.offset,
        information=class_row.information,
        draw_information=class_row.draw_information,
        selector=settings.profile.selector,
        draw=ruling.selection.draw,
        threshold=ruling.selection.threshold,
        propensity=ruling.selection.propensity,
        contributions=scored.contributions,
        features=scored.features,
        history=ClassHistory(class_row.answers, class_row.likes, class_row.overrides, class_row.outcomes),
        verdict=scored.verdict,
        budget=budget.state(turn),
        channels=channels,
        action=scenario.action,
        symptoms=scenario.symptoms,
        versions={
            "model": turn.row.model,
            "policy": settings.policy.version,
            "profile": settings.profile.name,
            "settings": settings.digest,
        },
        positions=turn.positions,
        window=turn.row.window,
    )


def remember(turn: Turn, entity: EntityRow, scenario: Scenario, event: Decision) -> None:
    """Keep the decision for answers and outcomes, and surface it if it passed."""
    profile = turn.settings.profile
    surfaced = event.status == Status.SURFACED
    decision = DecisionRow(
        id=event.id,
        entity=event.entity,
        scenario_class=event.scenario_class,
        time_ms=event.time_ms,
        decided_ms=event.decided_ms,
        deadline_ms=event.decided_ms + profile.answer_deadline_ms,
        reason=event.reason,
        closed=not surfaced,
        features=event.features,
        model=event.versions["model"],
        model_output=event.model_output,
        confidence=event.confidence,
        threshold=event.threshold,
        propensity=event.propensity,
        action=event.action,
        symptoms=event.symptoms,
        peers_alike=scenario.peers_alike,
        trace=turn.trace,
    )
    turn.state.put(decision, turn.scope, event.id)
    if decision.scored:
        # A repeat within the cooldown does not prolong it, so what never stops is decided once in that time.
        entity.last_ms[event.scenario_class] = event.decided_ms
        entity.last_confidence[event.scenario_class] = 1.0 if surfaced or event.reason == Reason.SHADOW else event.confidence
        plain.count_scenario(turn.row.table, event.confidence)
    entity.recent.append((event.time_ms, event.id))
    del entity.recent[:-RECENT_MAX]
    if surfaced:
        turn.row.open += not decision.explored
        turn.row.surfaced.append(Surfaced(turn.row.clock_ms, event.entity, event.action.name))
        entity.open[event.scenario_class] = event.id
        clock.schedule(turn, decision, decision.deadline_ms)
        closing.recommend(turn, decision, Life.OPENED, event.decided_ms)
    else:
        clock.schedule(turn, decision, event.decided_ms + clock.RETENTION_MS)


HANDLERS = refolding.guarded({"scenario": handle_scenario_event, "control": control.handle_control, "model": control.handle_model})
