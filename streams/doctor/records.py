"""Checks of what producers send: partitions, times, dead letters."""

from collections import defaultdict
from collections.abc import Iterator

from msgspec import DecodeError as MsgspecDecodeError
from msgspec import Struct, json

from agents.encoding.arrow import read_batches
from agents.step import Block
from schemas import topics
from schemas.errors import DecodeError, NotSurfacedError, PartitionError, UnknownDecisionError
from schemas.headers import ARROW, CONTENT_TYPE, find, rfc3339
from schemas.identity import partition_of
from schemas.topics import FEEDBACK, MODEL, OUTCOME, TELEMETRY
from streams.doctor.case import HOUR_MS, Case, Finding, Letter

# Their partition is that of their own key; control's is that of the scope in it.
KEYED = (TELEMETRY, FEEDBACK, OUTCOME, MODEL)
YEAR_2000_MS = 946_684_800_000
SILENT_MS = 10 * 60_000
AHEAD_MS = 60_000
SKEW_MS = 2_000
REMEDIES = {
    "undecodable": "send what docs/events.md describes, times as integer milliseconds; `detail` names the field",
    "future_time": "correct the sender's clock, its time zone or its unit: times are milliseconds since 1970 UTC",
    "step_failed": "a defect of a step or its data: the worker's log has where; report it with the record",
    "output_too_large": "send smaller records, or raise max.message.bytes of the topic that `detail` names",
}
# What other checks tell of.
ELSEWHERE = {PartitionError.reason, UnknownDecisionError.reason, NotSurfacedError.reason}


class Timed(Struct):
    """What any JSON sample tells of its time; whatever else is wrong with it is another check's."""

    time_ms: float


_TIMED = json.Decoder(Timed)


async def partitioner(case: Case) -> list[Finding] | str:
    """Look for records in another partition than Kafka's default partitioner puts their key in."""
    findings, looked = [], 0
    remedy = (
        "let the producer use murmur2 as Java's client does: `partitioner=murmur2_random` in librdkafka and what is built on it "
        "(confluent-kafka for Python, Go, .NET); what went astray has to be sent again"
    )
    for topic in KEYED:
        keyed = [(block.partition, key) for block in await case.newest(topic.name) for key in block.keys if key is not None]
        looked += len(keyed)
        if astray := [key for partition, key in keyed if partition_of(key, case.counts[topic.name]) != partition]:
            keys = ", ".join(sorted({key.decode(errors="replace") for key in astray})[:3])
            found = f"{len(astray)} of the newest {len(keyed)} records of {case.broker_name(topic.name)} are not in their key's partition"
            findings.append(Finding(f"{found} ({keys}, ...)", remedy))
    refused = [letter for letter in await case.letters() if letter.reason == PartitionError.reason]
    if refused and not findings:
        findings.append(Finding(f"{len(refused)} dead letters with reason {PartitionError.reason}, the latest {_latest(refused)}", remedy))
    return findings if looked or refused else "no record with a key was sent"


async def telemetry(case: Case) -> list[Finding] | str:
    """Look for telemetry that has ceased, times in another unit, and clocks that differ."""
    blocks = await case.newest(TELEMETRY.name)
    name = case.broker_name(TELEMETRY.name)
    if not blocks:
        return f"{name} does not exist" if TELEMETRY.name not in case.counts else f"{name} holds no record"
    findings = []
    latest_ms = max(block.timestamps_ms[-1] for block in blocks)
    if case.now_ms - latest_ms > SILENT_MS:
        found = f"the last sample came at {rfc3339(latest_ms)}, {(case.now_ms - latest_ms) // 60_000} min ago"
        findings.append(Finding(found, "look at what sends telemetry; a scope's deadlines and windows stand still without it"))
    if latest_ms - case.now_ms > SKEW_MS:
        found = f"the broker's clock is {(latest_ms - case.now_ms) / 1000:.1f} s ahead of this machine's, or more"
        findings.append(Finding(found, "let all machines follow one time server (chrony, ntpd)"))
    times = [(time_ms, append_ms) for block in blocks for time_ms, append_ms in _times(block)]
    if seconds := [time_ms for time_ms, _ in times if time_ms < YEAR_2000_MS]:
        found = f"{len(seconds)} of the newest {len(times)} samples are from before 2000, the latest of {rfc3339(int(max(seconds)))}"
        findings.append(Finding(found, "send times in milliseconds since 1970, not in seconds"))
    if ahead := [time_ms - append_ms for time_ms, append_ms in times if time_ms - append_ms > AHEAD_MS]:
        found = f"{len(ahead)} of the newest {len(times)} samples are up to {max(ahead) / 60_000:.0f} min ahead of their arrival"
        remedy = "correct the senders' clocks or time zones: under an hour they are taken, and move their scope's deadlines ahead"
        findings.append(Finding(found, remedy))
    return findings


def _times(block: Block) -> Iterator[tuple[float, int]]:
    """Give the latest time of each record of telemetry, and when the broker appended it."""
    for key, value, headers, append_ms in zip(block.keys, block.values, block.headers, block.timestamps_ms, strict=True):
        try:
            if (find(headers, CONTENT_TYPE) or b"").startswith(ARROW):
                yield max(float(batch.times_ms.max()) for batch in read_batches(value, key)[1] if len(batch.times_ms)), append_ms
            else:
                yield _TIMED.decode(value or b"").time_ms, append_ms
        except (DecodeError, MsgspecDecodeError, ValueError):
            continue


async def dead_letters(case: Case) -> list[Finding] | str:
    """Count the dead letters of the last hour by topic and reason."""
    if not any(topics.dead_letter(topic.name) in case.counts for topic in topics.TOPICS):
        return "the dead-letter topics do not exist"
    letters = [letter for letter in await case.letters(case.now_ms - HOUR_MS) if letter.reason not in ELSEWHERE]
    kinds: dict[tuple[str, str], list[Letter]] = defaultdict(list)
    for letter in letters:
        kinds[letter.topic, letter.reason].append(letter)
    return [
        Finding(
            f"{len(found)} dead letters of {case.broker_name(topic)} with reason {reason} in the last hour, the latest {_latest(found)}",
            REMEDIES.get(reason, "docs/semantics.md tells what the reason means"),
        )
        for (topic, reason), found in sorted(kinds.items())
    ]


def _latest(letters: list[Letter]) -> str:
    """Tell when the latest of some letters was written, and what it says."""
    # Of several of one batch, which have one time, the last.
    latest = max(reversed(letters), key=lambda letter: letter.time_ms)
    return f"at {rfc3339(latest.time_ms)}: {latest.detail}"
