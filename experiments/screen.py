"""What the demo shows on the terminal: the live table of both scopes, and the table at the end."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.feed import Feed
from experiments.picture import Course, change, loss_sentence, overrides_sentence
from experiments.watching import Watch
from experiments.world import DAY_MS, MINUTE_MS, START_MS
from schemas.alignment import LossWindow, RetrainingResult
from schemas.events import Answer
from streams.serving.brought import Brought
from streams.serving.tally import SKIPPED, ScopeTally

SIMULATED = "simulated servers, faults and operators"


def share(value: float | None) -> str:
    """Write a share in per cent, or a dash where there is none."""
    return "-" if value is None else f"{value:.1%}"


def loss(window: LossWindow | None) -> str:
    """Write a loss with its interval, or a dash."""
    if window is None:
        return "-"
    value = "?" if window.loss is None else f"{window.loss:.2f}"
    return f"{value}  [{window.loss_low:.2f}, {window.loss_high:.2f}]"


def counts(tallies: Sequence[ScopeTally]) -> dict[str, list[str]]:
    """Return the rows that the live table and the last one share: of each name a value for each scope."""
    answers = {"answers: like": Answer.LIKE, "  override": Answer.OVERRIDE, "  neutral": Answer.NEUTRAL, "unanswered in time": SKIPPED}
    rows = {
        "scenarios": [f"{tally.scenarios:,}" for tally in tallies],
        "  surfaced": [f"{tally.surfaced:,}" for tally in tallies],
        "  withheld": [f"{tally.withheld:,}" for tally in tallies],
        "  blocked by policy": [f"{tally.blocked:,}" for tally in tallies],
    }
    rows |= {name: [f"{tally.answers[kind]:,}" for tally in tallies] for name, kind in answers.items()}
    for name in ("surfaced", "answered", "scenario"):
        rows[f"decisions overridden, per {name}"] = [share(tally.override_rates[name]) for tally in tallies]
    rows["alignment loss, last window"] = [loss(tally.latest) for tally in tallies]
    rows["alignment loss, all windows"] = [loss(tally.past) for tally in tallies]
    return rows


def _table(rows: Mapping[str, list[str]], seen: Watch) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("", no_wrap=True)
    for course in seen.courses.values():
        table.add_column(f"{course.scope}\n{course.name}", justify="right", no_wrap=True, style="cyan" if course.learning else "yellow")
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def live(feed: Feed, seen: Watch, samples_per_second: float) -> RenderableType:
    """Draw the view of this moment."""
    world = feed.world
    days = (feed.time_ms - START_MS) / DAY_MS
    phase = "warm-up, nothing happens: the encoder learns what is usual" if feed.warming_up else "faults and harmless events"
    if feed.time_ms > world.quiet_ms:
        phase = "quiet end: the last answers come in"
    behind_min = max(0, feed.time_ms - seen.decided_ms()) / MINUTE_MS
    line = Text(f"day {days:.1f}   {samples_per_second:,.0f} samples/s   {seen.tally.total().samples:,} samples", style="bold")
    line.append(f"\ndecided {behind_min:.0f} event minutes behind; telemetry waited {feed.waited_s:.0f} s for it", style="dim")
    bar = Table.grid()
    bar.add_row(ProgressBar(total=world.steps, completed=feed.step, width=72))
    body = Group(
        Text(phase, style="italic"),
        bar,
        line,
        Text(),
        _table(counts(list(seen.tally.scopes.values())), seen),
    )
    return Panel(body, title=f"npo demo: {SIMULATED}", title_align="left", padding=(1, 2))


def plain(feed: Feed, seen: Watch, samples_per_second: float) -> str:
    """Write the view of this moment as one line, where nobody looks at a terminal."""
    total = seen.tally.total()
    per_answered = " / ".join(share(tally.override_rates["answered"]) for tally in seen.tally.scopes.values())
    return (
        f"day {(feed.time_ms - START_MS) / DAY_MS:.1f}: {samples_per_second:,.0f} samples/s, {total.scenarios:,} scenarios, "
        f"{total.surfaced:,} surfaced, {total.withheld:,} withheld, {total.blocked:,} blocked, "
        f"overridden per answered {per_answered} (learning on / off)"
    )


def last(seen: Watch) -> Table:
    """Draw the table at the end: the counts, and how the overrides changed."""
    changes = [change(course) for course in seen.courses.values()]
    rows = counts(list(seen.tally.scopes.values()))
    rows["overridden, of the first answered"] = [share(known.first if known else None) for known in changes]
    rows["overridden, of the last answered"] = [share(known.last if known else None) for known in changes]
    return _table(rows, seen)


def retrainings(seen: Watch, start_ms: int) -> Table:
    """Draw what came of each retraining: what was expected, and what it saved, or would have, on the judgements that came after."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("day", "retraining", "expected to save\nper scenario", "sample", "on what came after,\nin the declared costs"):
        table.add_column(name, no_wrap=True)
    for scope, course in seen.courses.items():
        for result, came in zip(course.retrainings, seen.brought(scope), strict=True):
            told = result.evaluation
            table.add_row(
                f"{(result.time_ms - start_ms) / DAY_MS:.1f}",
                Text(result.status, style="green" if result.status == "adopted" else "yellow"),
                f"{told.difference:.2f} ± {told.standard_error:.2f}" if told else "-",
                f"{told.effective_sample_size:.0f}" if told else "-",
                _came(result, came),
            )
    return table


def _came(result: RetrainingResult, came: Brought | None) -> str:
    if came is None:
        return "no window since"
    would = "" if result.status == "adopted" else "would have "
    said = f"saved {came.saved:.0f}" if came.saved >= 0 else f"cost {-came.saved:.0f} more"
    return f"{would}{said} in {came.windows} windows"


def sentences(feed: Feed, seen: Watch, courses: Sequence[Course]) -> list[str]:
    """Say what the numbers show, and what they do not."""
    said = [overrides_sentence(courses), loss_sentence(courses)]
    for course in courses:
        refused = [result for result in course.retrainings if result.status == "refused"]
        if refused:
            said.append(f"Refused in {course.scope}: {'; '.join(result.reason for result in refused)}.")
    if seen.dead:
        said.append(f"Dead letters: {', '.join(f'{count} {reason}' for reason, count in sorted(seen.dead.items()))}.")
    if not seen.settled:
        said.append("Not everything was decided and closed when the demo ended; the counts above are short of it.")
    said.append(f"The world is the project's own simulator, seed {feed.world.seed}: this shows the loop, and says nothing of real servers.")
    return said


def next_steps(home: Path, files: Mapping[str, Path]) -> str:
    """Say what to try next, with the records of this run and without."""
    settings = " ".join(f"NPO_{name.upper()}={path}" for name, path in files.items())
    return (
        "\nTry next\n"
        f"  export PATH={Path(sys.executable).parent}:$PATH NPO_HOME={home} {settings}\n"
        "  npo up                            the stack again, with the records of this run\n"
        "  npo watch                         what was surfaced, answered, lost\n"
        "  npo export LOG; npo replay LOG    the log as parquet; the same decisions from it, byte for byte\n"
        "  npo play DATA_DIR                 labelled telemetry of real machines\n"
        "  npo down"
    )
