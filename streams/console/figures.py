"""What the numbers of the Loop view say, as sentences: each names what it is of, and what it is held against."""

from collections.abc import Mapping

from agents.trust import QUARANTINE_BOUND
from schemas.alignment import Fidelity, LossWindow, MonitorAction, MonitorDecision, RetrainingResult, SourceTrust, TeamSummary, ThresholdRow
from schemas.events import BudgetState
from schemas.settings import Profile
from streams.console.views import OverrideRate
from streams.reporting.sentences import MONITORS, PRICED, counted, decimal, share
from streams.serving.brought import Brought
from streams.serving.tally import ADOPTED, WHOLE_PAST


def overrides_in_words(rates: Mapping[str, OverrideRate]) -> str:
    """Say how many were overridden, of each of the three denominators."""
    overridden = rates["surfaced"].events
    of = (("surfaced", "surfaced"), ("answered", "liked or overridden"), ("scenario", "scenarios decided"))
    parts = [f"{share(overridden, rates[name].trials)} of {rates[name].trials:,} {what}" for name, what in of]
    return f"{counted(overridden, 'recommendation')} overridden: {', '.join(parts)}."


def target_in_words(target: float | None, surfaced: float | None, profile: Profile) -> str:
    """Say how the target is made."""
    k, r = profile.override_cost, profile.override_rate
    if target is None or surfaced is None:
        return f"No target yet: it is {k:g} (cost of an override) × {r:.1%} (declared rate) × the share surfaced, and no window has ended."
    return (
        f"Target {target:.3f}: {k:g} (cost of an override) × {r:.1%} (overrides among answers, as declared) × {surfaced:.1%} (surfaced). "
        "Misses have no declared rate: none is in it."
    )


def loss_in_words(window: LossWindow | None, target: float | None, profile: Profile) -> str:
    """Say what the loss is, what it is made of, and where its interval stands to the target."""
    if window is None:
        return "No window has ended yet: no loss is known."
    span = "over the whole past" if window.window == WHOLE_PAST else f"in window {window.window}"
    middle = "" if window.loss is None else f"{decimal(window.loss)} "
    said = f"Alignment loss per scenario {span}: {middle}({decimal(window.loss_low)} to {decimal(window.loss_high)})"
    if window.loss is None:
        unknown = [
            name
            for name, rate, count in (
                ("nothing surfaced was liked or overridden", window.override_given_answered, window.surfaced),
                ("no outcome tells of what was withheld", window.miss_given_outcome, window.withheld),
            )
            if count and not rate.trials
        ]
        return f"{said}; no single number, since {' and '.join(unknown) or 'a rate is not known'}."
    parts = [
        f"{name} {cost * count / window.scenarios * (rate.events / rate.trials if rate.trials else 0.0):.3f}"
        for name, cost, count, rate in (
            ("overrides", profile.override_cost, window.surfaced, window.override_given_answered),
            ("misses", profile.miss_cost, window.withheld, window.miss_given_outcome),
        )
        if window.scenarios
    ]
    if target is None:
        return f"{said}: {', '.join(parts)}."
    stands = "below" if window.loss_high < target else "above" if window.loss_low > target else "across"
    return f"{said}: {', '.join(parts)}. Its interval lies {stands} the target of {target:.3f}."


def is_closed(budget: BudgetState, profile: Profile) -> bool:
    """Tell whether one more open recommendation would exceed the budget that the profile goes by, as the decider judges it."""
    return profile.budget != "off" and (budget.raw if profile.budget == "raw" else budget.trusted) - budget.open < 1


def budget_in_words(budget: BudgetState, profile: Profile) -> str:
    """Say what is left of the override budget, and what that allows."""
    left = f"{budget.trusted:.1f} overrides left by trust, {budget.raw:.1f} counting every override"
    if profile.budget == "off":
        return f"{left}; the profile has no override budget, so this stops nothing."
    wealth = (budget.raw if profile.budget == "raw" else budget.trusted) - budget.open
    held = (
        f"{counted(budget.open, 'open recommendation holds', 'open recommendations hold')} one each" if budget.open else "nothing is open"
    )
    goes = f"{left}; the profile goes by the {'second' if profile.budget == 'raw' else 'first'}, and {held}"
    if is_closed(budget, profile):
        return f"{goes}: closed. 1 % is surfaced as audited exploration until answers earn more, or a person reopens it."
    return f"{goes}: {counted(int(wealth), 'more can be surfaced', 'more can be surfaced')}."


def threshold_in_words(row: ThresholdRow, used: ThresholdRow | None) -> str:
    """Say what one threshold would have had: against the one in use, `at 0.9: 12 overrides fewer, 31 misses more`, else in all."""
    if used is None:
        return f"at {row.threshold:g}: {counted(row.overrides, 'override')}, {counted(row.misses, 'miss', 'misses')}"
    if row.threshold == used.threshold:
        return f"at {row.threshold:g}, in use: {counted(row.overrides, 'override')}, {counted(row.misses, 'miss', 'misses')}"
    overrides = differing(row.overrides - used.overrides, "override", "overrides")
    return f"at {row.threshold:g}: {overrides}, {differing(row.misses - used.misses, 'miss', 'misses')}"


def differing(difference: int, name: str, names: str) -> str:
    """Write how many more or fewer there are."""
    if not difference:
        return f"as many {names}"
    return f"{counted(abs(difference), name, names)} {'more' if difference > 0 else 'fewer'}"


def coverage_in_words(scenarios: int, used: ThresholdRow | None, in_use: float | None) -> str:
    """Say of how much the threshold table knows, and which threshold it is held against."""
    said = f"Over {counted(scenarios, 'scenario')} decided: overrides and misses as far as an answer or outcome tells what was wanted"
    if in_use is None:
        return f"{said}. No threshold is in use all the time: each scenario draws one of the five."
    if used is None:
        return f"{said}. The threshold in use, {in_use:g}, is not one of the five."
    known = f"of {used.surfaced:,} at or above the threshold in use, {in_use:g}, {used.known:,} are known"
    return f"{said}; {known}. Below it only outcomes and exploration tell."


def source_in_words(source: SourceTrust) -> str:
    """Say how far a source is trusted, and why."""
    state = "in quarantine, counts for nothing" if source.quarantined else f"counts {source.weight:.0%}"
    answers = f"{counted(source.answers, 'answer')}, {counted(source.overrides, 'override')}"
    coins = f"likes {source.alpha:.0%} of what is wanted, overrides {source.beta:.0%} of what is not, as estimated"
    others = (
        f"; disagreement with others {source.disagreement:.1f}, the nearer to {QUARANTINE_BOUND:g} the less it counts, above it is silenced"
        if source.disagreement
        else ""
    )
    return f"{state}: {coins}; {answers}{others}"


def teams_in_words(teams: TeamSummary) -> str:
    """Say which team overrides most often, and how often teams differ."""
    rates = {each.team: each.override_given_answered for each in teams.teams}
    said = []
    if teams.worst is not None and (worst := rates.get(teams.worst)) is not None:
        said.append(f"{teams.worst} overrides most often: {share(worst.events, worst.trials)} of {worst.trials:,} that it answered")
    if teams.conflict.trials:
        said.append(f"teams differ on {teams.conflict.events:,} of {teams.conflict.trials:,} that two or more answered")
    else:
        said.append("no recommendation was answered by two teams")
    return f"{'; '.join(said)}."


def monitor_in_words(decision: MonitorDecision | None) -> str:
    """Say what the meta-monitor did last, and by which numbers."""
    if decision is None:
        return "The meta-monitor has decided nothing yet: no window has ended."
    acts = "retrains" if decision.action is MonitorAction.RETRAIN else "waits"
    price = ""
    if decision.monitor in PRICED:
        price = f", price {decision.price:.4g}" if decision.price else ", no price, as for a scope's first model"
    what = MONITORS.get(decision.monitor, "")
    return (
        f"After window {decision.window} the monitor {decision.monitor} {acts}: {decision.reason}. "
        f"Statistic {decision.statistic:.4g}{price}. {what}"
    ).rstrip()


def fidelity_in_words(measured: Fidelity | None) -> str:
    """Say how the meta-monitor stands against hindsight."""
    if measured is None:
        return "Not measured against hindsight yet: that needs two windows."
    late = "" if measured.delay_windows is None else f" It deployed {measured.delay_windows:.1f} windows after it, on average."
    return (
        f"Over the last {counted(measured.windows, 'window')} it acted as the cheapest schedule in hindsight at {measured.fidelity:.0%} of "
        f"their ends (one window more or less). Loss and prices came to {measured.cost:,.1f}, the schedule's to {measured.cost_best:,.1f}."
        f"{late}"
    )


def retraining_in_words(result: RetrainingResult, since: Brought | None) -> str:
    """Say what came of a retraining, and what it has saved or would have saved since, in the declared costs."""
    model = f" {result.model.id}" if result.model is not None else ""
    said = f"{result.status}{model} after window {result.window}: {result.reason}."
    if since is None:
        return f"{said} Not known yet what it {'brought' if result.status == ADOPTED else 'would have brought'}."
    has = "has cost" if result.status == ADOPTED else "would have cost"
    less = f"{abs(since.saved):,.1f} {'less' if since.saved >= 0 else 'more'}"
    return f"{said} In the {counted(since.windows, 'window')} since, it {has} {less} than {result.in_force}."
