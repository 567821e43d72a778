"""The topics: one table from which creation, checks, contracts and docs are made.

Steps and events know a topic by its short name (`telemetry`); `physical` gives the name on the broker (`npo.telemetry.v1`).
"""

from enum import StrEnum

from msgspec import Struct


class Retention(StrEnum):
    """How long a topic keeps its records."""

    SHORT = "short"
    LONG = "long"
    FOREVER = "forever"


class Topic(Struct, frozen=True):
    """One topic: short name, what its key is, how long it keeps records, whether its partitions follow the scope."""

    name: str
    key: str
    retention: Retention
    by_scope: bool
    carries: str


TELEMETRY = Topic("telemetry", "entity", Retention.SHORT, by_scope=False, carries="samples: JSON one at a time, or Arrow batches of many")
SCENARIO = Topic("scenario", "scope", Retention.SHORT, by_scope=True, carries="scenario, cleared, heartbeat")
DECISION = Topic("decision", "scope", Retention.LONG, by_scope=True, carries="every decision, withheld and blocked ones too")
RECOMMENDATION = Topic("recommendation", "scope", Retention.LONG, by_scope=True, carries="surfaced decisions with their life")
FEEDBACK = Topic("feedback", "scope", Retention.LONG, by_scope=True, carries="one operator's answer to one recommendation")
OUTCOME = Topic("outcome", "scope", Retention.LONG, by_scope=True, carries="verdicts over an interval of an entity")
JUDGEMENT = Topic("judgement", "scope", Retention.LONG, by_scope=True, carries="closed decisions with target, weight and answers")
ALIGNMENT = Topic(
    "alignment",
    "scope",
    Retention.LONG,
    by_scope=True,
    carries="loss windows, thresholds, trust, challengers, the monitor's actions, alarms",
)
RETRAINING_COMMAND = Topic("retraining-command", "scope", Retention.LONG, by_scope=True, carries="when to retrain and why")
RETRAINING_RESULT = Topic("retraining-result", "scope", Retention.LONG, by_scope=True, carries="what came of it, with the whole model")
MODEL = Topic("model", "scope", Retention.FOREVER, by_scope=True, carries="the model in force, with evaluation and parent")
CONTROL = Topic(
    "control",
    "scope|command|subject",
    Retention.FOREVER,
    by_scope=True,
    carries="kill, resume, freeze, shadow, revoke, quarantine, release, reopen",
)
MERGE = Topic("merge", "task", Retention.LONG, by_scope=False, carries="the order in which a task took its inputs")
AUDIT = Topic("audit", "name", Retention.LONG, by_scope=False, carries="who wrote what through the console, by people's names")

TOPICS = (
    TELEMETRY, SCENARIO, DECISION, RECOMMENDATION, FEEDBACK, OUTCOME, JUDGEMENT, ALIGNMENT,
    RETRAINING_COMMAND, RETRAINING_RESULT, MODEL, CONTROL, MERGE, AUDIT,
)  # fmt: skip
# What people and other systems write; everything else is derived from these.
INPUTS = (TELEMETRY, FEEDBACK, OUTCOME, MODEL, CONTROL)


def dead_letter(name: str) -> str:
    """Return the short name of the dead-letter topic of `name`."""
    return f"{name}.dlq"


def physical(name: str, prefix: str = "npo.") -> str:
    """Return the broker's name of a topic, e.g. `npo.telemetry.v1` or `npo.telemetry.v1.dlq`."""
    base, dot, tail = name.partition(".")
    return f"{prefix}{base}.v1{dot}{tail}"


def short(physical_name: str, prefix: str = "npo.") -> str:
    """Return the short name of a topic from its name on the broker: the inverse of `physical`."""
    return physical_name.removeprefix(prefix).replace(".v1", "", 1)
