"""The section of the page about the second loop: what was commanded, what came of it, what it brought."""

from collections import Counter
from collections.abc import Sequence

from schemas.alignment import Fidelity, LossWindow, OffPolicy, RetrainingCommand, RetrainingResult
from schemas.settings import Profile
from streams.reporting import pictures
from streams.reporting.figures import figures
from streams.reporting.markup import Markup, element, joined, note, paragraph, table
from streams.reporting.run import Run, ScopeRun
from streams.reporting.sentences import NONE, counted, decimal, share, utc
from streams.serving.brought import Brought, brought
from streams.serving.tally import ADOPTED

SPAN_WINDOWS = 3
WHY = {
    "challenger": "a challenger had become cheaper by more than the price",
    "learned": "hindsight had taught that this was the time",
    "loss": "the window's loss passed its bound",
    "periodic": "it was due",
    "random": "the lot fell on it",
    "always": "it is done every window",
    "asked": "a person asked for it",
}


def second_loop(run: Run, scope: ScopeRun, number: int) -> Markup:
    """Return what the meta-monitor did, what came of each retraining, and how that compares with hindsight."""
    head = element("h3", "Retraining")
    shown = pictures.drawn(scope, pictures.SECOND_LOOP)
    if not (scope.commands or scope.results or scope.models or shown):
        return joined([head, paragraph("No retraining was commanded, and no monitor's decision is in the log.")])
    parts = [head]
    if scope.monitor:
        waited = Counter(each.action.value for each in scope.monitor)
        parts.append(
            paragraph(
                f"The monitor {scope.monitor[-1].monitor} looked at {counted(len(scope.monitor), 'window')} and commanded "
                f"{counted(waited['retrain'], 'retraining')}. At the last it said: {scope.monitor[-1].reason}."
            )
        )
    if scope.challengers:
        compared = scope.challengers[-1]
        parts.append(
            paragraph(
                f"In the last window compared, {counted(compared.judged, 'decision')} told the costs ({compared.surfaced:,} surfaced, "
                f"{compared.withheld:,} withheld). The next challenger was fitted on {counted(compared.examples, 'judgement')}"
                f"{chosen(run.settings.profile)}."
            )
        )
    if scope.fidelity:
        last = scope.fidelity[-1]
        parts.append(
            paragraph(
                f"Against hindsight over the last {counted(last.windows, 'window')}: fidelity F is {share(last.fidelity)}, the share of "
                f"their ends at which the monitor acted as the best schedule does, one window more or less; "
                f"loss and prices came to {last.cost:,.1f}, those of the best schedule to {last.cost_best:,.1f}: "
                f"{last.cost - last.cost_best:,.1f} more.{late(last)}"
            )
        )
    unasked = [result for command, result in scope.results.items() if command not in scope.commands]
    pairs = [(command, scope.results.get(name)) for name, command in scope.commands.items()] + [(None, result) for result in unasked]
    known = dict(zip(scope.results, brought(scope.results.values(), scope.challengers), strict=True))
    parts += [retraining(scope, command, result, known.get(result.command) if result else None) for command, result in pairs]
    if pairs:
        parts.append(
            note(
                f"Loss per scenario: the mean, by scenarios, of the {SPAN_WINDOWS} windows before the one in which it came, "
                f"and of the {SPAN_WINDOWS} after that."
            )
        )
    taken = {each.model: each for each in scope.taken}
    models = [
        (
            model.id,
            model.origin,
            model.by,
            element("time", utc(model.time_ms)),
            f"{taken[model.id].answers:,}" if model.id in taken else NONE,
        )
        for model in scope.models
    ]
    if models:
        parts += [
            element("h3", "Models in force, one after another"),
            table(("model", "origin", "by", "when", "answers folded again"), models, texts=4),
        ]
    return joined([*parts, figures(shown, f"s{number}-loop")])


def chosen(profile: Profile) -> str:
    """Say which judgements a challenger may be fitted on, where there may be only so many."""
    if not profile.retraining_examples_max:
        return ""
    first = ", those overridden or cleared of a quarantine first" if profile.retraining == "targeted" else ""
    return f" of at most {profile.retraining_examples_max:,} ({profile.retraining}{first})"


def late(measured: Fidelity) -> str:
    """Say how long after the best schedule the monitor deployed."""
    if measured.delay_windows is None:
        return " The best schedule deploys nothing."
    return f" It deployed {measured.delay_windows:.1f} windows after the best schedule, on average."


def retraining(scope: ScopeRun, command: RetrainingCommand | None, result: RetrainingResult | None, since: Brought | None) -> Markup:
    """Return one retraining: why, what came of it, and what it brought."""
    said = []
    if command is not None:
        price = f" {command.price:g}" if command.price else " 0, as for a scope's first model"
        said.append(
            f"{utc(command.time_ms)}, after window {command.window}: {WHY[command.reason]} "
            f"(statistic {command.statistic:.3g}, price{price}). "
        )
    if result is None:
        return paragraph(*said, element("b", "No result yet."))
    model = f" {result.model.id}" if result.model is not None else ""
    said.append(element("b", f"{result.status}{model}"))
    said.append(f": {result.reason}. {evaluated(result.evaluation)}")
    if result.status == ADOPTED:
        windows = scope.windows
        before = mean_loss([windows[at] for at in range(result.window - SPAN_WINDOWS, result.window) if at in windows])
        after = mean_loss([windows[at] for at in range(result.window + 1, result.window + SPAN_WINDOWS + 1) if at in windows])
        then = f"{after:.2f} after" if after is not None else "not known yet after"
        said.append(f" Loss per scenario {decimal(before, 2)} before, {then}.")
    if since is not None:
        has = "has cost" if result.status == ADOPTED else "would have cost"
        less = f"{abs(since.saved):.1f} {'less' if since.saved >= 0 else 'more'}"
        said.append(f" In the {counted(since.windows, 'window')} since, it {has} {less} than the one it stood against.")
    return paragraph(*said)


def evaluated(evaluation: OffPolicy | None) -> str:
    """Say how a challenger was judged off-policy."""
    if evaluation is None:
        return "It was not evaluated."
    return (
        f"Off-policy over {counted(evaluation.judged, 'decision')} (effective sample size {evaluation.effective_sample_size:.0f}): "
        f"cost per scenario {evaluation.cost_in_force:.3f} in force, {evaluation.cost_challenger:.3f} challenger, "
        f"difference {evaluation.difference:.3f} ± {evaluation.standard_error:.3f}. "
        f"The two differ on {counted(evaluation.differing, 'judged decision')}; none stands for {share(evaluation.unsupported)} of all."
    )


def mean_loss(windows: Sequence[LossWindow]) -> float | None:
    """Return the mean loss per scenario of the windows whose loss is known, by their scenarios."""
    known = [(window.loss, window.scenarios) for window in windows if window.loss is not None and window.scenarios]
    scenarios = sum(count for _, count in known)
    return sum(loss * count for loss, count in known) / scenarios if scenarios else None
