"""The queue: open recommendations grouped into cards, the most urgent first.

A card holds recommendations of one class (scope, leading symptom's label and action) of which each is at most GAP_MS from the next:
repeats and neighbours of one fault, as far as can be told. Since they are of one class, one answer means the same to all of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from schemas.events import Decision, Life, Recommendation, Scenario
from streams.console.sentences import (
    entities_in_words,
    history_in_words,
    lasted_ms,
    peers_in_words,
    symptoms_in_words,
)
from streams.console.views import Card, Member
from streams.explaining.words import proposed
from streams.serving.tally import is_answerable

# As long as the cooldown of a repeat: what is shown later has been judged anew.
GAP_MS = 3_600_000


def cards(
    recommendations: Iterable[Recommendation], decisions: Mapping[str, Decision], scenarios: Mapping[str, Scenario]
) -> tuple[Card, ...]:
    """Group the recommendations that can still be answered in time, and order the cards.

    Args:
        recommendations: In any order, each at its latest moment; those that cannot be answered any more are left out.
        decisions: By id, of as many as are held: what was answered to the like, and the name of the scenario.
        scenarios: By id, of as many as are held: since when it lasts, and how many peers were seen.
    """
    waiting = {each.id: each for each in recommendations if is_answerable(each)}
    made = [card_of(group, decisions, scenarios) for group in grouped(waiting.values())]
    return tuple(sorted(made, key=order))


def order(card: Card) -> tuple[bool, float, int, str]:
    """Return what cards are sorted by: cleared ones last, then the most urgent first, then the soonest due; no two are equal."""
    return card.cleared, -card.urgency, card.deadline_ms, card.id


def grouped(recommendations: Iterable[Recommendation]) -> Iterator[list[Recommendation]]:
    """Yield the recommendations of each class, cut where more than GAP_MS lie between one and the next."""
    by_class = sorted(recommendations, key=lambda each: (each.scope, each.scenario_class, each.scenario_ms))
    for _, alike in groupby(by_class, key=lambda each: (each.scope, each.scenario_class)):
        group: list[Recommendation] = []
        for each in alike:
            if group and each.scenario_ms - group[-1].scenario_ms > GAP_MS:
                yield group
                group = []
            group.append(each)
        yield group


def card_of(group: list[Recommendation], decisions: Mapping[str, Decision], scenarios: Mapping[str, Scenario]) -> Card:
    """Make the card of one group.

    The leading member is the first surfaced of those that have not cleared: it stays the same while others join. Peers are told as the
    member saw them that saw the most alike.
    """
    told = {each.id: scenario_of(each, decisions, scenarios) for each in group}
    ordered = sorted(group, key=lambda each: (each.life is Life.CLEARED, each.opened_ms, each.id))
    leading = ordered[0]
    widest = max(ordered, key=lambda each: each.peers_alike)
    seen = told[widest.id]
    peers_seen = 0 if seen is None else seen.peers_seen
    entities = list(dict.fromkeys(each.entity for each in ordered))
    hosts = max(len(entities), 1 + widest.peers_alike)
    decision, lasted = decisions.get(leading.id), lasted_ms(leading, told[leading.id])
    peers = peers_in_words(widest.peers_alike, peers_seen)
    return Card(
        id=leading.id,
        scope=leading.scope,
        scenario_class=leading.scenario_class,
        title=entities_in_words(entities),
        says="; ".join(filter(None, (symptoms_in_words(leading.symptoms, lasted), peers))),
        action=leading.action.name,
        action_says=proposed(leading.action),
        confidence=leading.confidence,
        threshold=leading.threshold,
        urgency=hosts * max(each.confidence for each in ordered),
        opened_ms=min(each.opened_ms for each in ordered),
        deadline_ms=min(each.deadline_ms for each in ordered),
        hosts=hosts,
        peers_alike=widest.peers_alike,
        peers_seen=peers_seen,
        repeats=sum(each.repeats for each in ordered),
        like_says=history_in_words(None if decision is None else decision.history),
        cleared=leading.life is Life.CLEARED,
        members=tuple(member_of(each, told[each.id]) for each in ordered),
    )


def member_of(recommendation: Recommendation, scenario: Scenario | None) -> Member:
    """Make one member of a card."""
    lasted = lasted_ms(recommendation, scenario)
    return Member(recommendation, symptoms_in_words(recommendation.symptoms, lasted), lasted)


def scenario_of(recommendation: Recommendation, decisions: Mapping[str, Decision], scenarios: Mapping[str, Scenario]) -> Scenario | None:
    """Return the scenario of a recommendation, where its decision and the scenario are held."""
    decision = decisions.get(recommendation.id)
    return None if decision is None else scenarios.get(decision.scenario)
