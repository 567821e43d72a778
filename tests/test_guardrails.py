"""The safety policy: what it cannot judge it denies, and it never raises over facts."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.guardrails import DECLARED, FACTS_RULE, KILL_RULE, LENGTH_MAX, TEXT_MAX, Facts, compile_policy, judge
from schemas.errors import SettingsError
from schemas.events import PolicyVerdict
from schemas.settings import DEPLOY, Policy, Rule, read_yaml

DEFAULT = read_yaml(DEPLOY / "policies" / "default.yaml", Policy)
GUARD = compile_policy(DEFAULT)
CALM: Facts = {
    "scenario": {
        "scope": "shop", "entity": "web-1", "scenario_class": "shop|cpu_usage:up|restart", "label": "cpu_usage:up",
        "score": 0.9, "peers_alike": 1, "peers_seen": 6,
    },
    "action": {"name": "restart", "blast_radius": 1, "reversible": True},
    "rates": {"surfaced_last_hour_scope": 3, "surfaced_last_hour_entity": 1, "surfaced_last_hour_action": 2},
    "budget": {"trusted": 149.5, "open": 2},
    "control": {"killed": False, "frozen": False},
}  # fmt: skip
NAMES = [(group, name) for group, kinds in DECLARED.items() for name in kinds]
UNJUDGEABLE: tuple[object, ...] = (None, float("nan"), float("inf"), 2**63, [1], {}, b"text")
VALUES: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**63) + 1, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=40),
}
FACTS = st.fixed_dictionaries(
    {group: st.fixed_dictionaries({name: VALUES[kind] for name, kind in kinds.items()}) for group, kinds in DECLARED.items()}
)
# Rules that judge anything, some of them only at times: the product overflows, the quotient divides by zero.
RULES = [
    *DEFAULT.rules,
    Rule("product", "scenario.peers_seen * scenario.peers_alike > 100"),
    Rule("quotient", "scenario.peers_alike / scenario.peers_seen > 1"),
    Rule("names", "scenario.scope == 'shop' || action.name in ['drop', 'wipe'] || scenario.label.startsWith('disk')"),
]


def changed(group: str, name: str, value: object) -> dict[str, dict[str, object]]:
    """Return the calm facts with one of them changed."""
    facts: Any = copy.deepcopy(CALM)
    facts[group][name] = value
    return facts  # type: ignore[no-any-return]  # the copy of a TypedDict, taken as a plain one


def policy(*rules: Rule) -> Policy:
    """Return a policy of these rules."""
    return Policy(version="test", rules=rules)


def denying(verdict: PolicyVerdict) -> set[str]:
    """Return the rules that deny, having asserted that the verdict agrees with itself."""
    assert verdict.allowed == (not verdict.rules)
    assert verdict.error is None or not verdict.allowed
    return set(verdict.rules)


def test_calm_is_allowed() -> None:
    """The default policy allows a usual scenario, and the verdict holds every declared fact by its flat name."""
    verdict = judge(GUARD, CALM)
    facts: Mapping[str, Any] = CALM
    assert verdict == PolicyVerdict(allowed=True, rules=(), facts={f"{group}.{name}": facts[group][name] for group, name in NAMES})


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("irreversible_blast_radius", {"action.reversible": False, "action.blast_radius": 6}),
        ("blast_radius", {"action.blast_radius": 51}),
        ("irreversible_at_peers", {"action.reversible": False, "scenario.peers_alike": 4}),
        ("irreversible_rate", {"action.reversible": False, "rates.surfaced_last_hour_action": 20}),
        ("scope_rate", {"rates.surfaced_last_hour_scope": 240}),
        ("entity_rate", {"rates.surfaced_last_hour_entity": 12}),
        ("action_rate", {"rates.surfaced_last_hour_action": 120}),
    ],
)
def test_each_default_rule_denies(rule: str, changes: dict[str, object]) -> None:
    """Each rule of the default policy denies at its bound, alone, without an error."""
    facts: Any = copy.deepcopy(CALM)
    for name, value in changes.items():
        group, _, fact = name.partition(".")
        facts[group][fact] = value
    verdict = judge(GUARD, facts)
    assert denying(verdict) == {rule}
    assert verdict.error is None


def test_every_default_rule_has_a_case_and_a_reason() -> None:
    """No rule of the default policy goes untested or unexplained."""
    cases = next(mark for mark in test_each_default_rule_denies.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]  # set by pytest
    assert [case[0] for case in cases.args[1]] == [rule.name for rule in DEFAULT.rules]
    assert all(rule.reason for rule in DEFAULT.rules)


def test_busy_scope_is_not_throttled() -> None:
    """A scope of 50 busy servers, with 60 recommendations an hour and 4 at one entity, goes on."""
    facts: Any = copy.deepcopy(CALM)
    facts["rates"] = {"surfaced_last_hour_scope": 60, "surfaced_last_hour_entity": 4, "surfaced_last_hour_action": 60}
    assert judge(GUARD, facts).allowed


@given(FACTS)
def test_killed_always_denies(facts: dict[str, dict[str, Any]]) -> None:
    """Whatever the other facts are, and under a policy without rules too, a killed scope surfaces nothing, and the kill switch is named."""
    facts["control"]["killed"] = True
    for guard in (GUARD, compile_policy(Policy("empty", ()))):
        assert KILL_RULE in denying(judge(guard, facts))


@given(FACTS, st.sampled_from(NAMES), st.booleans())
def test_missing_fact_denies(facts: dict[str, dict[str, Any]], name: tuple[str, str], whole: bool) -> None:  # noqa: FBT001 - drawn
    """Without any one declared fact, or its whole group, the verdict denies and the error names it, whether or not a rule does."""
    group, fact = name
    if whole:
        del facts[group]
    else:
        del facts[group][fact]
    for guard in (GUARD, compile_policy(policy())):
        verdict = judge(guard, facts)
        assert denying(verdict) == {FACTS_RULE}
        assert (group if whole else f"{group}.{fact}") in (verdict.error or "")


@given(st.sampled_from(NAMES), st.one_of(*VALUES.values(), st.sampled_from(UNJUDGEABLE)))
def test_wrong_type_denies(name: tuple[str, str], value: object) -> None:
    """A fact of another type, not a finite number or beyond 64 bits denies; the error names it, and the verdict can be written."""
    group, fact = name
    verdict = judge(GUARD, changed(group, fact, value))
    judged = type(value) is DECLARED[group][fact] and not any(value is other for other in UNJUDGEABLE)
    assert (FACTS_RULE in denying(verdict)) != judged
    assert (f"{group}.{fact}" in (verdict.error or "")) != judged
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=PolicyVerdict) == verdict


@pytest.mark.parametrize("name", ["scenario.score", "budget.trusted"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_finite_number_denies(name: str, value: float) -> None:
    """A fact that is NaN or infinite denies, under a policy that does not look at it too, and does not get into the verdict."""
    group, _, fact = name.partition(".")
    verdict = judge(compile_policy(policy()), changed(group, fact, value))
    assert denying(verdict) == {FACTS_RULE}
    assert verdict.error == f"{name} is {value}"
    assert name not in verdict.facts


@pytest.mark.parametrize("text", ["\ud800", "x" * (TEXT_MAX + 1)])
def test_unusable_text_denies(text: str) -> None:
    """Text that is no Unicode or longer than a rule may cost denies, and does not get into the verdict."""
    verdict = judge(GUARD, changed("scenario", "label", text))
    assert denying(verdict) == {FACTS_RULE}
    assert "scenario.label" not in verdict.facts
    msgspec.json.encode(verdict)


@pytest.mark.parametrize("facts", [{}, {"control": None}, dict.fromkeys(DECLARED, 3), dict.fromkeys(DECLARED, ())])
def test_no_facts_deny(facts: dict[str, Any]) -> None:
    """Facts of a wrong shape deny and do not raise."""
    assert denying(judge(GUARD, facts)) == {FACTS_RULE}


@given(FACTS, st.permutations(RULES))
def test_order_of_rules_changes_nothing_else(facts: dict[str, dict[str, Any]], rules: list[Rule]) -> None:
    """A policy's rules in any order give the same verdict with the same names, in the policy's order; a verdict repeats."""
    guard = compile_policy(policy(*rules))
    verdict, plain = judge(guard, facts), judge(compile_policy(policy(*RULES)), facts)
    assert (verdict.allowed, denying(verdict), verdict.facts) == (plain.allowed, denying(plain), plain.facts)
    order = [KILL_RULE, *(rule.name for rule in rules)]
    assert list(verdict.rules) == [name for name in order if name in verdict.rules]
    assert judge(guard, facts) == verdict


@given(FACTS, st.sampled_from(NAMES))
def test_undeclared_facts_are_not_looked_at(facts: dict[str, dict[str, Any]], name: tuple[str, str]) -> None:
    """What is not declared changes nothing and does not get into the verdict, even if CEL could not take it."""
    plain = judge(GUARD, facts)
    facts[name[0]]["confidence"] = object()
    facts["learned"] = {"offset": 1.0}
    assert judge(GUARD, facts) == plain


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("1 / scenario.peers_seen > 0", "ZeroDivisionError"),
        ("scenario.peers_alike * 4 > 0", "OverflowError"),
        ("scenario.peers_seen < 1 ? scenario.peers_seen : false", "gives int"),
    ],
)
def test_rule_that_fails_denies(expression: str, says: str) -> None:
    """An error or a result that is no boolean denies, with the rule and the fault, and the other rules are still judged."""
    facts: Any = changed("scenario", "peers_seen", 0)
    facts["scenario"]["peers_alike"] = 2**62
    facts["control"]["frozen"] = True
    # The samples at compilation find a result of a wrong type only where they lead to it.
    guard = compile_policy(policy(Rule("bad", expression), Rule("freeze", "control.frozen"), Rule("fine", "budget.open > 1000")))
    verdict = judge(guard, facts)
    assert denying(verdict) == {"bad", "freeze"}
    assert verdict.error is not None
    assert verdict.error.startswith("bad: ")
    assert says in verdict.error


@pytest.mark.parametrize(
    "expression",
    [
        "", "control.", "control.killed &&", "killed", "true || killed", "control", "true || control", "control.kiled",
        "false && action.blastradius > 3", "scenario.score", "action.name > 3", "'yes'", "has(action.nope)", "nonsense(action.name)",
        "(control).killed", ".control.killed", "control['killed']", "control //\n.killed", "scenario.confidence > 0.5",
        "[1, 2].all(x, x > 0)", "[true].exists(control, control)", "[1].all(control.killed, true)", "true || [1].map //\n(x, x) == [1]",
        "action.name.matches('(a+)+')", "false && action.name.matches //\n('(a+)+')", "action.name == 'a\\'b'",
        "'' + '''' + control.killed + '''' == ''", '"""a""" == action.name',
        "true || " * LENGTH_MAX + "true", "(" * 200 + "true" + ")" * 200, "control.killed\x00", "timestamp('2020-01-01T00:00:00Z') == 1",
    ],
)  # fmt: skip
def test_bad_rule_is_refused(expression: str) -> None:
    """A rule that is not CEL, names no declared fact, is not boolean or could cost without bound is refused by name."""
    with pytest.raises(SettingsError, match="'bad_rule'"):
        compile_policy(policy(Rule("fine", "control.killed"), Rule("bad_rule", expression)))


@pytest.mark.parametrize("name", ["twice", FACTS_RULE, KILL_RULE])
def test_name_twice_is_refused(name: str) -> None:
    """Two rules of one name, or one with the built-in rule's, are refused by name: a verdict must say which rule denied."""
    with pytest.raises(SettingsError, match=repr(name)):
        compile_policy(policy(Rule("twice", "false"), Rule(name, "true")))


@given(st.text(alphabet="ac.tion()[]{}'\"\\/ \n|&!<>=+-*%?:1truekilled", max_size=60))
def test_any_text_compiles_or_is_refused(expression: str) -> None:
    """Whatever stands in a rule, compiling gives a guard that judges or a SettingsError that names the rule."""
    try:
        guard = compile_policy(policy(Rule("some rule", expression)))
    except SettingsError as error:
        assert "'some rule'" in str(error)  # noqa: PT017 - either way is right
    else:
        assert denying(judge(guard, CALM)) <= {"some rule"}
