"""What the page says of symptoms, peers and answers, as sentences: metric names as words, values against what is usual of them."""

import re
from collections.abc import Sequence
from functools import lru_cache

from schemas.events import ClassHistory, Recommendation, Scenario, Symptom
from streams.explaining.words import duration, listed
from streams.reporting.sentences import counted

# Further symptoms are counted.
SAID_MAX = 2
# From twice the usual on, or half of it, a ratio says more than two values.
RATIO_LEAST = 2.0
RATIO_ROUND = 10.0
RATIO_MAX = 1_000.0
ENTITIES_NAMED = 2
NAMES_MAX = 4_096
# The last part of a metric's name that is a unit, and how it is written after a number; `s`, `us` and the like mean other things too.
UNITS = {
    "ms": " ms",
    "milliseconds": " ms",
    "microseconds": " µs",
    "sec": " s",
    "secs": " s",
    "seconds": " s",
    "percent": " %",
    "pct": " %",
    "bytes": " B",
    "kb": " kB",
    "mb": " MB",
    "gb": " GB",
    "total": "",
}
WORDS = {
    "cpu": "CPU",
    "gc": "GC",
    "http": "HTTP",
    "io": "I/O",
    "jvm": "JVM",
    "mem": "memory",
    "net": "network",
    "rss": "RSS",
    "tcp": "TCP",
    "udp": "UDP",
}
# Numbers outside of these are written with an exponent; from WHOLE_LEAST on, decimals say nothing. What three digits round up to the
# next letter has it: .9995 of each.
PLAIN_LEAST, WHOLE_LEAST, LETTERED_MAX = 1e-4, 0.9995e3, 0.9995e15
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
ROUNDS_UP = 0.9995
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\s_.:/\\-]+")


# A deployment has few names of metrics, and the queue names them again and again.
@lru_cache(maxsize=NAMES_MAX)
def metric_in_words(metric: str) -> tuple[str, str]:
    """Return a metric's name as words, and its unit as it is written after a number.

    `disk_write_latency_ms` is `disk write latency` in ` ms`; a name of one part stays as it is.
    """
    parts = [part for part in _BETWEEN.split(_HUMP.sub("_", metric)) if part]
    unit = ""
    while len(parts) > 1 and parts[-1].lower() in UNITS:
        unit = unit or UNITS[parts.pop().lower()]
    words = " ".join(WORDS.get(part.lower(), part if part.isupper() else part.lower()) for part in parts)
    return words or "a metric without a name", unit


def number(value: float) -> str:
    """Write a number in a few characters: `62`, `93.2`, `12,345`, `3.2 M`, `1.2e+30`."""
    size = abs(value)
    if size >= LETTERED_MAX or 0 < size < PLAIN_LEAST:
        return f"{value:.2g}"
    for scale, letter in SCALES:
        if size >= ROUNDS_UP * scale:
            return f"{value / scale:.3g} {letter}"
    return f"{value:,.0f}" if size >= WHOLE_LEAST else f"{value:.3g}"


def symptom_in_words(symptom: Symptom) -> str:
    """Say what one metric does: `disk write latency 7 × its usual`, `memory used 93.2 %, usually 62 %`, `queue depth stands still at 4`."""
    name, unit = metric_in_words(symptom.metric)
    if symptom.shape == "flat":
        return f"{name} stands still at {number(symptom.value)}{unit}"
    if symptom.shape == "variance":
        return f"{name} swings more than is usual, now {number(symptom.value)}{unit}"
    to = " briefly" if symptom.shape == "spike" else ""
    ratio = symptom.value / symptom.usual if symptom.usual > 0 and symptom.value > 0 else 1.0
    if ratio > RATIO_MAX:
        return f"{name}{to} more than {RATIO_MAX:,.0f} × its usual"
    if ratio >= RATIO_LEAST:
        return f"{name}{to} {ratio:.2g} × its usual" if ratio < RATIO_ROUND else f"{name}{to} {ratio:.0f} × its usual"
    if ratio <= 1 / RATIO_LEAST:
        return f"{name}{to} {number(100 * ratio)} % of its usual"
    return f"{name}{to} {number(symptom.value)}{unit}, usually {number(symptom.usual)}{unit}"


def symptoms_in_words(symptoms: Sequence[Symptom], for_ms: int | None = None) -> str:
    """Say what is unusual, the leading symptom first, and for how long."""
    said = [symptom_in_words(symptom) for symptom in symptoms[:SAID_MAX]]
    if len(symptoms) > SAID_MAX:
        said.append(f"{len(symptoms) - SAID_MAX} more")
    lasting = f" for {duration(for_ms)}" if for_ms is not None and for_ms > 0 else ""
    return f"{listed(said) if said else 'unusual telemetry'}{lasting}"


def peers_in_words(peers_alike: int, peers_seen: int) -> str:
    """Say how many other entities of the scope show the same: `3 of 12 other hosts alike`; empty where no other is known."""
    if peers_seen <= 0:
        return f"{peers_alike} other {'host' if peers_alike == 1 else 'hosts'} alike" if peers_alike > 0 else ""
    return f"{peers_alike} of {peers_seen} other {'host' if peers_seen == 1 else 'hosts'} alike"


def entities_in_words(entities: Sequence[str]) -> str:
    """Name the first two entities and count the others: `web-1, web-2 and 3 more`."""
    more = len(entities) - ENTITIES_NAMED
    if more == 1:
        return listed(entities)
    return listed([*entities[:ENTITIES_NAMED], f"{more} more"]) if more > 0 else listed(entities)


def lasted_ms(recommendation: Recommendation, scenario: Scenario | None) -> int | None:
    """Return for how long symptoms had lasted when the entity last showed them, as far as its record tells; None without its scenario."""
    if scenario is None:
        return None
    seen_ms = recommendation.time_ms if recommendation.life == "updated" else recommendation.scenario_ms
    return max(0, seen_ms - scenario.symptom_start_ms)


def history_in_words(history: ClassHistory | None) -> str:
    """Say what operators had answered to the like before it was surfaced: likes and overrides, and outcomes where there were some."""
    if history is None:
        return ""
    answered = history.likes + history.overrides
    outcomes = f"; {counted(history.outcomes, 'outcome')}" if history.outcomes else ""
    if not answered:
        return f"nobody had answered the like before{outcomes}"
    likes, overrides = counted(history.likes, "like"), counted(history.overrides, "override")
    return f"{counted(answered, 'answer')} to the like before: {likes}, {overrides}{outcomes}"
