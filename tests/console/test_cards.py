"""The queue: what is grouped into one card, in which order cards come, and what they say."""

import random
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs import decode
from schemas.events import Action, ClassHistory, Decision, Life, Recommendation, Scenario, Symptom
from schemas.reference import EXAMPLES
from streams.console.cards import GAP_MS, cards, order
from streams.console.sentences import (
    history_in_words,
    metric_in_words,
    number,
    peers_in_words,
    symptom_in_words,
    symptoms_in_words,
)
from streams.console.views import Card
from streams.serving.tally import is_answerable
from tests.console.valid import again, valid

OPENED: Recommendation = decode("recommendation", (EXAMPLES / "recommendation/opened.json").read_bytes())
ANSWERED: Recommendation = decode("recommendation", (EXAMPLES / "recommendation/answered.json").read_bytes())
DECIDED: Decision = decode("decision", (EXAMPLES / "decision/passed.json").read_bytes())
SEEN: Scenario = decode("scenario", (EXAMPLES / "scenario/scenario.json").read_bytes())
STEPS = st.integers(0, 12).map(lambda step: step * GAP_MS // 2)
# Few classes, entities and times, so that much falls together.
NEAR = st.builds(
    partial(msgspec.structs.replace, OPENED),
    id=st.uuids().map(str),
    scope=st.sampled_from(["shop", "bank"]),
    entity=st.sampled_from(["web-1", "web-2", "web-3"]),
    scenario_class=st.sampled_from(["a", "b"]),
    life=st.sampled_from(Life),
    answers=st.sampled_from([(), (), ANSWERED.answers]),
    late=st.sampled_from([False, False, True]),
    scenario_ms=STEPS,
    opened_ms=STEPS,
    deadline_ms=STEPS,
    confidence=st.floats(0, 1),
    repeats=st.integers(0, 3),
    peers_alike=st.sampled_from([0, 0, 0, 1, 4]),
)
QUEUES = st.lists(NEAR, max_size=10, unique_by=lambda each: each.id)


def told(each: Recommendation) -> tuple[Decision, Scenario]:
    """Return a decision and a scenario of a recommendation."""
    decision = msgspec.structs.replace(DECIDED, id=each.id, scenario=f"scenario-{each.id}")
    return decision, msgspec.structs.replace(SEEN, id=decision.scenario)


def grouped(queue: list[Recommendation]) -> tuple[Card, ...]:
    """Return the cards of a queue of whose decisions every second one is held."""
    known = [told(each) for each in sorted(queue, key=lambda each: each.id)[::2]]
    return cards(queue, {decision.id: decision for decision, _ in known}, {scenario.id: scenario for _, scenario in known})


@given(QUEUES, st.randoms(use_true_random=False))
def test_cards_do_not_depend_on_the_order_of_recommendations(queue: list[Recommendation], chance: random.Random) -> None:
    """Any order of the same recommendations gives the same cards, byte for byte."""
    assert msgspec.json.encode(grouped(chance.sample(queue, len(queue)))) == msgspec.json.encode(grouped(queue))


@given(QUEUES)
def test_what_waits_is_in_exactly_one_card(queue: list[Recommendation]) -> None:
    """Every recommendation that can be answered in time is a member of one card, and nothing else is."""
    members = [member.recommendation.id for card in grouped(queue) for member in card.members]
    assert sorted(members) == sorted(each.id for each in queue if is_answerable(each))


@given(QUEUES)
def test_a_card_is_of_one_class_without_a_gap(queue: list[Recommendation]) -> None:
    """Members are of one scope and class, no neighbours in time are more than an hour apart, and two cards of a class are."""
    found: dict[tuple[str, str], list[list[int]]] = {}
    for card in grouped(queue):
        assert {(each.recommendation.scope, each.recommendation.scenario_class) for each in card.members} == {
            (card.scope, card.scenario_class)
        }
        times = sorted(each.recommendation.scenario_ms for each in card.members)
        assert all(after - before <= GAP_MS for before, after in pairwise(times))
        found.setdefault((card.scope, card.scenario_class), []).append(times)
    for spans in found.values():
        assert all(after[0] - before[-1] > GAP_MS for before, after in pairwise(sorted(spans)))


@given(QUEUES)
def test_the_order_of_cards_is_total(queue: list[Recommendation]) -> None:
    """No two cards are equal in the order; what has cleared comes last, and before it urgency falls."""
    found = grouped(queue)
    assert all(order(before) < order(after) for before, after in pairwise(found))
    waiting = [card.urgency for card in found if not card.cleared]
    assert [card.cleared for card in found] == [False] * len(waiting) + [True] * (len(found) - len(waiting))
    assert waiting == sorted(waiting, reverse=True)


@given(QUEUES)
def test_a_card_keeps_its_leader_while_others_join(queue: list[Recommendation]) -> None:
    """The leading member is the first surfaced of those that have not cleared; later ones never take its place."""
    for card in grouped(queue):
        lives = [(each.recommendation.life is Life.CLEARED, each.recommendation.opened_ms) for each in card.members]
        assert card.id == card.members[0].recommendation.id
        assert lives == sorted(lives)
        assert card.cleared == all(cleared for cleared, _ in lives)


@given(QUEUES)
def test_a_card_counts_what_it_holds(queue: list[Recommendation]) -> None:
    """Hosts are at least the entities of the members, repeats their sum, times their earliest."""
    for card in grouped(queue):
        members = [each.recommendation for each in card.members]
        assert card.hosts >= len({each.entity for each in members})
        assert card.hosts >= 1 + card.peers_alike
        assert card.repeats == sum(each.repeats for each in members)
        assert (card.opened_ms, card.deadline_ms) == (min(each.opened_ms for each in members), min(each.deadline_ms for each in members))


@given(
    st.lists(valid(Symptom), max_size=5).map(tuple),
    valid(ClassHistory),
    valid(Action),
    valid(Recommendation.__annotations__["time_ms"]),
    valid(int),
    valid(int),
    st.text(min_size=1, max_size=8),
)
def test_wording_never_fails(
    symptoms: tuple[Symptom, ...], history: ClassHistory, action: Action, time_ms: int, alike: int, peers: int, entity: str
) -> None:
    """Whatever its schema allows in an event, its card is JSON, with something to read in it."""
    each = msgspec.structs.replace(OPENED, symptoms=symptoms, action=action, entity=entity, peers_alike=alike)
    decision, scenario = told(each)
    decision = msgspec.structs.replace(decision, history=history)
    scenario = msgspec.structs.replace(scenario, symptom_start_ms=time_ms, peers_seen=peers)
    (card,) = cards([each], {each.id: decision}, {scenario.id: scenario})
    assert again(card) == card
    assert all((card.says, card.action_says, card.like_says, card.members[0].says))


def test_a_fault_at_neighbours_reads_as_a_sentence() -> None:
    """Symptom, ratio, duration and peers stand in one short sentence."""
    symptom = Symptom("disk_write_latency_ms", "disk_write_latency_ms:up", "level", "up", 40.0, 84.0, 12.0)
    each = msgspec.structs.replace(OPENED, symptoms=(symptom,), peers_alike=3)
    decision, scenario = told(each)
    scenario = msgspec.structs.replace(scenario, symptom_start_ms=each.scenario_ms - 240_000, peers_alike=3, peers_seen=12)
    (card,) = cards([each], {decision.id: decision}, {scenario.id: scenario})
    assert card.says == "disk write latency 7 × its usual for 4 min; 3 of 12 other hosts alike"


@pytest.mark.parametrize(
    ("shape", "value", "usual", "says"),
    [
        ("level", 84.0, 12.0, "memory used 7 × its usual"),
        ("level", 900.0, 12.0, "memory used 75 × its usual"),
        ("level", 1e9, 1e-9, "memory used more than 1,000 × its usual"),
        ("level", 93.25, 62.0, "memory used 93.2 %, usually 62 %"),
        ("level", 3.0, 62.0, "memory used 4.84 % of its usual"),
        ("level", 5.0, 0.0, "memory used 5 %, usually 0 %"),
        ("level", 0.0, 62.0, "memory used 0 %, usually 62 %"),
        ("level", -5.0, -3.0, "memory used -5 %, usually -3 %"),
        ("spike", 84.0, 12.0, "memory used briefly 7 × its usual"),
        ("flat", 41.0, 41.0, "memory used stands still at 41 %"),
        ("variance", 50.0, 41.0, "memory used swings more than is usual, now 50 %"),
    ],
)
def test_a_symptom_says_what_its_numbers_mean(shape: Any, value: float, usual: float, says: str) -> None:  # noqa: ANN401 - a Literal
    """A ratio only between numbers above 0 that are far apart, else both values; a flat or unsteady metric is not compared."""
    assert symptom_in_words(Symptom("memory_used_percent", "memory_used_percent:up", shape, "up", 9.0, value, usual)) == says


def test_further_symptoms_are_counted() -> None:
    """Two symptoms are told, the others counted; none at all is said too."""
    symptoms = [Symptom(f"m{place}", f"m{place}:up", "level", "up", 9.0, 8.0, 2.0) for place in range(5)]
    assert symptoms_in_words(symptoms, 60_000) == "m0 4 × its usual, m1 4 × its usual and 3 more for 60 s"
    assert symptoms_in_words([]) == "unusual telemetry"


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("disk_write_latency_ms", ("disk write latency", " ms")),
        ("node_network_receive_bytes_total", ("node network receive", " B")),
        ("cpu.user.pct", ("CPU user", " %")),
        ("requestLatencySeconds", ("request latency", " s")),
        ("disk_us", ("disk us", "")),
        ("ms", ("ms", "")),
        ("m0", ("m0", "")),
        ("_total", ("total", "")),
        ("__", ("a metric without a name", "")),
    ],
)
def test_a_metric_becomes_words(metric: str, words: tuple[str, str]) -> None:
    """Parts of a name become words, a unit at its end goes to the numbers, and something is left of every name."""
    assert metric_in_words(metric) == words


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (62.0, "62"),
        (93.25, "93.2"),
        (-999.6, "-1,000"),
        (12_345.0, "12,345"),
        (3.21e6, "3.21 M"),
        (999.96e6, "1 G"),
        (5e12, "5 T"),
        (9.999e14, "1e+15"),
        (1e30, "1e+30"),
    ],
)
def test_a_number_is_short(value: float, written: str) -> None:
    """Numbers keep three digits, letters stand for powers of a thousand, exponents only where no letter reaches."""
    assert number(value) == written


@pytest.mark.parametrize(
    ("alike", "seen", "says"),
    [(3, 12, "3 of 12 other hosts alike"), (0, 1, "0 of 1 other host alike"), (2, 0, "2 other hosts alike"), (0, 0, "")],
)
def test_peers_are_others(alike: int, seen: int, says: str) -> None:
    """The entity itself is not among its peers; nothing is said of peers where none are known."""
    assert peers_in_words(alike, seen) == says


def test_answers_to_the_like_are_counted_apart_from_outcomes() -> None:
    """Likes and overrides are answers of operators; outcomes are told beside them."""
    assert history_in_words(ClassHistory(17, 12, 3, 2)) == "15 answers to the like before: 12 likes, 3 overrides; 2 outcomes"
    assert history_in_words(ClassHistory(1, 1, 0, 0)) == "1 answer to the like before: 1 like, 0 overrides"
    assert history_in_words(ClassHistory()) == "nobody had answered the like before"
