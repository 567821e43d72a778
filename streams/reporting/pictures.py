"""A scope's course as pictures: SVG to stand inside a page, in the page's own colours, the same bytes from the same numbers.

No text from outside goes into a picture: its legend is the page's.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from schemas.alignment import Rate, TeamSummary
from schemas.headers import rfc3339
from streams.reporting.run import ScopeRun
from streams.reporting.sentences import MONITORS, PRICED

# Each stands for a variable of the page's style sheet, so that one picture fits light and dark.
INK, GRID = "#010101", "#010102"
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115", "#010116")
VARIABLES = {INK: "ink", GRID: "grid", **{colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)}}
WIDTH_IN, HEIGHT_IN = 5.2, 2.4
TICKS_MAX = 5
MARKED_MAX = 60  # windows up to which each one is a dot too
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}
DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 1.5))}
_IDS = re.compile(r' id="[^"]*_\d+"')
_NAMES = re.compile(r'(id="|url\(#|href="#)')
_SIZE = re.compile(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>')
_FONT = re.compile(r"font-family: [^;]*; ")


Style = Literal["solid", "dashed", "dotted", "bars"]


class Line(NamedTuple):
    """One line: what it is called, its values by window, and how it is drawn; `low` to `high` is an interval around each value."""

    label: str
    points: Sequence[tuple[int, float]]
    style: Style = "solid"
    interval: Sequence[tuple[int, float, float]] = ()


class Picture(NamedTuple):
    """A picture: a title, what a reader should know, the unit of its values, and its lines; nothing to show without lines.

    `adopted` are the windows in which a model was adopted, `ends_ms` when windows ended.
    """

    title: str
    caption: str
    unit: str
    lines: Sequence[Line]
    adopted: Sequence[int] = ()
    ends_ms: Mapping[int, int] = MappingProxyType({})


def loss(scope: ScopeRun) -> Picture:
    """Alignment loss with its interval."""
    windows = [scope.windows[number] for number in sorted(scope.windows)]
    line = Line(
        "loss per scenario, with its interval",
        [(each.window, each.loss) for each in windows if each.loss is not None],
        interval=[(each.window, each.loss_low, each.loss_high) for each in windows],
    )
    caption = "Lower is better. An interval without a dot: nothing was answered, or no outcome told of what was withheld."
    return Picture("Alignment loss", caption, "loss per scenario", [line] if windows else [], adopted(scope))


def overrides(scope: ScopeRun) -> Picture:
    """The override rate with its three denominators."""
    rates: tuple[tuple[str, Style, str], ...] = (
        ("of the answered", "solid", "overrides_per_answered"),
        ("of the surfaced", "dashed", "overrides_per_surfaced"),
        ("of all scenarios", "dotted", "overrides_per_scenario"),
    )
    lines = []
    for label, style, name in rates:
        known = [(number, getattr(window, name)) for number, window in sorted(scope.windows.items())]
        lines.append(Line(label, [(number, 100 * share) for number, share in known if share is not None], style))
    caption = "One number of overrides over three denominators."
    return Picture("Overrides", caption, "overridden, %", lines if scope.windows else [], adopted(scope))


def reward(scope: ScopeRun) -> Picture:
    """What outcomes told of time saved."""
    points = [(number, window.reward_minutes) for number, window in sorted(scope.windows.items())]
    lines = [Line("minutes saved", points, "bars")] if any(minutes for _, minutes in points) else []
    return Picture("Reward", "What outcomes say was gained; kept apart from the loss on purpose.", "minutes", lines)


def trust(scope: ScopeRun) -> Picture:
    """The weight of the sources with most answers."""
    lines = [
        Line(source, [(summary.window, each.weight) for summary in scope.trust for each in summary.sources if each.source == source])
        for source in busiest(scope)
    ]
    more = len(scope.trust[-1].sources) - len(lines) if scope.trust else 0
    caption = "1: an answer counts in full, 0: not at all." + (f" The {len(lines)} sources with most answers; {more} more." if more else "")
    return Picture("Trust by source", caption, "weight", lines)


def teams(scope: ScopeRun) -> Picture:
    """How often each team overrides."""
    names = [each.team for each in scope.teams_past.teams][: len(SERIES)] if scope.teams_past is not None else []
    lines = [
        Line(name, [(summary.window, 100 * rate.events / rate.trials) for summary in scope.teams for rate in rates_of(summary, name)])
        for name in names
    ]
    return Picture("Overrides by team", "Of the decisions that the team has answered.", "overridden, %", lines)


def rates_of(summary: TeamSummary, team: str) -> list[Rate]:
    """Return a team's rate of one window, none where it has answered nothing."""
    rates = [each.override_given_answered for each in summary.teams if each.team == team]
    return [rate for rate in rates if rate.trials]


def budget(scope: ScopeRun) -> Picture:
    """The override budget, and what open recommendations hold of it."""
    kinds: tuple[tuple[str, Style, str], ...] = (
        ("counting sources by trust", "solid", "trusted"),
        ("counting every override", "dashed", "raw"),
        ("held open", "dotted", "open"),
    )
    lines = [
        Line(label, [(summary.window, getattr(summary.budget, name)) for summary in scope.trust], style) for label, style, name in kinds
    ]
    return Picture("Override budget", "Nothing is surfaced once less than one is left.", "overrides", lines if scope.trust else [])


def statistic(scope: ScopeRun) -> Picture:
    """The meta-monitor's statistic, against the price where it is held against that."""
    monitor = scope.monitor[-1].monitor if scope.monitor else ""
    lines = [Line("statistic", [(each.window, each.statistic) for each in scope.monitor])]
    if monitor in PRICED:
        lines.append(Line("price of a deployment", [(each.window, each.price) for each in scope.monitor], "dashed"))
    title = f"Meta-monitor {monitor}"
    return Picture(title, MONITORS.get(monitor, ""), "statistic", lines if scope.monitor else [], adopted(scope))


def challengers(scope: ScopeRun) -> Picture:
    """What the model in force and its challenger cost."""
    known = [(each.window, each.cost_challenger, each.deviation) for each in scope.challengers if each.cost_challenger is not None]
    lines = [
        Line("in force", [(each.window, each.cost_in_force) for each in scope.challengers]),
        Line(
            "challenger, and the deviation of the difference",
            [(window, cost) for window, cost, _ in known],
            "dashed",
            [(window, cost - (deviation or 0.0), cost + (deviation or 0.0)) for window, cost, deviation in known],
        ),
    ]
    caption = "Each with its own offsets, on judgements that neither had seen."
    return Picture(
        "Challenger against the model in force", caption, "cost of the window", lines if scope.challengers else [], adopted(scope)
    )


COURSE: tuple[Callable[[ScopeRun], Picture], ...] = (loss, overrides, reward)
SOURCES: tuple[Callable[[ScopeRun], Picture], ...] = (trust, budget)
TEAMS: tuple[Callable[[ScopeRun], Picture], ...] = (teams,)
SECOND_LOOP: tuple[Callable[[ScopeRun], Picture], ...] = (statistic, challengers)


def busiest(scope: ScopeRun) -> list[str]:
    """Return the sources with most answers at the end, as many as a picture can tell apart."""
    last = scope.trust[-1].sources if scope.trust else ()
    return [each.source for each in sorted(last, key=lambda each: (-each.answers, each.source))][: len(SERIES)]


def adopted(scope: ScopeRun) -> list[int]:
    """Return the windows in which a model was adopted."""
    return [result.window for result in scope.adopted]


def draw(picture: Picture, name: str) -> str:
    """Draw a picture as SVG.

    Args:
        picture: What to draw; it has lines.
        name: Tells its inner names from those of every other picture of the page.
    """
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02))
        axes = figure.subplots()
        for colour, line in zip(cycle(SERIES), picture.lines, strict=False):
            draw_line(axes, line, colour)
        for window in picture.adopted:
            axes.axvline(window, color=INK, linewidth=1, linestyle=DASHES["dotted"])
        axes.set_xlabel("window, and when it ended (UTC)" if picture.ends_ms else "window")
        axes.set_ylabel(picture.unit)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(TICKS_MAX, integer=True))
        axes.xaxis.set_major_formatter(lambda window, _: tick(window, picture.ends_ms))
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return inline(written.getvalue(), name)


def tick(window: float, ends_ms: Mapping[int, int]) -> str:
    """Name a window by its number and, where that is known, the day and time of its end."""
    ended = ends_ms.get(round(window))
    return f"{window:.0f}" if ended is None else f"{window:.0f}\n{rfc3339(ended)[5:16].replace('T', ' ')}"


def draw_line(axes: Axes, line: Line, colour: str) -> None:
    """Draw one line, its interval first."""
    windows, values = [window for window, _ in line.points], [value for _, value in line.points]
    if line.interval:
        at, low, high = zip(*line.interval, strict=True)
        axes.vlines(at, low, high, color=colour, linewidth=max(1.5, min(7.0, 200 / len(at))), alpha=0.25)
    if line.style == "bars":
        axes.bar(windows, values, color=colour)
        return
    axes.plot(windows, values, color=colour, linestyle=DASHES[line.style], marker="o", markersize=3 if len(windows) <= MARKED_MAX else 0)


def inline(svg: str, name: str) -> str:
    """Make a file of matplotlib's a part of a page: no header, names of its own, the page's colours and font."""
    svg = _IDS.sub("", svg[svg.index("<svg ") :])
    svg = _NAMES.sub(rf"\g<1>{name}-", svg)
    svg = _SIZE.sub(r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" \1 aria-hidden="true">', svg, count=1)
    svg = _FONT.sub("", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()


def drawn(scope: ScopeRun, kinds: Sequence[Callable[[ScopeRun], Picture]]) -> list[Picture]:
    """Return the pictures of a scope that have something to show."""
    pictures = (kind(scope)._replace(ends_ms=scope.ends_ms) for kind in kinds)
    return [picture for picture in pictures if picture.lines]
