"""What the pictures of the learning rules have in common: a white card with a title, panels, and names at the ends of lines."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.picture import COLOURS, STYLE

GREY = "#6b6b6b"
BLUE, ORANGE = COLOURS[True], COLOURS[False]
GREEN, PURPLE = "#3a7d44", "#7b4f9d"
WIDE = 2.2
CARD_STYLE: Any = {**STYLE, "axes.titlesize": 11, "svg.hashsalt": "npo", "savefig.facecolor": "white"}

End = tuple[float, str, str]


def card(title: str, panels: int = 2, ratios: Sequence[float] | None = None, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """Return an empty card: its figure, and its panels from left to right.

    Args:
        title: What is shown; says so where it is simulated.
        panels: How many.
        ratios: Their widths, equal by default.
        height: Of the card, in inches; it is 10.5 wide.
    """
    figure = Figure(figsize=(10.5, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.09))
    axes = figure.subplots(1, panels, width_ratios=ratios, squeeze=False)[0]
    figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return figure, list(axes)


def name_ends(axes: Axes, ends: Sequence[End], room: float = 1.3) -> None:
    """Write each line's name beside its end, moved apart where two ends are close.

    Args:
        axes: A panel whose limits are set.
        ends: Height, name and colour of each.
        room: Width of the panel with the names, in widths of the data; on a logarithmic axis, of its logarithms.
    """
    left, right = axes.get_xlim()
    upright = axes.get_yscale() == "log"
    bottom, top = (math.log(edge) if upright else edge for edge in axes.get_ylim())
    apart = (top - bottom) * 0.08
    least = bottom + apart / 2
    ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
    minor = [tick for tick in axes.get_xticks(minor=True) if left <= tick <= right]
    axes.set_xlim(left, left * (right / left) ** room if axes.get_xscale() == "log" else left + (right - left) * room)
    axes.set_xticks(ticks)
    axes.set_xticks(minor, minor=True)
    # A second pass from above keeps the topmost names inside the panel.
    heights = []
    for value, _, _ in sorted(ends):
        heights.append(max(math.log(value) if upright else value, least))
        least = heights[-1] + apart
    most = top - apart / 2
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], most)
        most = heights[index] - apart
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.2}
    for height, (_, name, colour) in zip(heights, sorted(ends), strict=True):
        words = axes.annotate(
            name,
            (right, math.exp(height) if upright else height),
            (5, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            bbox=behind,
        )
        words.set(fontsize=10, fontweight="bold")


def level(axes: Axes, value: float, text: str, *, at: float = 0.0, above: bool = True) -> None:
    """Draw a dashed horizontal line and say what it is."""
    axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    words = axes.annotate(text, (at, value), (4, 3 if above else -4), xycoords=("axes fraction", "data"), textcoords="offset points")
    words.set(color=GREY, fontsize=9.5, va="bottom" if above else "top")


def percent(axes: Axes) -> None:
    """Write the heights of a panel as percentages."""
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def style() -> Any:  # noqa: ANN401  # matplotlib's context has no type of its own
    """Return the context in which cards are made and written."""
    return mpl.rc_context(CARD_STYLE)
