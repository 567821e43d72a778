"""CloudEvents binary headers and W3C trace context of records."""

import re
from datetime import UTC, datetime
from hashlib import blake2b

Headers = tuple[tuple[str, bytes], ...]

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
CONTENT_TYPE = "content-type"
TRACEPARENT = "traceparent"
# Version 00 ends after the flags; a later one may go on, and is read as 00. Zeros and version ff are invalid.
_TRACEPARENT = re.compile(rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1


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
    """Return the trace that a record belongs to: the one of its traceparent if that is valid, else one derived from its name.

    A trace is its id, 32 hexadecimal digits, with `-00` behind it where the caller does not record it. Of the flags only that one
    is kept; `tracestate` is not passed on.

    Source: W3C Trace Context, level 1, section 3.2.
    """
    valid = _TRACEPARENT.fullmatch(find(headers, TRACEPARENT) or b"")
    if not valid:
        return blake2b(root.encode(), digest_size=16).hexdigest()
    trace, flags = valid[1].decode(), int(valid[2], 16)
    return trace if flags & _SAMPLED else f"{trace}-00"


def cloud_event(identity: str, topic: str, source: str, time_ms: int, trace: str) -> Headers:
    """Write the headers of one derived event.

    Args:
        identity: the event's id.
        topic: the short name of its topic, which is its type.
        source: who made it, e.g. `npo/deciding/3`.
        time_ms: event time.
        trace: the trace it belongs to, as `trace_of` returns it; the event gets a span of its own.
    """
    span = blake2b(identity.encode(), digest_size=8).hexdigest()
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", source.encode()),
        ("ce_type", f"npo.{topic}.v1".encode()),
        ("ce_time", rfc3339(time_ms).encode()),
        (CONTENT_TYPE, JSON),
        (TRACEPARENT, f"00-{trace[:32]}-{span}-{trace[33:] or '01'}".encode()),
    )
