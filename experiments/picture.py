"""The demo's picture: overrides and alignment loss over time, with learning and without, each with a sentence from its numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from msgspec import Struct, field

from experiments.world import DAY_MS
from schemas.alignment import LossWindow, RetrainingResult

ROLLING = 60
FEW, LEAST = 30, 5
COLOURS = {True: "#0b6fa4", False: "#c8501e"}
GREY = "#6b6b6b"
RETRAINED = ("#1f7a3d", "-")
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}


class Course(Struct):
    """What happened to one scope over time.

    Attributes:
        scope: Its name.
        learning: Whether answers moved anything.
        answered: Answered decisions: event time, and the share of overrides among the answers.
        windows: Alignment loss by window.
        past: Alignment loss over all windows, as last published.
        retrainings: What came of each retraining command.
    """

    scope: str
    learning: bool
    answered: list[tuple[int, float]] = field(default_factory=list)
    windows: list[LossWindow] = field(default_factory=list)
    past: LossWindow | None = None
    retrainings: list[RetrainingResult] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it."""
        return "learning on" if self.learning else "learning off"


class Change(Struct, frozen=True):
    """The share of overrides among the first and the last `count` answered decisions."""

    count: int
    first: float
    last: float


def change(course: Course) -> Change | None:
    """Return how the share of overrides changed from the first to the last of the answered decisions: a fifth of them, a third of few.

    None where that is less than five.
    """
    shares = [share for _, share in sorted(course.answered)]
    count = max(len(shares) // 5, min(FEW, len(shares) // 3))
    return Change(count, float(np.mean(shares[:count])), float(np.mean(shares[-count:]))) if count >= LEAST else None


def overrides_sentence(courses: Sequence[Course]) -> str:
    """Say in one sentence what became of the overrides."""
    parts = []
    for course in courses:
        seen = change(course)
        told = f"{seen.first:.0%} of the first {seen.count}, {seen.last:.0%} of the last" if seen else "too few to say"
        parts.append(f"{course.name}: {told}")
    return "Overridden, of the answered decisions: " + "; ".join(parts) + "."


def loss_sentence(courses: Sequence[Course]) -> str:
    """Say in one sentence how the losses over all windows compare, and whether their intervals keep apart."""
    past = {course.learning: course.past for course in courses if course.past}
    if len(past) < len(COLOURS):
        return "Too few decisions to close a window of alignment loss in both scopes."
    on, off = past[True], past[False]
    words = f"Alignment loss over all windows: {_loss(on)} with learning, {_loss(off)} without"
    if on.loss_high < off.loss_low or off.loss_high < on.loss_low:
        return f"{words}; the intervals do not overlap."
    return f"{words}; the intervals overlap, so this run alone does not settle it."


def _loss(window: LossWindow) -> str:
    value = "unknown" if window.loss is None else f"{window.loss:.2f}"
    return f"{value} ({window.loss_low:.2f} to {window.loss_high:.2f})"


def draw(courses: Sequence[Course], start_ms: int, turn_ms: int, error: float, title: str, path: Path) -> None:
    """Draw both panels to a PNG.

    Args:
        courses: The scope that learns and the one that does not.
        start_ms: Event time at which the axis begins.
        turn_ms: Event time at which the world turns.
        error: The operators' stated error, the least that overrides can fall to.
        title: What was run; says that it is simulated.
        path: File to write.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 5.6), dpi=130, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
        left, right = figure.subplots(1, 2)
        _draw_overrides(left, courses, start_ms, error)
        _draw_loss(right, courses, start_ms)
        for axes, sentence in ((left, overrides_sentence(courses)), (right, loss_sentence(courses))):
            _draw_moments(axes, courses, start_ms, turn_ms)
            axes.set_xlabel("simulated days\n\n" + _wrapped(sentence), loc="left", linespacing=1.35)
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": "npo demo"})


def _draw_overrides(axes: Axes, courses: Sequence[Course], start_ms: int, error: float) -> None:
    axes.set_title(f"overrides among answered decisions, the last {ROLLING}")
    ends = []
    for course in courses:
        if not course.answered:
            continue
        answered = sorted(course.answered)
        times = (np.array([time for time, _ in answered]) - start_ms) / DAY_MS
        shares = np.array([share for _, share in answered])
        total = np.concatenate([[0.0], np.cumsum(shares)])
        count = np.minimum(np.arange(1, len(shares) + 1), ROLLING)
        rolling = (total[1:] - total[np.arange(1, len(shares) + 1) - count]) / count
        shown = slice(min(len(shares) - 1, ROLLING // 6), None)
        axes.plot(times[shown], rolling[shown], color=COLOURS[course.learning], linewidth=2.2)
        ends.append((float(times[-1]), float(rolling[-1]), course))
    axes.axhline(error, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    style: Any = {"textcoords": "offset points", "va": "top", "color": GREY, "fontsize": 9.5, "bbox": behind}
    axes.annotate(f"operators' own error, {error:.0%}", (0, error), (4, -4), **style)
    axes.set_ylim(0, max(0.5, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _label_ends(axes, ends)


def _draw_loss(axes: Axes, courses: Sequence[Course], start_ms: int) -> None:
    axes.set_title("alignment loss per scenario, by window, with its 95 % interval")
    ends = []
    for course in courses:
        known = [window for window in course.windows if window.loss is not None]
        if not known:
            continue
        times = (np.array([window.time_ms for window in known]) - start_ms) / DAY_MS
        loss = np.array([window.loss for window in known], dtype=float)
        colour = COLOURS[course.learning]
        axes.fill_between(times, [w.loss_low for w in known], [w.loss_high for w in known], color=colour, alpha=0.15, linewidth=0)
        axes.plot(times, loss, color=colour, linewidth=2.2, marker="o", markersize=5)
        ends.append((float(times[-1]), float(loss[-1]), course))
    axes.set_ylim(bottom=0)
    _label_ends(axes, ends)


def _draw_moments(axes: Axes, courses: Sequence[Course], start_ms: int, turn_ms: int) -> None:
    """Mark when the world turned, and each retraining, along upright lines."""
    moments = [(turn_ms, "the world turns", GREY, ":")]
    for course in courses:
        for result in course.retrainings:
            colour, style = RETRAINED if result.status == "adopted" else (GREY, "--")
            moments.append((result.time_ms, f"retraining {result.status}", colour, style))
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    days_max = axes.get_xlim()[1]
    for time_ms, words, colour, style in moments:
        day = (time_ms - start_ms) / DAY_MS
        if day > days_max:
            continue
        axes.axvline(day, color=colour, linewidth=1.2, linestyle=style, zorder=1)
        place = axes.get_xaxis_transform()
        axes.text(
            day, 0.985, words, transform=place, rotation=90, va="top", ha="center", color=colour, fontsize=8.5, bbox=behind, zorder=1.5
        )


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, Course]]) -> None:
    """Write each line's name beside its end, moved apart where two ends are close."""
    if not ends:
        axes.text(0.5, 0.5, "nothing to show yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    bottom, top = axes.get_ylim()
    apart = (top - bottom) * 0.06
    least = bottom + apart / 2
    right = max(time for time, _, _ in ends)
    axes.set_xlim(0, right * 1.24)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= right])
    for _, value, course in sorted(ends, key=lambda end: end[1]):
        height = max(value, least)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(right * 1.015, height, course.name, color=COLOURS[course.learning], va="center", fontweight="bold", bbox=behind)
        least = height + apart


def _wrapped(sentence: str, width: int = 70) -> str:
    lines = [""]
    for word in sentence.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
