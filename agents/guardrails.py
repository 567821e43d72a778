"""Hard rules over declared facts: what they deny, and what they cannot judge, is not surfaced.

Rules are CEL expressions, see `deploy/policies/default.yaml`. The library has no limit on steps or time, so cost is bounded
when a rule is compiled: at most `LENGTH_MAX` characters, no function beyond `CALLS`, no names beyond the facts. That leaves out
the comprehensions (`all`, `exists`, `map`, ...), which bind names: every part of an expression runs once at most, over facts of
bounded size.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

import cel

from schemas.errors import SettingsError
from schemas.events import PolicyVerdict
from schemas.settings import Policy, Rule

Scalar = bool | int | float | str


class ScenarioFacts(TypedDict):
    """The scenario: `score` is the detector's, `label` the leading symptom's; no learned value is a fact."""

    scope: str
    entity: str
    scenario_class: str
    label: str
    score: float
    peers_alike: int
    peers_seen: int


class ActionFacts(TypedDict):
    """The proposed action, from the catalogue: how many entities it touches, and whether it can be undone."""

    name: str
    blast_radius: int
    reversible: bool


class RateFacts(TypedDict):
    """What was surfaced in the hour of event time before the scenario: in its scope, at its entity, with its action in its scope."""

    surfaced_last_hour_scope: int
    surfaced_last_hour_entity: int
    surfaced_last_hour_action: int


class BudgetFacts(TypedDict):
    """The override budget: wealth weighted by trust, in overrides, and how many recommendations are open."""

    trusted: float
    open: int


class ControlFacts(TypedDict):
    """What control records say of the scope."""

    killed: bool
    frozen: bool


class Facts(TypedDict):
    """Every fact that a rule may name, as `group.fact`; a verdict needs all of them, each of exactly this type."""

    scenario: ScenarioFacts
    action: ActionFacts
    rates: RateFacts
    budget: BudgetFacts
    control: ControlFacts


DECLARED: dict[str, dict[str, type]] = {group: dict(kind.__annotations__) for group, kind in Facts.__annotations__.items()}
# The rule that every policy has: all declared facts are there and can be judged.
FACTS_RULE = "facts"
# The other one: whatever a policy says, a control record stops its scope.
KILL_RULE = "kill_switch"
# The parser recurses: at 500 characters the deepest expression fits a thread's stack of 256 KiB, at 1,000 it does not.
LENGTH_MAX = 500
TEXT_MAX = 4096
INTEGER_MAX = 2**63 - 1
CALLS = frozenset({"contains", "startsWith", "endsWith", "size", "double", "int"})

_TEXT = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
# With these the pattern above would take code for text, and hide it from the checks below.
_REFUSED = re.compile(r"\\|'''|\"\"\"")
_GROUP = re.compile(rf"(?<![\w.])({'|'.join(DECLARED)})\b")
_FACT = re.compile(rf"{_GROUP.pattern}\s*\.\s*(\w+)")
_FLAT = tuple((group, tuple((f"{group}.{name}", name, kind) for name, kind in kinds.items())) for group, kinds in DECLARED.items())
_SAMPLES: dict[type, tuple[Scalar, Scalar]] = {bool: (False, True), int: (1, 2), float: (1.0, 2.0), str: ("a", "b")}


class Guard(NamedTuple):
    """A compiled policy: name and program of each rule, in the order of the policy, and the facts that they name, by group."""

    programs: tuple[tuple[str, cel.Program], ...]
    named: dict[str, tuple[str, ...]]


def compile_policy(policy: Policy) -> Guard:
    """Compile a policy's rules.

    Raises:
        SettingsError: a name twice, or a rule that cannot be compiled, names what is not declared, costs too much, or
            gives anything but true or false; the message names the rule.
    """
    names = Counter([FACTS_RULE, KILL_RULE, *(rule.name for rule in policy.rules)])
    for name, times in names.items():
        if times > 1:
            raise SettingsError(
                f"policy {policy.version}: rule name {name!r} is used {times} times; give each rule a name of its own"
                f" (the names {FACTS_RULE!r} and {KILL_RULE!r} belong to the built-in checks)"
            )
    programs = tuple((rule.name, _compile(rule)) for rule in policy.rules)
    named = {fact for rule in policy.rules for fact in _FACT.findall(_TEXT.sub("''", rule.deny_if))}
    return Guard(programs, {group: tuple(name for name in kinds if (group, name) in named) for group, kinds in DECLARED.items()})


def judge(guard: Guard, facts: Mapping[str, Any]) -> PolicyVerdict:
    """Judge one scenario: allowed only where all declared facts are there, no kill is in force, and every rule gives false.

    Args:
        guard: the compiled policy.
        facts: `Facts`; whatever else it holds is not looked at.

    Returns:
        The verdict. `rules` names each rule that denies or that could not be judged, the kill switch first, then in the order of
        the policy, and is empty if and only if the verdict allows; `error` says what could not be judged; `facts` holds what was
        judged, by flat names such as `action.blast_radius`.
    """
    flat, faults = _check(facts)
    if faults:
        return PolicyVerdict(allowed=False, rules=(FACTS_RULE,), facts=flat, error="; ".join(faults))
    # Handing facts over costs more than judging them, so only those that some rule names go.
    context = cel.Context({group: {name: facts[group][name] for name in names} for group, names in guard.named.items() if names})
    denying: list[str] = [KILL_RULE] if flat["control.killed"] else []
    errors = []
    for name, program in guard.programs:
        result, fault = _run(program, context)
        if fault is not None:
            errors.append(f"{name}: {fault}")
        if result is not False:
            denying.append(name)
    return PolicyVerdict(allowed=not denying, rules=tuple(denying), facts=flat, error="; ".join(errors) or None)


def _compile(rule: Rule) -> cel.Program:
    """Compile one rule and run it over two sets of made-up facts, which finds a wrong type now and not at the first scenario."""
    fault = _textual_fault(rule.deny_if)
    if fault is not None:
        raise SettingsError(f"rule {rule.name!r}: {fault}; deny_if is {rule.deny_if[:LENGTH_MAX]!r}")
    try:
        program = cel.compile(rule.deny_if)
    except ValueError as error:
        raise SettingsError(f"rule {rule.name!r} is not CEL: {error}") from error
    unknown = sorted(set(program.variables()) - DECLARED.keys())
    if unknown:
        raise SettingsError(f"rule {rule.name!r} names {', '.join(unknown)}; facts are in {', '.join(DECLARED)}")
    calls = [name for name in program.functions() if name.isidentifier() and name not in CALLS]
    if calls:
        raise SettingsError(f"rule {rule.name!r} calls {', '.join(calls)}; it may call {', '.join(sorted(CALLS))}")
    for which in (0, 1):
        sample = {group: {name: _SAMPLES[kind][which] for name, kind in kinds.items()} for group, kinds in DECLARED.items()}
        _, fault = _run(program, cel.Context(sample))
        # A division by zero or an overflow depends on the made-up values; a wrong type does not.
        if fault is not None and not fault.startswith(("ZeroDivisionError", "OverflowError")):
            raise SettingsError(f"rule {rule.name!r}: {fault}; deny_if is {rule.deny_if!r}")
    return program


def _textual_fault(expression: str) -> str | None:
    """Say what is wrong with an expression as text, before it is parsed, or None: length, escapes, facts that are not declared."""
    if len(expression) > LENGTH_MAX:
        return f"{len(expression)} characters are over the limit of {LENGTH_MAX}; split it into several rules"
    refused = _REFUSED.search(expression)
    if refused:
        return f"{refused[0]} is not allowed: write text without escapes, in single or double quotes"
    code = _TEXT.sub("''", expression)
    for group, name in _FACT.findall(code):
        if name not in DECLARED[group]:
            return f"{group}.{name} is not a fact; {group} has {', '.join(DECLARED[group])}"
    bare = _GROUP.search(_FACT.sub("", code))
    return f"{bare[0]} stands alone; name one of its facts: {', '.join(DECLARED[bare[0]])}" if bare else None


def _check(facts: Mapping[str, Any]) -> tuple[dict[str, Scalar], list[str]]:
    """Return the declared facts by flat name, and a fault for each that is missing or cannot be judged."""
    flat: dict[str, Any] = {}
    faults = []
    for group, kinds in _FLAT:
        given = facts.get(group)
        if not isinstance(given, dict):
            faults.append(f"facts of {group} are missing")
            continue
        for fact, name, kind in kinds:
            value: Any = given.get(name)
            if type(value) is kind and _JUDGEABLE[kind](value):
                flat[fact] = value
            else:
                faults.append(f"{fact} {_fault(value, kind)}" if name in given else f"{fact} is missing")
    return flat, faults


def _is_text(value: str) -> bool:
    """Tell whether a text is bounded and can be written down."""
    return len(value) <= TEXT_MAX and (value.isascii() or value == value.encode(errors="replace").decode())


_JUDGEABLE: dict[type, Callable[[Any], bool]] = {
    bool: frozenset((False, True)).__contains__,
    int: range(-INTEGER_MAX, INTEGER_MAX + 1).__contains__,
    float: math.isfinite,
    str: _is_text,
}


def _fault(value: object, kind: type) -> str:
    """Say why a value is no fact of its kind."""
    if type(value) is not kind:
        return f"is {type(value).__name__}, not {kind.__name__}"
    if isinstance(value, str):
        return "is not Unicode text" if len(value) <= TEXT_MAX else f"is text of {len(value)} characters, over {TEXT_MAX}"
    return f"is {value}" if kind is float else "is beyond 64 bits"


def _run(program: cel.Program, context: cel.Context) -> tuple[bool | None, str | None]:
    """Run one program; return what it gives, or None and the error."""
    try:
        result = program.execute(context)
    except Exception as error:  # noqa: BLE001 - whatever the library raises means that the rule cannot be judged
        return None, f"{type(error).__name__}: {str(error)[:200]}"
    if isinstance(result, bool):
        return result, None
    return None, f"gives {type(result).__name__}, not true or false"
