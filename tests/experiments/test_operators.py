"""What the simulated operators must hold."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.operators import SLOT_MS, Behaviour, Desk, answers, is_reviewed, outcomes
from experiments.world import FROZEN_SCOPE, HOUR_MS, SCOPE, SCOPES, START_MS, World, entity_name, event_at, events, time_of
from schemas.codecs import decode
from schemas.events import Action, Answer, Feedback, Life, Recommendation, Verdict
from schemas.settings import DEPLOY, Catalogue, ScopeSettings, read_yaml

WORLD = World(seed=3, busy_h=96, servers=20)
CATALOGUE = read_yaml(DEPLOY / "demo" / "catalogue.yaml", Catalogue)
ROSTER = CATALOGUE.operators
FLAWLESS = Behaviour(error=0, silence=0, neutral=0, changed=0, retracted=0, late=0)


def recommendation(name: str, server: int, time_ms: int, scope: str = SCOPE, life: Life = Life.OPENED) -> Recommendation:
    """One moment of a recommendation for a server."""
    return Recommendation(
        id=name,
        life=life,
        scope=scope,
        entity=entity_name(scope, server),
        scenario_class=f"{scope}|cpu_usage:up|limit-processes",
        time_ms=time_ms,
        scenario_ms=time_ms,
        opened_ms=time_ms,
        deadline_ms=time_ms + 4 * HOUR_MS,
        summary="",
        action=Action("limit-processes", 1, reversible=True),
        symptoms=(),
        confidence=0.9,
        threshold=0.8,
        repeats=0,
        peers_alike=0,
        answers=(),
        positions={},
    )


def shown() -> list[Recommendation]:
    """One recommendation in the middle of every event of the world."""
    return [
        recommendation(f"r-{server}-{number}", server, (event.start_ms + event.end_ms) // 2)
        for server in range(WORLD.servers)
        for number, event in enumerate(events(WORLD, server))
    ]


def said(behaviour: Behaviour, what: Recommendation) -> list[Feedback]:
    """All answers of the roster to one recommendation."""
    return [one for operator, team in ROSTER.items() for one in answers(behaviour, WORLD, operator, team, len(ROSTER), what)]


def test_flawless_operators_know_the_worlds_faults() -> None:
    """Without error every operator likes what meets a fault and overrides the rest: planned work, or nothing at all."""
    quiet = [recommendation(f"q-{server}", server, time_of(10)) for server in range(WORLD.servers)]
    for what in [*shown(), *quiet]:
        event = event_at(WORLD, int(what.entity[-2:]), what.time_ms)
        wanted = event is not None and event.fault
        assert {one.kind for one in said(FLAWLESS, what)} == {Answer.LIKE if wanted else Answer.OVERRIDE}
        assert len(said(FLAWLESS, what)) == len(ROSTER)


@given(st.integers(0, 19), st.integers(0, WORLD.steps - 1), st.text(min_size=1, max_size=20))
def test_answers_are_a_function_of_seed_and_recommendation(server: int, step: int, name: str) -> None:
    """The same recommendation is answered the same again; every answer comes after it was opened."""
    what = recommendation(name, server, time_of(step))
    once = said(Behaviour(), what)
    assert once == said(Behaviour(), what)
    assert all(one.time_ms > what.opened_ms for one in once)


def test_stated_shares_are_kept() -> None:
    """Error, silence and neutral answers are as often as stated, within four standard deviations."""
    behaviour = Behaviour()
    everything = [said(behaviour, what) for what in shown()]
    first = [one for one_recommendation in everything for one in one_recommendation if one.revision == 1]
    count = len(everything)
    assert count > 150
    silent = sum(not one for one in everything) / count
    assert abs(silent - behaviour.silence) < 4 * (0.25 / count) ** 0.5
    neutral = sum(one.kind is Answer.NEUTRAL for one in first) / len(first)
    assert abs(neutral - behaviour.neutral) < 4 * (0.05 / len(first)) ** 0.5
    final = {(one.decision, one.operator): one for each in everything for one in each}.values()
    wanted = {what.id: bool((event := event_at(WORLD, int(what.entity[-2:]), what.time_ms)) and event.fault) for what in shown()}
    told = [one for one in final if one.kind in {Answer.LIKE, Answer.OVERRIDE}]
    wrong = sum((one.kind is Answer.LIKE) != wanted[one.decision] for one in told) / len(told)
    assert abs(wrong - behaviour.error) < 4 * (0.05 / len(told)) ** 0.5


def test_revisions_count_up() -> None:
    """An operator's answers to one recommendation are numbered from one, in order of time, and some do change."""
    changed = 0
    for what in shown():
        for operator, team in ROSTER.items():
            mine = answers(Behaviour(), WORLD, operator, team, len(ROSTER), what)
            assert [one.revision for one in mine] == list(range(1, len(mine) + 1))
            assert all(before.time_ms < after.time_ms for before, after in pairwise(mine))
            changed += len(mine) > 1
    assert changed > 0


@pytest.mark.parametrize("scope", SCOPES)
def test_outcomes_partition_their_slot_and_tell_the_truth(scope: str) -> None:
    """The verdicts on a slot follow one another without gap from its start to its end, and each moment's is the world's."""
    incidents = 0
    for server in range(WORLD.servers):
        for slot in range(time_of(WORLD.steps) // SLOT_MS - START_MS // SLOT_MS):
            told = list(outcomes(WORLD, scope, server, slot))
            assert told[0].start_ms == START_MS + slot * SLOT_MS
            assert told[-1].end_ms == START_MS + (slot + 1) * SLOT_MS
            assert all(before.end_ms == after.start_ms for before, after in pairwise(told))
            for one in told:
                assert one.entity == entity_name(scope, server)
                assert one.start_ms < one.end_ms <= one.time_ms
                for time_ms in (one.start_ms, (one.start_ms + one.end_ms) // 2, one.end_ms - 1):
                    event = event_at(WORLD, server, time_ms)
                    assert (one.verdict is Verdict.INCIDENT) == (event is not None and event.fault)
                incidents += one.verdict is Verdict.INCIDENT
    assert incidents > 100


def test_a_tenth_of_the_time_is_reviewed() -> None:
    """Reviews cover a tenth of all slots, within four standard deviations."""
    reviewed = [is_reviewed(Behaviour(), WORLD, server, slot) for server in range(100) for slot in range(60)]
    assert abs(sum(reviewed) / len(reviewed) - 0.1) < 4 * (0.09 / len(reviewed)) ** 0.5


def test_the_desk_says_everything_once_in_order_and_not_before_its_time() -> None:
    """Whatever the ticks of the clock, the same records are said once each, none before it is due; later lives change nothing."""
    whole = time_of(WORLD.steps) + 12 * HOUR_MS

    def run(ticks: list[int]) -> list[str]:
        desk = Desk(Behaviour(), WORLD, ROSTER)
        for what in shown():
            desk.take(b"shop", what)
        for what in shown():
            desk.take(b"shop", recommendation(what.id, int(what.entity[-2:]), what.time_ms, life=Life.ANSWERED))
        names = []
        for now_ms in ticks:
            due = list(desk.say(now_ms))
            assert all(one.time_ms <= now_ms for one in due)
            names += [(one.time_ms, one.topic, one.identity) for one in due]
        assert names == sorted(names, key=lambda name: name[0])
        return sorted(name for *_, name in names)

    once = run([whole])
    assert len(set(once)) == len(once)
    assert once == run([*range(WORLD.busy_ms, whole, 3 * HOUR_MS), whole])


def test_what_the_desk_says_can_be_read() -> None:
    """Every record decodes as its topic's event, under the key of the recommendation or scope it belongs to."""
    desk = Desk(Behaviour(), WORLD, ROSTER)
    desk.take(FROZEN_SCOPE.encode(), next(what for what in shown() if said(Behaviour(), what)))
    said_now = list(desk.say(time_of(WORLD.steps)))
    topics = {one.topic for one in said_now}
    assert topics == {"feedback", "outcome"}
    for one in said_now:
        assert decode(one.topic, one.value).time_ms == one.time_ms
        assert one.key.decode() in SCOPES


def test_the_demos_files_fit_the_demo() -> None:
    """The roster has operators of more than one team, and only the second scope's learning is off."""
    assert len(set(ROSTER.values())) > 1
    scopes = read_yaml(DEPLOY / "demo" / "scopes.yaml", dict[str, ScopeSettings])
    assert scopes == {FROZEN_SCOPE: ScopeSettings(learning=False)}
