"""What travels: events of every kind keep their meaning, bad bytes are refused, names and headers are stable."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from aiokafka.partitioner import murmur2 as their_murmur2
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.codecs import TYPES, decode, encode
from schemas.errors import DecodeError
from schemas.events import Answer, Command, Judgement, Life, Reason, Status, Verdict
from schemas.headers import ARROW, JSON, TRACEPARENT, cloud_event, event_id, find, rfc3339, trace_of
from schemas.identity import derived_name, generator, murmur2, partition_of, source_name
from schemas.reference import EXAMPLES, reference, structs

FILES = sorted(EXAMPLES.glob("*/*.json"))
TIMES = st.integers(0, 7_258_118_400_000)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def named(path: Path) -> str:
    """Return `topic/example`."""
    return f"{path.parent.name}/{path.stem}"


def read(path: Path) -> tuple[str, Any]:
    """Return the topic and the JSON value of an example."""
    return path.parent.name, json.loads(path.read_bytes())


def objects(value: object) -> Iterator[msgspec.Struct]:
    """Yield a struct and those inside it."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from objects(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from objects(item)
    elif isinstance(value, dict):
        yield from objects(list(value.values()))


@cache
def example(path: Path) -> Any:  # noqa: ANN401 - the event of any topic
    """Return the event of an example."""
    return decode(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("path", FILES, ids=named)
def test_example_keeps_its_meaning(path: Path) -> None:
    """An event of v1 decodes for ever, and is written again as the same JSON value; whatever has come since is a default."""
    topic, value = read(path)
    event = example(path)
    again = json.loads(encode(event))
    added = [field.name for field in msgspec.structs.fields(event) if field.encode_name not in value]
    assert {name: again[name] for name in value} == value
    assert again.keys() - value.keys() <= set(added)
    assert decode(topic, encode(event)) == event


@pytest.mark.parametrize("topic", TYPES)
def test_every_struct_has_an_example(topic: str) -> None:
    """Each struct of a topic has an example, and each of its fields stands in one."""
    for struct in structs(TYPES[topic]):
        shown = [read(path)[1] for path in FILES if path.parent.name == topic and type(example(path)) is struct]
        assert shown, f"no example of {struct.__name__} in {EXAMPLES / topic}"
        missing = [field.encode_name for field in msgspec.structs.fields(struct) if not any(field.encode_name in one for one in shown)]
        assert not missing, f"no example of {struct.__name__} in {EXAMPLES / topic} has {missing}"


def test_every_kind_has_an_example() -> None:
    """Every word of every enumeration, each way a decision closes, and each part of an event stand in some example."""
    inside = [part for path in FILES for part in objects(example(path))]
    words = {value for part in inside for value in msgspec.structs.asdict(part).values() if isinstance(value, str)}
    kinds = [word for kind in (Status, Reason, Life, Answer, Verdict, Command) for word in kind]
    kinds += get_args(Judgement.__annotations__["closed_by"])
    assert [str(kind) for kind in kinds if kind not in words] == []
    parts = {part.__name__ for part in msgspec.Struct.__subclasses__() if part.__module__ == "schemas.events"}
    assert parts - {type(part).__name__ for part in inside} == set()


def test_every_example_belongs_to_a_topic() -> None:
    """No example lies where no test would read it."""
    assert {path.name for path in EXAMPLES.iterdir()} == set(TYPES)
    assert {path for path in EXAMPLES.rglob("*") if path.is_file()} == set(FILES)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_newer_events_can_be_read(path: Path) -> None:
    """A field that this version does not know is ignored."""
    topic, value = read(path)
    assert decode(topic, json.dumps(value | {"added_later": {"a": [1]}}).encode()) == example(path)


@given(st.sampled_from(sorted(TYPES)), st.one_of(st.binary(max_size=80), st.none()))
def test_garbage_is_a_decode_error(topic: str, value: bytes | None) -> None:
    """Bytes that are no event give DecodeError and nothing else, with the topic in the message."""
    with pytest.raises(DecodeError, match=topic):
        decode(topic, value)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=4,
)


@given(st.sampled_from(FILES), st.data())
def test_damaged_event_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    """An event with one field taken away, replaced by anything or cut short decodes or gives DecodeError, never anything else."""
    topic, value = read(path)
    name = data.draw(st.sampled_from(sorted(value)))
    how = data.draw(st.sampled_from(["drop", "replace", "cut"]))
    if how == "drop":
        del value[name]
    elif how == "replace":
        value[name] = data.draw(JSON_VALUES)
    written = json.dumps(value).encode()
    if how == "cut":
        written = written[: data.draw(st.integers(0, len(written) - 1))]
    try:
        event = decode(topic, written)
    except DecodeError as error:
        assert topic in str(error)  # noqa: PT017 - either way is right
    else:
        assert how != "cut"
        assert decode(topic, encode(event)) == event


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
@pytest.mark.parametrize("topic", TYPES)
def test_deep_nesting_is_a_decode_error(topic: str, depth: int) -> None:
    """Brackets without end do not end the process."""
    for opening in (b"[", b'{"a":', b'{"metrics":'):
        with pytest.raises(DecodeError):
            decode(topic, opening * depth)


def test_reference_is_up_to_date() -> None:
    """docs/events.md is what `python -m schemas.reference` writes."""
    assert (Path(__file__).parents[1] / "docs" / "events.md").read_text(encoding="utf-8") == reference()


def test_reference_has_every_field() -> None:
    """Every topic, struct and field of v1 stands in the reference."""
    text = reference()
    assert [topic.name for topic in topics.TOPICS if f"## {topics.physical(topic.name)}\n" not in text] == []
    for struct in {type(part) for path in FILES for part in objects(example(path))}:
        section = text.partition(f"### {struct.__name__}\n")[2].partition("\n#")[0]
        assert [field.name for field in msgspec.structs.fields(struct) if f"| `{field.encode_name}` |" not in section] == []


@pytest.mark.parametrize("topic", topics.TOPICS, ids=lambda topic: topic.name)
def test_topic_names_go_both_ways(topic: topics.Topic) -> None:
    """A short name and its name on the broker give each other, dead letters too."""
    for name in (topic.name, topics.dead_letter(topic.name)):
        for prefix in ("npo.", "site.v1.npo."):
            assert topics.short(topics.physical(name, prefix), prefix) == name
    assert topics.physical(topic.name) == f"npo.{topic.name}.v1"
    assert topics.physical(topics.dead_letter(topic.name)) == f"npo.{topic.name}.v1.dlq"


def test_names_and_draws_are_the_same_for_ever() -> None:
    """Names of events and their draws do not change between versions: logs that exist hold them."""
    assert source_name("telemetry", 2, 18407) == "telemetry-2-18407"
    assert derived_name("telemetry-2-18407", "scenario") == "5842f13c41d10e6d"
    assert derived_name("a", "decision", 3) == "a82b0cb593771c39"
    assert generator(0, "a", "draw").random(3).tolist() == [0.21158654811247146, 0.26157617777179765, 0.3100494031601807]
    assert generator(0, "a", "draw").integers(0, 2**63, 2).tolist() == [1951541451235197518, 2412614403567752462]
    assert generator(7, "5842f13c41d10e6d", "select").standard_normal(2).tolist() == [-0.8088018877442897, -0.15055251407950127]


TEXTS = st.text(alphabet=st.characters(blacklist_characters="\x1f", blacklist_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 99)), min_size=2, max_size=2, unique=True))
def test_names_and_draws_differ(pair: list[tuple[str, str, int]]) -> None:
    """Another parent, kind or ordinal is another name; another seed, event or purpose is another draw."""
    (parent, kind, ordinal), (other_parent, other_kind, other_ordinal) = pair
    assert derived_name(parent, kind, ordinal) != derived_name(other_parent, other_kind, other_ordinal)
    assert generator(ordinal, parent, kind).random() != generator(other_ordinal, other_parent, other_kind).random()


def test_names_do_not_run_together() -> None:
    """Where one part of a name ends and the next begins tells names and draws apart."""
    assert derived_name("ab", "c") != derived_name("a", "bc")
    assert derived_name("a", "b1", 1) != derived_name("a", "b", 11)
    assert generator(0, "ab", "c").random() != generator(0, "a", "bc").random()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)  # fmt: skip
def test_murmur2_is_kafkas(key: bytes, value: int) -> None:
    """Keys hash as in Kafka's own test of its partitioner (UtilsTest.testMurmur2)."""
    assert murmur2(key) == value & 0x7FFFFFFF


@given(st.binary(max_size=40), st.integers(1, 64))
def test_partitions_are_the_clients(key: bytes, partitions: int) -> None:
    """A key goes to the partition that the Python client's own partitioner would give it."""
    assert partition_of(key, partitions) == (their_murmur2(key) & 0x7FFFFFFF) % partitions


@given(st.sampled_from(FILES), TIMES, st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_headers_are_a_cloud_event(path: Path, time_ms: int, identity: str) -> None:
    """The CloudEvents library reads our headers as the event that we meant, and writes the same ones."""
    topic, value = read(path)
    headers = cloud_event(identity, topic, "npo/deciding/3", time_ms, TRACE)
    event = from_binary(KafkaMessage(headers=dict(headers), key=None, value=path.read_bytes()), JSONFormat())
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    assert (event.get_id(), event.get_source(), event.get_type()) == (identity, "npo/deciding/3", f"npo.{topic}.v1")
    assert (event.get_time(), event.get_specversion(), event.get_datacontenttype()) == (time, "1.0", "application/json")
    assert event.get_data() == value
    theirs = to_binary(event, JSONFormat()).headers
    assert theirs.keys() == dict(headers).keys() - {TRACEPARENT}
    assert {name: theirs[name] for name in theirs if name != "ce_time"} == {
        name: header for name, header in headers if name not in {"ce_time", TRACEPARENT}
    }
    assert event_id(headers) == identity


@given(TIMES)
def test_time_keeps_its_milliseconds(time_ms: int) -> None:
    """A time written as RFC 3339 is the same millisecond when read, over the whole range that events allow."""
    since = datetime.fromisoformat(rfc3339(time_ms)) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since // timedelta(milliseconds=1) == time_ms
    assert since % timedelta(milliseconds=1) == timedelta(0)


def test_time_by_hand() -> None:
    """Times are UTC with three decimals, as in the specification."""
    assert (rfc3339(0), rfc3339(1_577_836_800_001)) == ("1970-01-01T00:00:00.000Z", "2020-01-01T00:00:00.001Z")


HEX = st.sampled_from("0123456789abcdef")
TRACE_IDS = st.text(HEX, min_size=32, max_size=32).filter(lambda digits: set(digits) != {"0"})
SPAN_IDS = st.text(HEX, min_size=16, max_size=16).filter(lambda digits: set(digits) != {"0"})
FLAGS = st.integers(0, 255)


def test_trace_goes_on() -> None:
    """A derived event stays in the trace of what caused it, with a span of its own that is the same at each replay."""
    first = cloud_event("a", "scenario", "npo/encoding/0", 0, TRACE)
    second = cloud_event("b", "decision", "npo/deciding/0", 0, trace_of(first, "b"))
    assert trace_of(second, "c") == TRACE
    assert find(first, TRACEPARENT) != find(second, TRACEPARENT)
    assert cloud_event("a", "scenario", "npo/encoding/0", 0, TRACE) == first


@given(TRACE_IDS, SPAN_IDS, FLAGS, st.integers(0, 254), st.sampled_from(["", "-", "-later", "-01"]))
def test_valid_traceparent_is_carried_on(trace: str, span: str, flags: int, version: int, tail: str) -> None:
    """Trace id and sampled flag of a valid traceparent, of a later version too, and nothing else of it go on, as version 00."""
    given_header = f"{version:02x}-{trace}-{span}-{flags:02x}{tail if version else ''}"
    derived = cloud_event("a", "scenario", "npo/encoding/0", 0, trace_of(((TRACEPARENT, given_header.encode()),), "root"))
    own = cloud_event("a", "scenario", "npo/encoding/0", 0, trace_of((), "root"))
    _, _, own_span, own_flags = (find(own, TRACEPARENT) or b"").decode().split("-")
    assert find(derived, TRACEPARENT) == f"00-{trace}-{own_span}-{flags & 1:02x}".encode()
    assert own_flags == "01"


@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(min_size=55, max_size=55),
        st.just(b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01"),
        st.just(b"00-" + b"1" * 32 + b"-" + b"0" * 16 + b"-01"),
        st.just(b"ff-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01"),
        st.just(b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01-later"),
        st.just(b"01-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01later"),
        st.just(b"00-" + b"A" * 32 + b"-" + b"1" * 16 + b"-01"),
    )
)
def test_any_traceparent_gives_a_trace(value: bytes) -> None:
    """Whatever a producer put into traceparent, the trace is 32 hexadecimal digits; what is no trace is replaced by the root's own."""
    trace = trace_of(((TRACEPARENT, value),), "root")
    assert len(trace) == 32
    assert set(trace) <= set("0123456789abcdef")
    assert trace == trace_of((), "root")


@given(st.binary(max_size=20))
def test_any_id_header_is_taken_or_left(value: bytes) -> None:
    """An id that is not UTF-8 or empty counts as none: the record is named by its place."""
    identity = event_id((("ce_id", value), ("ce_id", b"second")))
    assert identity is None or identity.encode() == value
    assert (identity is None) == (not value or value.decode(errors="ignore").encode() != value)


def test_content_types() -> None:
    """Content types are those registered for JSON and for Arrow streams."""
    assert (JSON, ARROW) == (b"application/json", b"application/vnd.apache.arrow.stream")
