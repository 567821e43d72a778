"""Pictures with what belongs to them: title, legend, caption."""

from collections.abc import Sequence

from streams.reporting import pictures
from streams.reporting.markup import Markup, element
from streams.reporting.pictures import Picture


def figures(shown: Sequence[Picture], name: str) -> Markup:
    """Return pictures side by side, each with its legend and what a reader should know."""
    return element("div", *(figure(picture, f"{name}-{number}") for number, picture in enumerate(shown)), class_="pictures")


def figure(picture: Picture, name: str) -> Markup:
    """Return one picture with its legend."""
    legend = [
        element("span", element("i", class_=line.style, style=f"border-color:var(--series-{1 + index % len(pictures.SERIES)})"), line.label)
        for index, line in enumerate(picture.lines)
    ]
    if picture.adopted:
        legend.append(element("span", element("i", class_="dotted", style="border-color:var(--ink)"), "a model was adopted"))
    return element(
        "figure",
        element("b", picture.title),
        element("div", *legend, class_="legend"),
        Markup(pictures.draw(picture, name)),
        element("figcaption", picture.caption),
    )
