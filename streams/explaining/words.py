"""What decisions, lives and models say, as sentences. Times are UTC; numbers keep what tells them apart."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from agents.guardrails import FACTS_RULE, KILL_RULE
from schemas.events import (
    INITIAL,
    Action,
    Answer,
    BudgetState,
    Decision,
    Life,
    Model,
    PolicyVerdict,
    Reason,
    Recommendation,
    StandingAnswer,
    Status,
    Symptom,
)  # fmt: skip
from schemas.settings import Policy, Settings

SYMPTOMS_MAX = 5
_FACT = re.compile(r"\b\w+\.\w+\b")

REASONS: dict[Reason, str] = {
    Reason.PASSED: "The safety policy allowed it, and {compared}.",
    Reason.BELOW_THRESHOLD: "The safety policy allowed it, but {compared}.",
    Reason.COOLDOWN: (
        "The same class had been decided at this entity within {cooldown}, and its confidence of {confidence} was no higher than then: "
        "a repeat is not judged again."
    ),
    Reason.BUDGET: (
        "The override budget was used up: {wealth}. While it is, 1 % of the scenarios are surfaced all the same, drawn at random; "
        "this one was not drawn. {would}"
    ),
    Reason.EXPLORATION: (
        "The override budget was used up: {wealth}. While it is, 1 % of the scenarios are surfaced all the same, as audited exploration "
        "booked apart, and this one was drawn. {would}"
    ),
    Reason.POLICY: "The safety policy refused it: {refused}. Nothing that is learned can change that.",
    Reason.SHADOW: "The scope is in shadow: everything is decided, nothing is surfaced. {would}",
}
STATUSES = {
    Status.SURFACED: "surfaced: operators were shown it",
    Status.WITHHELD: "withheld: nobody was shown it",
    Status.BLOCKED: "blocked by the safety policy: nobody was shown it",
}
SELECTORS = {
    "posterior": "the class's offset is drawn from what its answers leave open, and the confidence with it must reach the threshold",
    "thompson": "the threshold is drawn: that of the five whose answers so far drew the highest success",
    "fixed": "a constant threshold: nothing is drawn",
}
ANSWERS = {Answer.LIKE: "liked it", Answer.OVERRIDE: "overrode it", Answer.NEUTRAL: "was neutral", Answer.RETRACT: "took the answer back"}
ORIGINS = {
    "given": "written to the model topic as given",
    "trained": "trained on the scope's judgements",
    "rollback": "put back in force by a rollback",
    "imported": "imported from another scope",
}
SHAPES = {"level": "level", "spike": "spike", "variance": "unsteadiness", "flat": "flat line"}


def utc(time_ms: int) -> str:
    """Write a time, e.g. `2020-01-01 01:35:00 UTC`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def printable(text: str) -> str:
    """Return a text as a terminal may have it: what would steer the terminal becomes a replacement character, any space one space."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def duration(span_ms: int) -> str:
    """Write a span of time in the largest unit that keeps two digits or so."""
    for unit, length_ms in (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if abs(span_ms) >= 2 * length_ms:
            return f"{span_ms / length_ms:.3g} {unit}"
    return f"{span_ms / 1000:.3g} s"


def apart(first: float, second: float) -> tuple[str, str]:
    """Write two numbers with three decimals, or as many as tell them apart."""
    for decimals in range(3, 16):
        written = f"{first:.{decimals}f}", f"{second:.{decimals}f}"
        if written[0] != written[1]:
            return written
    return f"{first:.3f}", f"{second:.3f}"


def listed(parts: Iterable[str]) -> str:
    """Join with commas and a last `and`."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def happened(entity: str, symptoms: Sequence[Symptom], peers_alike: int | None = None, peers_seen: int | None = None) -> str:
    """Say what was unusual at an entity, and at how many of its peers."""
    seen = [
        f"{each.metric} at {each.value:.4g} instead of {each.usual:.4g} ({SHAPES[each.shape]} {each.direction}, {each.z:.1f} spreads away)"
        for each in symptoms[:SYMPTOMS_MAX]
    ]
    if len(symptoms) > SYMPTOMS_MAX:
        seen.append(f"{len(symptoms) - SYMPTOMS_MAX} more")
    peers = "" if not peers_seen else f" {peers_alike} of {peers_seen} peers looked alike."
    return f"At {entity}: {listed(seen) if seen else 'unusual telemetry'}.{peers}"


def proposed(action: Action) -> str:
    """Say what an action is."""
    undo = "can be undone" if action.reversible else "cannot be undone"
    touches = "1 entity" if action.blast_radius == 1 else f"{action.blast_radius} entities"
    return f"{action.name}{f' ({action.description})' if action.description else ''}: touches {touches}, {undo}"


def why(decision: Decision, settings: Settings | None) -> str:
    """Say why a decision has its status; `settings` are those it was made under, where they are known."""
    return REASONS[decision.reason].format(
        compared=compared(decision),
        confidence=f"{decision.confidence:.3f}",
        cooldown="the cooldown" if settings is None else duration(settings.profile.cooldown_ms),
        wealth=wealth(decision.budget, settings),
        would=would(decision),
        refused=refused(decision.verdict, None if settings is None else settings.policy),
    )


def compared(decision: Decision) -> str:
    """Say how the confidence stood to the threshold."""
    value, name = decision.confidence, "its confidence"
    if decision.selector == "posterior" and decision.draw is not None:
        value, name = decision.draw, f"its confidence as drawn (from {decision.confidence:.3f} and what is uncertain in it)"
    left, right = apart(value, decision.threshold)
    return f"{name} of {left} {'reached' if value >= decision.threshold else 'did not reach'} the threshold of {right}"


def would(decision: Decision) -> str:
    """Say what the score alone would have done."""
    value = decision.draw if decision.selector == "posterior" and decision.draw is not None else decision.confidence
    return f"By its score it would have been {'surfaced' if value >= decision.threshold else 'withheld'}: {compared(decision)}."


def wealth(budget: BudgetState, settings: Settings | None) -> str:
    """Say what was left of the override budget."""
    kind = "trusted" if settings is None else settings.profile.budget
    left = budget.raw if kind == "raw" else budget.trusted
    return f"{left:.1f} overrides were left, and {budget.open} open recommendations hold one each"


def budgeted(budget: BudgetState, settings: Settings | None) -> str:
    """Say what the override budget was and meant."""
    if settings is not None and settings.profile.budget == "off":
        return "The profile has no override budget: it is counted and stops nothing."
    which = "" if settings is None else f"; the profile goes by the {settings.profile.budget} one"
    return (
        f"{budget.trusted:.1f} overrides were left counting each source by its trust, {budget.raw:.1f} counting every override{which}. "
        f"{budget.open} open recommendations held one each; nothing is surfaced once less than one would remain."
    )


def refused(verdict: PolicyVerdict, policy: Policy | None) -> str:
    """Say which rules refused, over which facts, or what could not be judged."""
    rules = {} if policy is None else {rule.name: rule for rule in policy.rules}
    said = []
    for name in verdict.rules:
        if name == KILL_RULE:
            said.append("the kill switch was on")
        elif name == FACTS_RULE:
            said.append("not every declared fact could be judged")
        elif name in rules:
            facts = [f"{fact} = {verdict.facts[fact]}" for fact in _FACT.findall(rules[name].deny_if) if fact in verdict.facts]
            reason = f": {rules[name].reason}" if rules[name].reason else ""
            said.append(f"rule {name}{reason} ({', '.join(dict.fromkeys(facts)) or rules[name].deny_if})")
        else:
            said.append(f"rule {name}")
    error = f" (what could not be judged is refused: {verdict.error})" if verdict.error else ""
    return "; ".join(said or ["no rule is named"]) + error


def drawn(decision: Decision) -> str:
    """Say how the threshold was applied, and how probable it was that the scenario is surfaced."""
    how = SELECTORS.get(decision.selector, decision.selector)
    if decision.reason in {Reason.POLICY, Reason.COOLDOWN}:
        return f"Nothing was drawn: it did not come to the threshold. ({decision.selector}: {how}.)"
    return f"{decision.selector}: {how}. Of such scenarios {decision.propensity:.1%} would be surfaced."


def modelled(identity: str, model: Model | None) -> str:
    """Say where a model came from."""
    if model is None:
        return "the profile's own, from before any training" if identity == INITIAL else "no record of it is left on the model topic"
    by = f" by {model.by}" if model.by else ""
    parent = f", after {model.parent}" if model.parent else ""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in model.evaluation.items())
    return f"{ORIGINS[model.origin]}{by} at {utc(model.time_ms)}{parent}{f'; evaluation: {numbers}' if numbers else ''}"


def answered(answer: StandingAnswer) -> str:
    """Say what an operator answered."""
    more = [
        *([f"reason {answer.reason}"] if answer.reason else []),
        *([f"note: {answer.note}"] if answer.note else []),
        *([f"proposes {answer.counter_proposal} instead"] if answer.counter_proposal else []),
    ]
    team = f" ({answer.team})" if answer.team else ""
    return ", ".join((f"{answer.operator}{team} {ANSWERS[answer.kind]}", *more))


def lived(moment: Recommendation, before: Recommendation | None) -> str:
    """Say what happened in one moment of a recommendation's life, as against the moment before."""
    if moment.life is Life.OPENED:
        return f"shown to operators; an answer was wanted by {utc(moment.deadline_ms)}"
    if moment.life is Life.UPDATED:
        return f"the same again at the entity: {moment.repeats} {'repeat' if moment.repeats == 1 else 'repeats'} so far"
    if moment.life is Life.CLEARED:
        return "the entity showed nothing unusual any more; it could still be answered"
    if moment.life is Life.EXPIRED:
        return "closed without an answer"
    known = {(answer.operator, answer.revision) for answer in before.answers} if before is not None else set()
    new = [answered(answer) for answer in moment.answers if (answer.operator, answer.revision) not in known]
    stand = {answer.operator for answer in moment.answers}
    gone = sorted({operator for operator, _ in known if operator not in stand})
    said = [*new, *(f"{operator} took the answer back" for operator in gone)] or ["an answer"]
    return "; ".join(said) + (" (late: it counts for the trust in its source only)" if moment.late else "")
