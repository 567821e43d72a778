"""The checks as one table, and what came of each."""

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from aiokafka.errors import KafkaError
from msgspec import Struct

from schemas.errors import NpoError
from schemas.settings import Deployment, Settings
from streams import admin
from streams.doctor import loop, records, servers
from streams.doctor.case import Case, Finding
from streams.logs.reading import open_reader, partition_counts


class Check(NamedTuple):
    """One check: its name, what it looks at, and how. It gives findings, or says why it could not be made."""

    name: str
    looks_at: str
    look: Callable[[Case], Awaitable[list[Finding] | str]]


BROKER = "broker"
BROKER_LOOKS_AT = "whether NPO_BROKER can be reached, in its protocol, and by the addresses that it names"
# The broker's own check is the first: without it there is nothing to look at.
CHECKS = (
    Check("topics", "topics, partitions and settings, against what they should be", servers.topics),
    Check("workers", "groups without workers, records that wait for long, workers that are not ready", servers.workers),
    Check("partitioner", "the newest records in another partition than their key's", records.partitioner),
    Check("telemetry", "whether samples come, in milliseconds, by clocks that agree", records.telemetry),
    Check("dead letters", "what was refused within the last hour, by reason", records.dead_letters),
    Check("answers", "answers that reach no decision, operators who are not on the roster", loop.answers),
    Check("budget", "the override budget against what is open at once", loop.budget),
    Check("control", "kill, freeze and shadow that are in force for more than an hour", loop.control),
    Check("decisions", "settings, denials and actions of the newest decisions", loop.decisions),
)


class Examined(Struct, frozen=True):
    """What came of one check.

    Attributes:
        name: The check's name.
        looks_at: What it looks at.
        state: `fine`, `fault` with findings, or `not made`.
        findings: What is wrong and what to do.
        why: Why it could not be made.
    """

    name: str
    looks_at: str
    state: Literal["fine", "fault", "not made"]
    findings: tuple[Finding, ...] = ()
    why: str = ""


async def examine(deployment: Deployment, settings: Settings, now_ms: int) -> list[Examined]:
    """Make all checks, one after the other; nothing is changed.

    Args:
        deployment: what to examine.
        settings: what this process would decide under.
        now_ms: this machine's clock, milliseconds since 1970.
    """
    findings = await servers.broker(deployment)
    found = [_examined(BROKER, BROKER_LOOKS_AT, findings)]
    if findings:
        return found + [_examined(check.name, check.looks_at, "the broker does not answer") for check in CHECKS]
    async with admin.open_admin(deployment) as client, open_reader(deployment) as reader:
        case = Case(deployment, settings, now_ms, client, reader, await partition_counts(deployment))
        for check in CHECKS:
            try:
                answer = await check.look(case)
            except (NpoError, KafkaError) as error:
                answer = f"{type(error).__name__}: {error}"
            found.append(_examined(check.name, check.looks_at, answer))
    return found


def _examined(name: str, looks_at: str, answer: list[Finding] | str) -> Examined:
    if isinstance(answer, str):
        return Examined(name, looks_at, "not made", why=answer)
    return Examined(name, looks_at, "fault" if answer else "fine", tuple(answer))
