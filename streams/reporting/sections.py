"""The sections of the page about one scope, each from its numbers; one without any says so."""

from agents.trust import QUARANTINE_BOUND
from schemas.alignment import TeamRate
from schemas.events import Status
from streams.reporting import pictures
from streams.reporting.figures import figures
from streams.reporting.markup import Markup, element, joined, note, paragraph, table
from streams.reporting.retraining import second_loop
from streams.reporting.run import Run, ScopeRun
from streams.reporting.sentences import counted, decimal, interval, rate, share, utc
from streams.serving.tally import ANSWERED, OVERRIDDEN, SKIPPED

CLASSES_MAX = 10
REASONS = {
    "passed": "passed the policy and the threshold",
    "below_threshold": "confidence below the threshold",
    "cooldown": "a repeat within the cooldown",
    "budget": "the override budget was used up",
    "exploration": "audited exploration while the budget was used up",
    "policy": "refused by the safety policy",
    "shadow": "the scope is in shadow",
}


def scope_section(run: Run, name: str, number: int) -> Markup:
    """Return everything about one scope."""
    scope = run.scopes[name]
    return element(
        "section",
        element("h2", f"Scope {name}", id=f"scope-{number}"),
        apart(run, name),
        decisions(scope),
        answers(scope),
        course(scope, number),
        thresholds(run, scope),
        sources(scope, number),
        teams(scope, number),
        second_loop(run, scope, number),
        alarms(scope),
        classes(scope, run.settings.profile.score),
        class_="scope",
    )


def apart(run: Run, name: str) -> Markup:
    """Return what the settings say of this scope alone."""
    said = [
        *([] if run.settings.learns(name) else ["Learning is off in this scope by its settings: answers are counted and move nothing."]),
        *(["This scope is in shadow by its settings: nothing is surfaced."] if run.settings.shadows(name) else []),
    ]
    return paragraph(" ".join(said)) if said else Markup("")


def decisions(scope: ScopeRun) -> Markup:
    """Return what was surfaced, withheld and blocked, and why."""
    total = scope.tally.decisions.total()
    if not total:
        return paragraph("Nothing was decided in this scope.")
    order = {status.value: place for place, status in enumerate(Status)}
    rows = [
        (status, REASONS.get(reason, reason), f"{count:,}", share(count, total))
        for (status, reason), count in sorted(scope.reasons.items(), key=lambda each: (order[each[0][0]], -each[1], each[0][1]))
    ]
    rules = [(rule, f"{count:,}") for rule, count in sorted(scope.rules.items(), key=lambda each: (-each[1], each[0]))]
    named = note("A decision that several rules refused counts under each of them.") if scope.rules.total() > scope.tally.blocked else ""
    blocked = [element("h3", "Blocked, by rule"), table(("rule", "decisions"), rules), named] if rules else []
    return joined([element("h3", f"{counted(total, 'decision')}"), table(("status", "why", "decisions", "share"), rows, texts=2), *blocked])


def answers(scope: ScopeRun) -> Markup:
    """Return what was answered."""
    tally = scope.tally
    head = element("h3", "Answers")
    if not tally.surfaced:
        return joined([head, paragraph("Nothing was surfaced, so nothing could be answered.")])
    counts = [(kind, f"{tally.answers[kind]:,}") for kind in ("override", "like", "neutral")]
    counts += [("expired without an answer", f"{tally.answers[SKIPPED]:,}"), ("open at the end", f"{len(tally.open):,}")]
    said = (
        f"{tally.answers[ANSWERED]:,} of {tally.surfaced:,} surfaced were liked or overridden, "
        f"{tally.answers[OVERRIDDEN]:,} of them overridden: "
        + ", ".join(f"{share(rate)} {of}" for of, rate in zip(DENOMINATORS, tally.override_rates.values(), strict=True))
        + "."
    )
    each = note("Each operator's answer counts here; shares count a decision once, overridden where at least half of its answers say so.")
    nothing = "" if any(tally.answers[kind] for kind in ("override", "like", "neutral")) else "Nobody answered anything. "
    return joined([head, paragraph(nothing, said), table(("answer", "answers"), counts), each])


DENOMINATORS = ("of the surfaced", "of the answered", "of all scenarios")


def course(scope: ScopeRun, number: int) -> Markup:
    """Return loss, overrides and reward over windows."""
    head = element("h3", "Alignment over windows")
    if not scope.windows and scope.past is None:
        return joined([head, paragraph("No window has ended yet, so there is no alignment loss.")])
    past = scope.past
    said = [f"Over the whole run the alignment loss per scenario is {interval(past)}."] if past is not None else []
    if past is not None:
        said.append(
            f" It is made of overrides among the answered, {rate(past.override_given_answered)}, and of incidents among the withheld of "
            f"which an outcome tells, {rate(past.miss_given_outcome)}."
        )
    if past is not None and past.paper_loss is not None:
        said.append(
            f" The mean target y is {past.paper_loss:.2f}, of which silence and neutral answers alone make {past.paper_loss_floor:.2f}."
        )
    if past is not None and past.reward_minutes:
        said.append(f" Outcomes tell of {past.reward_minutes:,.0f} minutes saved.")
    return joined([head, paragraph(*said), figures(pictures.drawn(scope, pictures.COURSE), f"s{number}-course")])


def thresholds(run: Run, scope: ScopeRun) -> Markup:
    """Return the threshold table in words."""
    head = element("h3", "What other thresholds would have had")
    found = scope.thresholds
    if found is None:
        return joined([head, paragraph("No threshold table was published: no window has ended yet.")])
    profile = run.settings.profile
    used = None if profile.selector == "thompson" else profile.threshold
    items = [
        element(
            "li",
            f"At {row.threshold}{', the one in use' if row.threshold == used else ''}: "
            f"{row.surfaced:,} of {found.scenarios:,} scenarios surfaced ({share(row.surfaced, found.scenarios)}); "
            f"of {counted(row.known, 'of these', 'of these')} it is known whether they were wanted, and {row.overrides:,} were not "
            f"({share(row.overrides, row.known)}); {counted(row.misses, 'wanted one', 'wanted ones')} would have been withheld; "
            f"Thompson's posterior Beta({row.alpha:.4g}, {row.beta:.4g}).",
        )
        for row in found.rows
    ]
    coverage = note("Below the threshold that was in use only outcomes and exploration tell what was wanted.")
    return joined([head, element("ul", *items), coverage])


def sources(scope: ScopeRun, number: int) -> Markup:
    """Return trust by source, and the override budget."""
    head = element("h3", "Who answered, and how far they are trusted")
    if not scope.trust:
        return joined([head, paragraph("No trust was published: no window has ended yet.")])
    last = scope.trust[-1]
    rows = [
        (
            each.source,
            "in quarantine" if each.quarantined else "",
            f"{each.answers:,}",
            share(each.overrides, each.answers),
            decimal(each.alpha, 2),
            decimal(each.beta, 2),
            decimal(each.weight, 2),
            decimal(each.disagreement, 1),
        )
        for each in sorted(last.sources, key=lambda each: (-each.answers, each.source))
    ]
    columns = ("source", "", "answers", "overrides", "P(like | wanted)", "P(override | unwanted)", "weight", "disagreement")
    nobody = [] if rows else [paragraph("Nobody has answered yet.")]
    revoked = [
        paragraph(f"{utc(each.time_ms)}: {each.source} was revoked; {counted(each.classes, 'class', 'classes')} were folded again.")
        for each in scope.revoked
    ]
    left = f"{last.budget.trusted:.1f} counting sources by their trust, {last.budget.raw:.1f} counting every override"
    budget = f"The override budget stood at {left}."
    shown = figures(pictures.drawn(scope, pictures.SOURCES), f"s{number}-trust")
    above = note(
        f"A source whose disagreement with others passes {QUARANTINE_BOUND:g} is put in quarantine and counts for nothing; "
        "until then, the nearer the less."
    )
    return joined([head, table(columns, rows, texts=2), above, *nobody, *revoked, paragraph(budget), *reopenings(scope), shown])


def reopenings(scope: ScopeRun) -> list[Markup]:
    """Return who has started the override budget anew, and why."""
    return [
        paragraph(
            f"{utc(each.time_ms)}: {each.by} reopened the override budget, which was {'closed' if each.closed else 'still open'}: "
            f"from {each.before.trusted:.1f} by trust and {each.before.raw:.1f} by every override "
            f"to {each.after.trusted:.1f} and {each.after.raw:.1f}. Reason: {each.reason}"
        )
        for each in scope.reopened
    ]


def teams(scope: ScopeRun, number: int) -> Markup:
    """Return what each team says, which overrides most, and how often they differ; nothing where no team is known."""
    past = scope.teams_past
    if past is None:
        return Markup("")
    rows = [
        (each.team, "overrides most" if each.team == past.worst else "", f"{each.override_given_answered.trials:,}", *parts(each))
        for each in past.teams
    ]
    said = f"Of the decisions that two teams or more have answered they differ in {rate(past.conflict)}."
    columns = ("team", "", "decisions answered", "overridden", "with its interval")
    shown = figures(pictures.drawn(scope, pictures.TEAMS), f"s{number}-teams")
    return joined([element("h3", "Teams"), table(columns, rows, texts=2), paragraph(said), shown])


def parts(each: TeamRate) -> tuple[str, str]:
    """Return a team's rate and its interval."""
    found = each.override_given_answered
    return share(found.events, found.trials), f"{share(found.low)} to {share(found.high)}"


def alarms(scope: ScopeRun) -> Markup:
    """Return the alarms with their times."""
    head = element("h3", "Alarms")
    if not scope.alarms:
        return joined([head, paragraph("None was raised.")])
    rows = [
        (element("time", utc(each.time_ms)), each.name, "raised" if each.raised else "taken back", each.detail) for each in scope.alarms
    ]
    return joined([head, table(("when", "alarm", "", "detail"), rows, texts=4)])


def classes(scope: ScopeRun, score: str) -> Markup:
    """Return the most overridden classes."""
    head = element("h3", "Most overridden classes")
    most = sorted(((name, each) for name, each in scope.classes.items() if each.overrides), key=lambda each: (-each[1].overrides, each[0]))
    if not most:
        return joined([head, paragraph("No override was applied to any class.")])
    rows = [
        (name, f"{each.overrides:,}", f"{each.answers:,}", share(each.overrides, each.answers), decimal(each.now(score), 2))
        for name, each in most[:CLASSES_MAX]
    ]
    more = [note(f"{len(most) - CLASSES_MAX} more classes were overridden.")] if len(most) > CLASSES_MAX else []
    columns = ("class", "overrides", "answers", "overridden", "confidence now")
    now = note("Of closed decisions; confidence now is that of the class's last decision, moved by the answers since.")
    return joined([head, table(columns, rows), *more, now])
