"""CloudEvents binary headers and W3C trace context of records."""

import re
from datetime import UTC, datetime
from hashlib import blake2b

Headers = tuple[tuple[str, bytes], ...]

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
CONTENT_TYPE = "content-type"
TRACEPARENT = "traceparent"
_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def find(headers: Headers, name: str) -> bytes | None:
    """Return the value of the first header with this name, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def event_id(headers: Headers) -> str | None:
    """Return the CloudEvents id that the producer gave, or None where it gave none or one that is not UTF-8."""
    value = find(headers, "ce_id")
    if not value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def rfc3339(time_ms: int) -> str:
    """Write milliseconds since 1970 as CloudEvents `time`, e.g. `2020-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def trace_of(headers: Headers, root: str) -> str:
    """Return the 32-digit trace id: the incoming one if it is valid, else one derived from the root record's name."""
    valid = _TRACE.fullmatch(find(headers, TRACEPARENT) or b"")
    if valid:
        return valid[1].decode()
    return blake2b(root.encode(), digest_size=16).hexdigest()


def cloud_event(identity: str, topic: str, source: str, time_ms: int, trace: str) -> Headers:
    """Write the headers of one derived event.

    Args:
        identity: the event's id.
        topic: the short name of its topic, which is its type.
        source: who made it, e.g. `npo/deciding/3`.
        time_ms: event time.
        trace: the trace it belongs to, 32 hexadecimal digits.
    """
    span = blake2b(identity.encode(), digest_size=8).hexdigest()
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", source.encode()),
        ("ce_type", f"npo.{topic}.v1".encode()),
        ("ce_time", rfc3339(time_ms).encode()),
        (CONTENT_TYPE, JSON),
        (TRACEPARENT, f"00-{trace}-{span}-01".encode()),
    )
