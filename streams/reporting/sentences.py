"""A run in five sentences, and numbers as words."""

from schemas.alignment import LossWindow, Rate
from schemas.headers import rfc3339
from streams.reporting.run import Run, ScopeRun
from streams.serving.force import ALL_SCOPES
from streams.serving.tally import ANSWERED, OVERRIDDEN, SKIPPED

NAMED_MAX = 3
NONE = "–"
# What each monitor's statistic is, and what it is held against.
MONITORS = {
    "challenger": "What challengers would have saved, added up: a retraining is commanded when that passes the price, and chance.",
    "learned": "What challengers would have saved, added up: a logistic that hindsight teaches says when that is enough.",
    "threshold": "The window's mean target y: a retraining is commanded when it passes the bound on the loss.",
    "periodic": "Windows since the last command: a retraining is commanded when they are as many as declared.",
    "random": "A draw: a retraining is commanded when it is below the declared share.",
    "always": "A retraining is commanded at every window's end.",
    "never": "No retraining is ever commanded.",
}
# These hold it against the price.
PRICED = {"challenger", "learned"}


def utc(time_ms: int) -> str:
    """Write a time to the minute, e.g. `2020-01-01 01:35`."""
    return rfc3339(time_ms)[:16].replace("T", " ")


def counted(number: int, name: str, names: str | None = None) -> str:
    """Write a number of things."""
    return f"{number:,} {name if number == 1 else names or f'{name}s'}"


def share(part: float | None, whole: float = 1) -> str:
    """Write a share in percent, or that there is none."""
    return NONE if part is None or not whole else f"{100 * part / whole:.1f}\N{NO-BREAK SPACE}%"


def decimal(number: float | None, digits: int = 3) -> str:
    """Write a number, or that there is none."""
    return NONE if number is None else f"{number:.{digits}f}"


def interval(window: LossWindow | None) -> str:
    """Write an alignment loss with its interval."""
    if window is None:
        return "not known"
    middle = "" if window.loss is None else f"{window.loss:.2f} "
    return f"{middle}({window.loss_low:.2f} to {window.loss_high:.2f})"


def rate(found: Rate) -> str:
    """Write a rate with its interval and how many it is of."""
    of = f"{found.events:,} of {found.trials:,}"
    return f"{share(found.events, found.trials)} ({share(found.low)} to {share(found.high)}; {of})" if found.trials else of


def some(names: list[str]) -> str:
    """Write the first few of several names."""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"{', '.join(names[:NAMED_MAX])}{more}"


def summary(run: Run) -> list[str]:
    """Return the run in five sentences: what was decided, answered, lost, learned, and what wants a look."""
    return [decided(run), answered(run), lost(run), retrained(run), wanting(run)]


def decided(run: Run) -> str:
    """Say how much was decided, when, and how."""
    total = run.total
    count = total.decisions.total()
    begun = [scope.first_ms for scope in run.scopes.values() if scope.first_ms is not None]
    if not begun:
        return "Nothing was decided: the log holds no decision."
    when = f"From {utc(min(begun))} to {utc(total.clock_ms)} UTC"
    of = f"{counted(count, 'scenario')} of {counted(len(run.scopes), 'scope')}"
    return (
        f"{when}, {of} {'was' if count == 1 else 'were'} decided: {total.surfaced:,} surfaced ({share(total.surfaced, count)}), "
        f"{total.withheld:,} withheld, {total.blocked:,} blocked by the safety policy."
    )


def answered(run: Run) -> str:
    """Say what operators answered."""
    total = run.total
    if not total.surfaced:
        return "Operators were shown nothing, so there was nothing to answer."
    if not total.answers[ANSWERED]:
        return f"No operator liked or overrode anything; {total.answers[SKIPPED]:,} of the surfaced expired without an answer."
    return (
        f"Operators answered {total.answers[ANSWERED]:,} of the surfaced and overrode {total.answers[OVERRIDDEN]:,} of these "
        f"({share(total.answers[OVERRIDDEN], total.answers[ANSWERED])}); {total.answers[SKIPPED]:,} expired without an answer."
    )


def lost(run: Run) -> str:
    """Say where the alignment loss stands and how it went."""
    known = {name: scope for name, scope in run.scopes.items() if scope.past is not None}
    if not known:
        window = run.settings.profile.window_scenarios
        return f"The alignment loss is not known: no window of {counted(window, 'scenario')} has ended in any scope."
    ordered = sorted(known, key=lambda name: (loss_high(known[name]), name))
    low, high = ordered[0], ordered[-1]
    most = f"Alignment loss per scenario over the whole run is {interval(known[high].past)} in {high}"
    differ = loss_high(known[low]) < loss_high(known[high])
    return f"{most}{f', the highest, and {interval(known[low].past)} in {low}, the lowest' if differ else ''}; {trend(high, known[high])}."


def loss_high(scope: ScopeRun) -> float:
    """Return the upper end of a scope's alignment loss over the whole run."""
    return scope.past.loss_high if scope.past is not None else 0.0


def trend(name: str, scope: ScopeRun) -> str:
    """Say how the loss of a scope went from the first window to the last."""
    windows = [scope.windows[number] for number in sorted(scope.windows)]
    # With one window there is nothing to compare.
    if len(windows) <= 1:
        return "there is one window only, so nothing can be said of its course"
    first, last = windows[0], windows[-1]
    course = f"the first window of {name} had {interval(first)}, the last {interval(last)}"
    if last.loss_high < first.loss_low:
        return f"it fell: {course}"
    if last.loss_low > first.loss_high:
        return f"it rose: {course}"
    return f"{course}, and as these overlap they alone settle no trend"


def retrained(run: Run) -> str:
    """Say what the second loop did."""
    commands = sum(len(scope.commands) for scope in run.scopes.values())
    results = [result for scope in run.scopes.values() for result in scope.results.values()]
    adopted = sum(result.status == "adopted" for result in results)
    if not commands and not results:
        watched = sum(len(scope.monitor) for scope in run.scopes.values())
        why = f"the monitor looked at {counted(watched, 'window')} and waited" if watched else "no monitor's decision is in the log"
        return f"No retraining was commanded: {why}."
    refused, pending = len(results) - adopted, max(0, commands - len(results))
    waiting = f", {pending} without a result yet" if pending else ""
    measured = [(name, scope.fidelity[-1]) for name, scope in run.scopes.items() if scope.fidelity]
    worst = min(measured, key=lambda each: each[1].fidelity, default=None)
    fidelity = f"; the monitor acted as hindsight would at {share(worst[1].fidelity)} of the windows' ends in {worst[0]}" if worst else ""
    commanded = f"{counted(commands, 'retraining')} {'was' if commands == 1 else 'were'} commanded"
    return f"{commanded}: {adopted} adopted, {refused} refused{waiting}{fidelity}."


def wanting(run: Run) -> str:
    """Say what a person should look at."""
    raised = [f"{alarm.name} in {name}" for name, scope in run.scopes.items() for alarm in scope.raised]
    stopped = [
        f"{'all scopes' if scope == ALL_SCOPES else scope}: {what} by {told.by}"
        for scope, force in run.in_force.items()
        for what, told in force.parts()
    ]
    sources = [f"{source} in {name}" for name, scope in run.scopes.items() for source in scope.tally.quarantined]
    letters = sum(each.records for each in run.dead_letters)
    found = [
        *([f"{counted(len(raised), 'alarm')} still raised ({some(raised)})"] if raised else []),
        *([f"commands still in force ({some(stopped)})"] if stopped else []),
        *([f"{counted(len(sources), 'source')} in quarantine ({some(sources)})"] if sources else []),
        *(
            [f"{counted(letters, 'record')} that could not be processed ({some([each.reason for each in run.dead_letters])})"]
            if letters
            else []
        ),
    ]
    return (
        f"To look at: {'; '.join(found)}."
        if found
        else "Nothing wants a look: no alarm, kill, freeze or quarantine is left, and no record failed."
    )
