"""`npo watch`: what is surfaced, answered and lost, live from the topics."""

import asyncio

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.alignment import LossWindow, TeamSummary
from schemas.headers import rfc3339
from schemas.settings import Deployment
from streams.home import connect
from streams.serving.following import follow
from streams.serving.tally import OVERRIDDEN, TALLIED, ScopeTally, Tally

OPEN_SHOWN = 12
ANSWERS = ("override", "like", "neutral", "skipped")
COUNTED = ("samples", "scenarios", "surfaced", "withheld", "blocked", "open", *ANSWERS)
LEARNED = (
    "overridden", "override budget", "alignment loss", "model in force", "monitor", "retrained", "latest retraining", "monitor's fidelity",
    "teams", "in quarantine", "alarms",
)  # fmt: skip
SHOWN = ("time", *COUNTED, *LEARNED)


def watch(*, once: bool = False, json: bool = False) -> int:
    """Show by scope what was surfaced, withheld and blocked, what operators answered, the alignment loss, and what retraining brought.

    It goes on until Ctrl-C.

    Args:
        once: Print it as of now and end.
        json: Print it as of now as JSON and end.
    """
    deployment = connect()
    if once or json:
        tally = asyncio.run(snapshot(deployment))
        if json:
            Console().print_json(data={name: scope.as_json() for name, scope in sorted(tally.scopes.items())})
        else:
            Console().print(picture(tally))
    else:
        asyncio.run(live(deployment))
    return 0


async def snapshot(deployment: Deployment) -> Tally:
    """Return the numbers as of now."""
    tally = Tally()
    async for batch in follow(deployment, TALLIED):
        for told in batch:
            tally.add(told.topic, told.event, told.source)
    return tally


async def live(deployment: Deployment) -> None:
    """Show the numbers until cancelled."""
    tally = Tally()
    with Live(picture(tally), refresh_per_second=4) as screen:
        async for batch in follow(deployment, TALLIED, forever=True):
            for told in batch:
                tally.add(told.topic, told.event, told.source)
            screen.update(picture(tally))


def picture(tally: Tally) -> Group:
    """Return the numbers as tables: one column a scope, and the open recommendations."""
    numbers = Table("", *(escape(name) for name in sorted(tally.scopes)), box=None)
    columns = [shown(scope) for _, scope in sorted(tally.scopes.items())]
    for row in zip(SHOWN, *columns, strict=True):
        numbers.add_row(*row)
    opened = sorted((each for scope in tally.scopes.values() for each in scope.open.values()), key=lambda each: (-each.opened_ms, each.id))
    waiting = Table("open", "scope", "what", "proposed", "confidence", box=None)
    for each in opened[:OPEN_SHOWN]:
        waiting.add_row(each.id, Text(each.scope), Text(each.summary), Text(each.action.name), f"{each.confidence:.2f}")
    more = [Text(f" and {len(opened) - OPEN_SHOWN:,} older ones")] if len(opened) > OPEN_SHOWN else []
    return Group(numbers, *([waiting] if opened else []), *more)


def shown(scope: ScopeTally) -> list[str]:
    """Write a scope's numbers in the order of `SHOWN`."""
    answers = [scope.answers[kind] for kind in ANSWERS]
    counts = [scope.samples, scope.scenarios, scope.surfaced, scope.withheld, scope.blocked, len(scope.open), *answers]
    learned = [
        overridden_text(scope),
        "-" if scope.budget is None else f"{scope.budget.trusted:.1f} by trust, {scope.budget.raw:.1f} raw",
        loss_text(scope.loss),
        escape(scope.model),
        "-" if scope.monitor is None else escape(f"{scope.monitor.monitor}: {scope.monitor.reason}"),
        f"{len(scope.adopted)}, refused {len(scope.refused)}" if scope.retrainings else "-",
        escape(f"{scope.retrainings[-1].status}: {scope.retrainings[-1].reason}") if scope.retrainings else "-",
        "-" if scope.fidelity is None else f"{scope.fidelity.fidelity:.0%} of {scope.fidelity.windows} windows",
        escape(teams_text(scope.teams)),
        escape(", ".join(scope.quarantined)) or "-",
        escape(", ".join(sorted(scope.alarms))) or "-",
    ]
    return [rfc3339(scope.clock_ms)[:19], *(f"{count:,}" for count in counts), *learned]


def overridden_text(scope: ScopeTally) -> str:
    """Write how many recommendations were overridden, of the answered, the surfaced and all scenarios; an answer is not a decision."""
    rates = {name: "-" if rate is None else f"{rate:.1%}" for name, rate in scope.override_rates.items()}
    return f"{scope.answers[OVERRIDDEN]:,}: {rates['answered']} of answered, {rates['surfaced']} of surfaced, {rates['scenario']} of all"


def teams_text(teams: TeamSummary | None) -> str:
    """Write which team overrides most, and how often teams differ."""
    if teams is None or not teams.teams:
        return "-"
    worst = next((each.override_given_answered for each in teams.teams if each.team == teams.worst), None)
    most = "" if worst is None else f"{teams.worst} overrides most: {worst.events:,} of {worst.trials:,}; "
    return f"{most}teams differ in {teams.conflict.events:,} of {teams.conflict.trials:,}"


def loss_text(loss: LossWindow | None) -> str:
    """Write an alignment loss with its interval."""
    if loss is None:
        return "not known yet"
    middle = "" if loss.loss is None else f"{loss.loss:.3f} "
    return f"{middle}({loss.loss_low:.3f} to {loss.loss_high:.3f})"
