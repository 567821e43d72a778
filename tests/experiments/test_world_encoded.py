"""What the encoder makes of the simulated world: no broker, the pure step over the demo's own telemetry."""

from collections import Counter, defaultdict
from functools import cache

from agents.encoding.encoder import encode
from agents.step import Block, Context
from experiments.world import (
    FROZEN_SCOPE,
    KINDS,
    NAMES,
    SCOPE,
    SCOPES,
    World,
    entity_name,
    events,
    last_event,
    server_of,
    telemetry,
    time_of,
)
from schemas.codecs import decode
from schemas.codecs import encode as to_json
from schemas.events import Sample, Scenario
from schemas.settings import DEPLOY, Catalogue, Policy, Profile, Settings, read_yaml
from schemas.topics import SCENARIO, TELEMETRY

WORLD = World(seed=11, busy_h=60, servers=30)
STEPS_A_BLOCK = 40
NOW_MS = 1_900_000_000_000
SETTINGS = Settings(
    profile=read_yaml(DEPLOY / "profiles" / "default.yaml", Profile),
    policy=read_yaml(DEPLOY / "policies" / "default.yaml", Policy),
    catalogue=read_yaml(DEPLOY / "demo" / "catalogue.yaml", Catalogue),
)


@cache
def scenarios(scope: str) -> tuple[Scenario, ...]:
    """All scenarios of one scope."""
    rows: dict[bytes, bytes | None] = {}
    found: list[Scenario] = []
    names = [entity_name(scope, server) for server in range(WORLD.servers)]
    for first in range(0, WORLD.steps, STEPS_A_BLOCK):
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        for ordinal, step in enumerate(telemetry(WORLD, first, min(first + STEPS_A_BLOCK, WORLD.steps)).tolist()):
            for name, metrics in zip(names, step, strict=True):
                keys.append(name.encode())
                values.append(to_json(Sample(name, time_of(first + ordinal), dict(zip(NAMES, metrics, strict=True)), scope)))
        offsets = [first * len(names) + index for index in range(len(keys))]
        block = Block(TELEMETRY.name, 0, offsets, [NOW_MS] * len(keys), keys, values, [()] * len(keys))
        result = encode(rows, block, Context(SETTINGS, {}, 1))
        rows.update(result.rows)
        assert all(output.topic == SCENARIO.name for output in result.outputs)
        written = [decode(output.topic, output.value) for output in result.outputs]
        found += [event for event in written if isinstance(event, Scenario)]
    return tuple(found)


def test_both_scopes_see_the_same() -> None:
    """The two scopes' scenarios are the same but for names: times, scores, symptoms, actions."""

    def seen(scope: str) -> list[tuple[object, ...]]:
        return [(server_of(one.entity), one.time_ms, one.score, one.symptoms, one.action) for one in scenarios(scope)]

    assert seen(SCOPE) == seen(FROZEN_SCOPE)
    assert {one.scope for scope in SCOPES for one in scenarios(scope)} == set(SCOPES)


def test_every_event_makes_about_one_scenario_and_little_else_does() -> None:
    """At least nine events of ten make a scenario, few make two, and few scenarios have no event; none comes in the warm-up."""
    causes = Counter(last_event(WORLD, server_of(one.entity), one.time_ms, back_ms=0) for one in scenarios(SCOPE))
    nothing = causes.pop(None, 0)
    happened = sum(len(events(WORLD, server)) for server in range(WORLD.servers))
    assert happened > 100
    assert len(causes) > 0.9 * happened
    assert sum(causes.values()) < 1.1 * happened
    assert nothing < 0.1 * happened
    assert all(one.time_ms >= WORLD.busy_ms for one in scenarios(SCOPE))


def wanted(one: Scenario) -> bool:
    """Whether operators want something done."""
    event = last_event(WORLD, server_of(one.entity), one.time_ms, back_ms=0)
    return event is not None and event.fault


def test_classes_tell_in_part() -> None:
    """Operators want half to two thirds of the scenarios; some classes are mostly wanted or mostly not, and some are neither."""
    by_class: dict[str, list[bool]] = defaultdict(list)
    for one in scenarios(SCOPE):
        by_class[one.scenario_class].append(wanted(one))
    everything = [each for known in by_class.values() for each in known]
    assert 0.5 < sum(everything) / len(everything) < 0.68
    common = [sum(known) / len(known) for known in by_class.values() if len(known) >= 8]
    assert len(common) >= 8
    assert min(common) < 0.15
    assert max(common) > 0.85
    assert sum(0.3 < share < 0.7 for share in common) >= 4


def test_what_tells_within_a_class_turns_round() -> None:
    """In mixed classes faults drive the other metrics up and harmless work down, until the turn; after it, the other way round."""
    balance: dict[tuple[bool, bool], list[float]] = defaultdict(list)
    for one in scenarios(SCOPE):
        event = last_event(WORLD, server_of(one.entity), one.time_ms, back_ms=0)
        if event is not None and KINDS[event.kind].turned is not None:
            balance[event.start_ms >= WORLD.turn_ms, event.fault].append(one.features["sign_balance"])
    mean = {which: sum(known) / len(known) for which, known in balance.items()}
    assert mean[False, True] > mean[False, False] + 0.5
    assert mean[True, True] < mean[True, False] - 0.5


def test_every_kind_leads_with_its_own_metric() -> None:
    """The label under which a kind of event is mostly pooled is that of the metric it drives up most."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for one in scenarios(SCOPE):
        event = last_event(WORLD, server_of(one.entity), one.time_ms, back_ms=0)
        if event is not None:
            labels[event.kind][one.symptoms[0].metric] += 1
    assert set(labels) == set(KINDS)
    for kind, known in labels.items():
        effects = KINDS[kind].effects
        assert known.most_common(1)[0][0] == max(effects, key=effects.__getitem__), kind
