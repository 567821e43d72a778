"""Checks of the loop: answers, budget, what people have commanded, and what the newest decisions were decided under."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from schemas.errors import NotSurfacedError, UnknownDecisionError
from schemas.events import Decision, Feedback, Life, Recommendation, Status
from schemas.topics import CONTROL, DECISION, FEEDBACK, RECOMMENDATION
from streams.doctor.case import HOUR_MS, Case, Finding
from streams.serving.following import follow
from streams.serving.force import ALL_SCOPES, FLAGS, Force

UNANSWERABLE = {UnknownDecisionError.reason, NotSurfacedError.reason}
# Of fewer decisions or recommendations no share is told.
FEW = 20
# Four classes that turn bad at once cost about five overrides each before they are withheld: docs/decisions, forgetting.
BURST = 20.0
LASTING_MS = HOUR_MS
ALMOST_ALL = 0.95
MOST = 0.5


async def answers(case: Case) -> list[Finding] | str:
    """Look for answers to what nobody can answer, and for operators whom the catalogue does not know."""
    feedback: list[Feedback] = await case.events(FEEDBACK.name)
    if not feedback:
        return "nobody has answered"
    findings = []
    refused = Counter(letter.reason for letter in await case.letters() if letter.topic == FEEDBACK.name)
    for reason in sorted(UNANSWERABLE & refused.keys()):
        found = f"{refused[reason]} of the newest {refused.total()} refused answers are to decisions that cannot be answered ({reason})"
        remedy = "answer the `id` of a recommendation, under the recommendation's own key, within 7 days of its scope's time"
        findings.append(Finding(found, remedy))
    if strangers := Counter(answer.operator for answer in feedback if answer.operator not in case.settings.catalogue.operators):
        names = ", ".join(name for name, _ in strangers.most_common(5))
        found = f"{strangers.total()} of the newest {len(feedback)} answers are of operators whom the catalogue does not know: {names}"
        remedy = (
            f"name them under `operators` in the catalogue ({case.deployment.catalogue}): strangers count for a tenth until they earn trust"
        )
        findings.append(Finding(found, remedy))
    return findings


async def budget(case: Case) -> list[Finding] | str:
    """Hold the override budget against what is open at once (Little's law: rate times time open), and a burst after drift.

    Source: DESIGN.md section 7, B0 >= surfaced rate x mean time to an answer + a burst after drift.
    """
    profile = case.settings.profile
    if profile.budget == "off":
        return "the profile has no override budget"
    by_scope: dict[str, list[Recommendation]] = defaultdict(list)
    for recommendation in await case.events(RECOMMENDATION.name):
        by_scope[recommendation.scope].append(recommendation)
    findings, measured = [], 0
    for scope, told in sorted(by_scope.items()):
        opened = sorted(one.opened_ms for one in told if one.life is Life.OPENED)
        open_ms = [one.time_ms - one.opened_ms for one in told if one.life in {Life.ANSWERED, Life.EXPIRED} and not one.late]
        if len(opened) < FEW or opened[-1] == opened[0] or not open_ms:
            continue
        measured += 1
        rate_hour = (len(opened) - 1) / (opened[-1] - opened[0]) * HOUR_MS
        hours = sum(open_ms) / len(open_ms) / HOUR_MS
        needed = rate_hour * hours + BURST
        if needed > profile.budget_start:
            found = (
                f"{scope} surfaces {rate_hour:.1f} an hour, each open for {hours:.1f} h: that and a burst of {BURST:.0f} overrides hold "
                f"{needed:.0f} units of budget, and the profile starts with {profile.budget_start:.0f}"
            )
            remedy = (
                f"set `budget_start` to {needed:.0f} or more in {case.deployment.profile}, answer sooner, or shorten `answer_deadline_ms`"
            )
            findings.append(Finding(found, remedy))
    return findings if measured else f"no scope has {FEW} recommendations, some of them answered or expired, among its newest"


async def control(case: Case) -> list[Finding] | str:
    """Look for kill, freeze and shadow that have been in force for long."""
    if CONTROL.name not in case.counts:
        return f"{case.broker_name(CONTROL.name)} does not exist"
    forces: dict[tuple[str, int], Force] = {}
    async for batch in follow(case.deployment, (CONTROL.name,)):
        for told in batch:
            place = told.event.scope or ALL_SCOPES, told.partition
            forces[place] = forces.get(place, Force()).after(told.event)
    findings = {}
    for (scope, _), force in sorted(forces.items()):
        for what, commanded in force.parts():
            hours = (case.now_ms - commanded.time_ms) / HOUR_MS
            if what in FLAGS.values() and hours * HOUR_MS > LASTING_MS:
                where, option = ("all scopes", "") if scope == ALL_SCOPES else (scope, f" --scope {scope}")
                why = f" ({commanded.reason})" if commanded.reason else ""
                # A command to all is in every partition.
                findings[scope, what] = Finding(
                    f"{where}: {what} by {commanded.by}{why} for {hours:.1f} h", f"`npo control resume{option}`, if that was forgotten"
                )
    return list(findings.values())


async def decisions(case: Case) -> list[Finding] | str:
    """Look at the newest decisions: under whose settings, how much the policy denied, and whether actions fit symptoms."""
    decided: list[Decision] = await case.events(DECISION.name)
    if not decided:
        return "nothing has been decided"
    return [*_other_settings(case, decided), *_denials(case, decided), *_catch_all(case, decided)]


def _other_settings(case: Case, decided: Iterable[Decision]) -> list[Finding]:
    latest = {decision.scope: decision.versions.get("settings", "") for decision in decided}
    others = {scope: digest for scope, digest in latest.items() if digest != case.settings.digest}
    if not others:
        return []
    scopes = ", ".join(f"{scope} under {digest}" for scope, digest in sorted(others.items())[:5])
    own = case.settings.digest
    found = f"{len(others)} of {len(latest)} scopes were decided under other settings than this process reads ({own}): {scopes}"
    remedy = "give workers and this process the same NPO_PROFILE, NPO_POLICY, NPO_CATALOGUE, NPO_SCOPES, NPO_SEED; start the workers anew"
    return [Finding(found, remedy)]


def _denials(case: Case, decided: list[Decision]) -> list[Finding]:
    findings = []
    policy = f"policy {case.settings.policy.version} ({case.deployment.policy})"
    if errors := Counter(decision.verdict.error for decision in decided if decision.verdict.error):
        error, _ = errors.most_common(1)[0]
        found = f"{errors.total()} of the newest {len(decided)} verdicts could not be judged, and were denied: {error}"
        findings.append(Finding(found, f"correct the rules of {policy} that name what is not there"))
    blocked = [decision for decision in decided if decision.status is Status.BLOCKED]
    if len(decided) >= FEW and len(blocked) >= ALMOST_ALL * len(decided):
        rules = Counter(rule for decision in blocked for rule in decision.verdict.rules)
        told = ", ".join(f"{rule} {count} times" for rule, count in rules.most_common(3))
        found = f"{len(blocked)} of the newest {len(decided)} decisions were blocked: {told}"
        findings.append(Finding(found, f"look at these rules of {policy}; `kill_switch` is a command (`npo control resume`), no rule"))
    return findings


def _catch_all(case: Case, decided: list[Decision]) -> list[Finding]:
    names = {action.name for action in case.settings.catalogue.actions if "*" in action.symptoms}
    fallen = [decision for decision in decided if decision.action.name in names]
    if len(decided) < FEW or len(fallen) < MOST * len(decided):
        return []
    labels = Counter(decision.symptoms[0].label for decision in fallen if decision.symptoms)
    told = ", ".join(f"{label} {count} times" for label, count in labels.most_common(5))
    found = f"{len(fallen)} of the newest {len(decided)} decisions propose the catch-all {', '.join(sorted(names))}: {told}"
    return [Finding(found, f"give actions patterns for these labels in the catalogue ({case.deployment.catalogue})")]
