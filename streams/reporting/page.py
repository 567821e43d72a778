"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from importlib.resources import files

from streams.reporting.markup import Markup, element, joined, note, paragraph, table
from streams.reporting.run import Run
from streams.reporting.sections import scope_section
from streams.reporting.sentences import counted, decimal, interval, share, summary, utc
from streams.serving.tally import ANSWERED, OVERRIDDEN, SKIPPED

TITLE = "Report of a run"
# Not even an image may be fetched, whatever a name holds.
FETCH_NOTHING = "default-src 'none'; style-src 'unsafe-inline'"


def page(run: Run) -> str:
    """Return the page; the same run gives the same bytes."""
    style = files("streams.reporting").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=FETCH_NOTHING),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("h1", TITLE),
        element("div", *(paragraph(sentence) for sentence in summary(run)), class_="summary"),
        contents(run),
        scopes(run),
        joined(scope_section(run, name, number) for number, name in enumerate(run.scopes, 1)),
        commands(run),
        dead_letters(run),
        settings(run),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def contents(run: Run) -> Markup:
    """Return links to the scopes and to what belongs to none."""
    links = [element("a", name, href=f"#scope-{number}") for number, name in enumerate(run.scopes, 1)]
    rest = [element("a", name, href=f"#{name.replace(' ', '-').lower()}") for name in ("Control commands", "Dead letters", "Settings")]
    return element("nav", *links, *rest)


def scopes(run: Run) -> Markup:
    """Return one row a scope."""
    if not run.scopes:
        return paragraph("The log holds no scope: no telemetry has become a heartbeat, a scenario or a decision.")
    rows = []
    for name, scope in run.scopes.items():
        tally, overridden = scope.tally, scope.tally.answers[OVERRIDDEN]
        counts = [f"{count:,}" for count in (tally.surfaced, tally.withheld, tally.blocked, tally.answers[ANSWERED])]
        overrides = f"{overridden:,} ({share(overridden, tally.answers[ANSWERED])})"
        ends = (f"{tally.answers[SKIPPED]:,}", interval(scope.past), f"{len(scope.adopted):,}", f"{len(scope.raised):,}")
        rows.append((name, *counts, overrides, *ends))
    head = ("scope", "surfaced", "withheld", "blocked", "answered", "overridden", "expired", "alignment loss", "models", "alarms")
    meaning = note(
        "Overridden: of the answered. Alignment loss: per scenario, with its interval. Models: adopted. Alarms: raised at the end."
    )
    left_out = ", ".join(f"{count:,} {name}" for name, count in sorted(run.unread.items()))
    unread = [note(f"Records that cannot be decoded and are left out: {left_out}.")] if left_out else []
    return joined([element("h2", "Scopes"), table(head, rows), meaning, *unread])


def commands(run: Run) -> Markup:
    """Return who commanded what, when and why."""
    head = element("h2", "Control commands", id="control-commands")
    if not run.controls:
        return joined([head, paragraph("None was given.")])
    rows = [
        (element("time", utc(each.time_ms)), each.command.value, each.scope or "all scopes", each.subject, each.by, each.reason)
        for each in run.controls
    ]
    return joined([head, table(("when", "command", "scope", "about", "by", "why"), rows, texts=6)])


def dead_letters(run: Run) -> Markup:
    """Return what could not be processed, by reason."""
    head = element("h2", "Dead letters", id="dead-letters")
    if not run.dead_letters:
        return joined([head, paragraph("Every record could be processed.")])
    rows = [(each.topic, each.reason, each.detail, f"{each.records:,}") for each in run.dead_letters]
    return joined([head, table(("topic", "reason", "the last of them", "records"), rows, texts=3)])


def settings(run: Run) -> Markup:
    """Return the settings that the run was made under."""
    profile, policy = run.settings.profile, run.settings.policy
    loop = f"score {profile.score}, selector {profile.selector}, threshold {decimal(profile.threshold, 2)}, budget {profile.budget}"
    of_an_answer = f"an unwanted recommendation costs {profile.override_cost:g}, a miss {profile.miss_cost:g}"
    costs = f"{of_an_answer}, a retraining {profile.retraining_price:g}"
    windows = f"a window has {counted(profile.window_scenarios, 'scenario')}"
    rules = f"Policy {policy.version}, {counted(len(policy.rules), 'rule')}"
    return joined(
        [
            element("h2", "Settings", id="settings"),
            paragraph(f"Profile {profile.name}: {loop}, monitor {profile.monitor}; {costs}; {windows}. {rules}. Digest: {run.digest}."),
            note("All times are UTC; those of control commands are the clock's, all others are times of the telemetry."),
        ]
    )
