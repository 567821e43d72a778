"""What listeners are told of a record: every record gives an event in one line, or none; what was refused says by whom and why."""

from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from agents.step import Block, dead_letter
from schemas import codecs
from schemas.events import Answer, Command, Control, Feedback, Outcome, Verdict
from streams.console.hub import FOLLOWED
from streams.console.messages import REFUSED, Message, Refused, tell, tell_refused

ANSWER = Feedback("d1", "me", Answer.OVERRIDE, 1_000, note="line\nand\r\nline\u2028")
headers = st.lists(
    st.tuples(st.sampled_from(("npo_topic", "npo_partition", "npo_offset", "npo_reason", "x")), st.none() | st.binary(max_size=9)),
    max_size=6,
)


def record(value: bytes | None, key: bytes | None = b"web", told: Any = ()) -> SimpleNamespace:  # noqa: ANN401 - headers as they come
    """A record as the broker hands it out."""
    return SimpleNamespace(partition=0, offset=7, timestamp=5_000, key=key, value=value, headers=tuple(told))


@given(st.sampled_from(FOLLOWED + REFUSED), st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=9), headers)
@example("feedback.dlq", codecs.encode(ANSWER), b"web", [("npo_topic", b"feedback"), ("npo_partition", "١".encode())])
@example("control", b'{"command": "kill",\n "time_ms": 1, "by": "me"}', b"*|kill|", [])
def test_any_record_is_told_in_one_line_or_not_at_all(
    name: str, value: bytes | None, key: bytes | None, told: list[tuple[str, bytes | None]]
) -> None:
    """Whatever stands in a record, nothing breaks, and what is told has no line break, which would end a field of the stream."""
    event = tell(name, record(value, key, told), partitions=1)
    if name in REFUSED:
        assert event is not None
    if event is not None:
        assert not {b"\n", b"\r"} & {event.data[place : place + 1] for place in range(len(event.data))}
        message = msgspec.json.decode(event.data, type=Message)
        assert (message.topic, message.partition, message.offset) == (name, 0, 7)


@given(
    st.sampled_from(
        (
            ("feedback", ANSWER, "web"),
            ("outcome", Outcome("e", 0, 1, Verdict.NONE, 2), "web"),
            ("control", Control(Command.FREEZE, 1, "me", "db"), "db"),
            ("control", Control(Command.FREEZE, 1, "me"), None),
        )
    ),
    headers,
)
def test_refusal_says_what_was_refused_where_and_why(refused: tuple[str, Any, str | None], told: list[tuple[str, bytes | None]]) -> None:
    """A dead letter as the pipeline writes it gives its record's place, reason, scope and event, whatever headers the record came with."""
    topic, event, scope = refused
    block = Block(topic, 3, [11], [1_000], [b"web"], [codecs.encode(event)], [tuple((name, value or b"") for name, value in told)])
    letter = dead_letter(block, 0, "unknown_decision", "no decision d1")
    found = tell_refused(record(letter.value, letter.key, letter.headers))
    assert found == Refused(topic, 3, 11, 5_000, "unknown_decision", "no decision d1", scope, msgspec.Raw(codecs.encode(event)))


def test_refused_sample_is_told_without_its_value() -> None:
    """A refused sample tells its place and reason, not what it measured."""
    block = Block("telemetry", 1, [5], [1_000], [b"web-1"], [b"no sample"], [()])
    letter = dead_letter(block, 0, "undecodable", "not JSON")
    assert tell_refused(record(letter.value, letter.key, letter.headers)) == Refused(
        "telemetry", 1, 5, 5_000, "undecodable", "not JSON", None, None
    )
