"""Checks of broker, topics and workers."""

import asyncio
from contextlib import suppress

from aiohttp import ClientError, ClientSession, ClientTimeout
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from msgspec import DecodeError, json

from schemas.errors import SettingsError
from schemas.headers import rfc3339
from schemas.settings import Deployment
from streams import admin
from streams.clients import client_options
from streams.doctor.case import Case, Finding
from streams.engine.probes import Report
from streams.groups import TaskGroup
from streams.home import find
from streams.logs.reading import bounds, read_blocks
from streams.readiness import GroupState, count_behind, group_states, inputs, present
from streams.stack import wanted_topics
from streams.topology import TOPOLOGY

ANSWER_S_MAX = 10.0
# A record that has waited for so long will be late for whoever reads what comes of it.
LATE_MS = 5 * 60_000
# Enough to find one record among markers of transactions.
LOOK_RECORDS = 200
NAMED_MAX = 5
TIME_SETTINGS = {"message.timestamp.type", "retention.ms"}


async def broker(deployment: Deployment) -> list[Finding]:
    """Find out whether the broker can be reached, speaks the declared protocol, and names addresses that can be reached from here."""
    where = deployment.broker or ""
    try:
        client = AIOKafkaClient(**client_options(deployment))
    except SettingsError as error:
        return [Finding(str(error), "correct the variables that it names")]
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await client.bootstrap()
        named = [(one.host, one.port) for one in client.cluster.brokers()]
    except (KafkaError, TimeoutError, OSError) as error:
        if deaf := await _deaf([(host, port) for host, port, _ in client.hosts]):
            told = ", ".join(f"{host}:{port}" for host, port in deaf)
            return [Finding(f"nothing listens at {told}", "start a broker (`npo up`), or correct NPO_BROKER=host:port[,host:port]")]
        found = f"something listens at {where}, but answers no {deployment.security_protocol} request of Kafka's protocol ({error!r})"
        remedy = "set NPO_SECURITY_PROTOCOL (and NPO_SASL_*, NPO_SSL_*) to what that listener speaks, or NPO_BROKER to another listener"
        return [Finding(found, remedy)]
    finally:
        await client.close()
    return [
        Finding(
            f"{where} answers, and names a broker {host}:{port} that cannot be reached from here",
            "set `advertised.listeners` of the broker's listener to an address that clients reach",
        )
        for host, port in await _deaf(named)
    ]


async def _deaf(places: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the places where nobody listens."""
    found = []
    for host, port in places:
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            found.append((host, port))
        else:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    return found


async def topics(case: Case) -> list[Finding] | str:
    """Compare the topics with what they should be."""
    findings = []
    differences = await admin.plan(case.admin, wanted_topics(case.deployment))
    if absent := [difference.topic for difference in differences if difference.what == "absent"]:
        more = ", ..." if len(absent) > NAMED_MAX else ""
        found = f"{len(absent)} topics are absent: {', '.join(absent[:NAMED_MAX])}{more}"
        findings.append(Finding(found, "`npo topics apply` creates them"))
    for difference in differences:
        found = f"{difference.topic} has {difference.name or difference.what} {difference.found}, wanted {difference.wanted}"
        if difference.what == "partitions":
            findings.append(
                Finding(found, "set NPO_PARTITIONS to what is there, or make the topic anew (its records are lost) with `npo topics apply`")
            )
        elif difference.name in TIME_SETTINGS:
            why = "a broker deletes records within seconds whose own time is older than the retention"
            findings.append(Finding(found, f"`npo topics apply` corrects it: {why}"))
        elif difference.what == "setting":
            findings.append(Finding(found, "`npo topics apply` corrects it"))
    return findings


async def workers(case: Case) -> list[Finding] | str:
    """Look for groups without workers, records that have waited for long, and workers that are not ready."""
    groups = [group for group in TOPOLOGY if all(topic.name in case.counts for topic in group.inputs)]
    if not groups:
        return "the topics that workers read do not exist"
    states = await group_states(case.deployment, case.admin, groups)
    await count_behind(case.deployment, case.admin, groups, states)
    findings = []
    for group, state in zip(groups, states, strict=True):
        start = f"start workers: `npo worker {group.name}`, or `npo up`; their logs tell why they end"
        if not state.members:
            findings.append(Finding(f"group {state.group} has no worker", start))
        elif not state.ready:
            found = f"group {state.group} is {state.state}: {state.assigned} of {state.partitions} partitions have a worker"
            findings.append(Finding(found, f"look again in a moment; if it stays so, {start}"))
        if (oldest_ms := await _oldest_untaken_ms(case, group, state)) is not None and case.now_ms - oldest_ms > LATE_MS:
            about = "" if state.exact else "about "
            found = f"group {state.group} is {about}{state.behind:,} records behind, the oldest of {rfc3339(oldest_ms)}"
            more = f"at most {case.deployment.partitions} share the work; /metrics tells where their time goes (npo_transaction_seconds)"
            findings.append(Finding(found, f"start more workers of {group.name}: {more}"))
    return findings + await _unready(case.deployment)


async def _oldest_untaken_ms(case: Case, group: TaskGroup, state: GroupState) -> int | None:
    """Return when the oldest record was appended that a group has not taken, None where there is none."""
    if not state.behind:
        return None
    committed = await case.admin.list_consumer_group_offsets(state.group)
    oldest_ms = None
    places = await present(case.admin, inputs(case.deployment, group))
    for place, (first, end) in (await bounds(case.reader, places)).items():
        start = max(first, committed[place].offset if place in committed else first)
        async for block in read_blocks(case.reader, "", place, start, min(end, start + LOOK_RECORDS)):
            oldest_ms = min(oldest_ms or block.timestamps_ms[0], block.timestamps_ms[0])
            break
    return oldest_ms


async def _unready(deployment: Deployment) -> list[Finding]:
    """Ask the workers that this machine's stack started."""
    state = find(deployment.home)
    if state is None or state.broker != deployment.broker:
        return []
    findings = []
    async with ClientSession(timeout=ClientTimeout(ANSWER_S_MAX)) as session:
        for process in state.processes:
            if process.condition in {"waiting", "failed"}:
                found = f"{process.name} is {process.condition}, exit code {process.exit_code}, {process.restarts} restarts"
                findings.append(Finding(found, f"its log tells why: {process.log}"))
            elif process.health:
                try:
                    async with session.get(f"{process.health}/readyz") as answer:
                        report = json.decode(await answer.read(), type=Report)
                    faults = "; ".join(check.reason for check in report.checks.values() if not check.ok)
                except (ClientError, TimeoutError, DecodeError) as error:
                    faults = f"{process.health} does not answer: {error!r}"
                if faults:
                    findings.append(Finding(f"{process.name} is not ready: {faults}", f"its log tells more: {process.log}"))
    return findings
