"""HTML that is safe by default: whatever is not markup already is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

EMPTY_ELEMENTS = {"meta"}


class Markup(str):
    """Text that is HTML already; any other string is text, whatever it holds."""

    __slots__ = ()


def text(part: str) -> Markup:
    """Return a string as HTML: markup as it is, anything else escaped."""
    return part if isinstance(part, Markup) else Markup(escape(part, quote=True))


def element(tag: str, /, *parts: str, **attributes: str) -> Markup:
    """Return an element; an attribute's trailing underscore is left out (`class_`)."""
    inside = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"' for key, value in attributes.items())
    if tag in EMPTY_ELEMENTS:
        return Markup(f"<{tag}{inside}>")
    return Markup(f"<{tag}{inside}>{''.join(map(text, parts))}</{tag}>")


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after another, each on a line of its own."""
    return Markup("\n".join(map(text, parts)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> Markup:
    """Return a table whose first `texts` columns are text and the rest numbers; it scrolls by itself where the page is narrow."""
    if not rows:
        return Markup("")

    def cells(name: str, row: Sequence[str]) -> list[Markup]:
        return [element(name, cell, **({} if index < texts else {"class_": "number"})) for index, cell in enumerate(row)]

    body = joined(element("tr", *cells("td", row)) for row in rows)
    return element("div", element("table", element("thead", element("tr", *cells("th", head))), element("tbody", body)), class_="wide")


def paragraph(*parts: str) -> Markup:
    """Return a paragraph."""
    return element("p", *parts)


def note(*parts: str) -> Markup:
    """Return a paragraph in small print."""
    return element("p", *parts, class_="note")
