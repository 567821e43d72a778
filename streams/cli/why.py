"""`npo why`: everything that led to one decision, and what came of it."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from msgspec import to_builtins
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agents.deciding.means import PREFIX
from agents.scoring import Channel
from agents.trust import weight
from schemas.events import JudgedAnswer, Status
from streams.explaining import Explanation, words
from streams.explaining.explanation import Score
from streams.explaining.finding import explain_logged, explain_running
from streams.home import connect

STYLES = {Status.SURFACED: "green", Status.WITHHELD: "yellow", Status.BLOCKED: "red"}
BARS = "▁▂▃▄▅▆▇█"
SPARK_MAX = 40


def why(decision: str, *, log: Path | None = None, json: bool = False) -> int:
    """Show everything that led to one decision, and what came of it.

    Args:
        decision: The decision's id, or the beginning of it where only one begins so.
        log: Look in this exported log instead of the running stack.
        json: Print it as JSON.

    Raises:
        UnknownDecisionError: no decision has this id, or several begin with it.
        LogFileError: not a complete log.
    """
    with Console(stderr=True).status("looking for the decision"):
        explanation = asyncio.run(explain_running(connect(), decision) if log is None else explain_logged(log, decision))
    if json:
        Console().print_json(data=to_builtins(explanation))
    else:
        Console().print(picture(explanation))
    return 0


def picture(told: Explanation) -> Group:
    """Return an explanation as text and tables."""
    status = Text.assemble(
        ("decision ", "bold"), (words.printable(told.decision), "bold cyan"), ": ", (told.status_says, f"bold {STYLES[told.status]}")
    )
    return Group(
        status,
        *section("What happened", said(told.happened), seen(told), facts((
            ("scope", told.scope),
            ("class", told.scenario_class),
            ("seen", words.utc(told.time_ms)),
            ("decided", f"{words.utc(told.decided_ms)}, in window {told.window}"),
            ("proposed", told.action_says),
        ))),
        *section("Why", said(told.why)),
        *section("Score", scored(told), *unweighted(told)),
        *section("What the class had heard", said(told.history_says), *sources(told)),
        *section("Draw and threshold", said(told.draw_says), facts((
            ("confidence", f"{told.score.confidence:.4f}"),
            ("drawn", "nothing" if told.draw is None else f"{told.draw:.4f}"),
            ("threshold", f"{told.threshold:.4f}"),
            ("propensity", f"{told.propensity:.4f}"),
        ))),
        *section("Override budget", said(told.budget_says)),
        *section("Safety policy", *policy(told)),
        *section("Made under", facts((
            ("model", f"{told.model}: {told.model_says}"),
            *((name, value) for name, value in sorted(told.versions.items()) if name != "model"),
            ("positions", ", ".join(f"{topic} {position}" for topic, position in sorted(told.positions.items()))),
        ))),
        *section("What came of it", said(told.came_of_it), *lived(told), *judged(told)),
    )  # fmt: skip


def section(title: str, *parts: RenderableType) -> Iterable[RenderableType]:
    """Give a title and what stands under it."""
    yield Text(f"\n{title}", style="bold")
    for part in parts:
        yield Padding(part, (0, 0, 0, 2))


def said(text: str, style: str = "") -> Text:
    """Return text as text, never markup, and nothing that steers the terminal."""
    return Text(words.printable(text), style=style)


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names beside values."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(said(name, style="dim"), said(value))
    return table


def table(*columns: str, rows: Iterable[Iterable[str]]) -> Table:
    """Return rows under a head."""
    result = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        result.add_row(*(said(cell) for cell in row))
    return result


def seen(told: Explanation) -> RenderableType:
    """Return the blamed metrics around the moment, as far as the scenario is still held."""
    shown = [symptom for symptom in told.symptoms if told.excerpt.get(symptom.metric)]
    return facts((symptom.metric, spark(told.excerpt[symptom.metric])) for symptom in shown[: words.SYMPTOMS_MAX])


def spark(values: list[float | None]) -> str:
    """Draw values as bars, each between the least and the largest; a missing one is a blank."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join(" " if value is None else BARS[int((value - low) / span * (len(BARS) - 1))] for value in values[-SPARK_MAX:])


def scored(told: Explanation) -> RenderableType:
    """Return how the confidence came about."""
    score = told.score
    model = [("intercept of the model", "", f"{score.intercept:+.3f}"), *weighted(score)]
    if score.kind == "mean":
        note = Text(f"Confidence {score.confidence:.3f} is one minus the running mean of the class's answers; features are not in it.")
        return Group(note, table("not used: model", "value", "logit", rows=model))
    deviation = "" if score.offset_deviation is None else f"± {score.offset_deviation:.2f}"
    offset = ("offset of the class", deviation, f"{score.offset:+.3f}")
    whole = (f"together: the logit of {score.confidence:.3f}", "", f"{score.total:+.3f}")
    return table("part", "value", "logit", rows=[*model, offset, whole])


def weighted(score: Score) -> list[tuple[str, str, str]]:
    """Return a row for each feature that the model weighs, or its class's mean: the logit is what both add together."""
    added = {each.feature: each.contribution for each in score.contributions}
    rows = []
    for name in dict.fromkeys(map(own, added)):
        mean = added.get(PREFIX + name)
        note = "" if mean is None else f", which adds {mean:+.3f}"
        rows.append((name, valued(score, name, note), f"{added.get(name, 0.0) + (mean or 0.0):+.3f}"))
    return rows


def unweighted(told: Explanation) -> Iterable[RenderableType]:
    """Give the features that the model does not weigh, neither themselves nor by their class's mean."""
    rest = dict.fromkeys(map(own, told.score.unweighted)).keys() - {own(each.feature) for each in told.score.contributions}
    if rest:
        names = ", ".join(f"{name} {valued(told.score, name)}" for name in sorted(rest))
        yield said(f"without weight in this model: {names}", style="dim")


def own(name: str) -> str:
    """Return the feature whose class mean this one is, or the name as it is."""
    return name.removeprefix(PREFIX)


def valued(score: Score, name: str, note: str = "") -> str:
    """Write a feature's value with its class's mean, as far as they are known."""
    values = {**score.unweighted, **{each.feature: each.value for each in score.contributions}}
    value, mean = values.get(name), values.get(PREFIX + name)
    return ("" if value is None else f"{value:.4g}") + ("" if mean is None else f" (class mean {mean:.4g}{note})")


def sources(told: Explanation) -> Iterable[RenderableType]:
    """Give the trust in those who had answered the class."""
    if told.sources:
        rows = [
            (each.source, f"{each.alpha:.2f}", f"{each.beta:.2f}", f"{each.youden:+.2f}", f"{each.weight:.2f}") for each in told.sources
        ]
        yield table("source", "P(like | wanted)", "P(override | unwanted)", "J", "weight", rows=rows)


def policy(told: Explanation) -> Iterable[RenderableType]:
    """Give the verdict and the facts that it was made over."""
    verdict = told.verdict
    yield said("allowed: no rule denied it" if verdict.allowed else f"refused by {', '.join(verdict.rules)}")
    if verdict.error:
        yield said(f"could not be judged: {verdict.error}", style="red")
    written = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in sorted(verdict.facts.items()))
    yield said(", ".join(written), style="dim")


def lived(told: Explanation) -> Iterable[RenderableType]:
    """Give the life of the recommendation."""
    if told.life:
        yield table("when", "life", "", rows=[(words.utc(moment.time_ms), moment.life, moment.says) for moment in told.life])


def judged(told: Explanation) -> Iterable[RenderableType]:
    """Give every answer of the judgement, and how far it moved the class."""
    if told.judged is not None and told.judged.answers:
        rows = [
            (
                each.source,
                each.team or "",
                each.kind,
                words.utc(each.time_ms),
                f"{each.weight:.2f}{' (in quarantine)' if silenced(each) else ''}",
                f"{each.counted:.2f}",
                f"{each.moved:+.3f}",
                f"{each.sequence}" if each.sequence else "none: nothing was learned",
            )
            for each in told.judged.answers
        ]
        yield table("source", "team", "answer", "when", "weight", "counted", "moved", "answer of the class", rows=rows)


def silenced(answer: JudgedAnswer) -> bool:
    """Tell whether an answer counted for nothing although its source's coins say that it knows something: the source was in quarantine."""
    return answer.weight == 0 and float(weight(Channel(answer.alpha, answer.beta))) > 0
