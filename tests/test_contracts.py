"""The contracts are what the generator writes, say what the code does, and v1 only gains."""

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema_rs
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from schemas import topics
from schemas.codecs import TYPES, decode
from schemas.errors import DecodeError
from schemas.events import Name
from schemas.headers import ARROW, CONTENT_TYPE
from schemas.reference import EXAMPLES
from schemas.settings import Deployment
from streams.contracts import words
from streams.contracts.__main__ import DOCS, LOCK, files, write
from streams.contracts.lock import breaks, current
from streams.contracts.schemas import topic_schema
from streams.groups import consumer_group, plan_topics
from streams.topology import TOPOLOGY

FILES = sorted(EXAMPLES.glob("*/*.json"))
OFFICIAL = Path(__file__).parent / "data" / "asyncapi-3.0.0.json"


def named(path: Path) -> str:
    """Return `topic/example`."""
    return f"{path.parent.name}/{path.stem}"


@cache
def asyncapi() -> Any:  # noqa: ANN401 - plain data
    """Return the committed AsyncAPI document; not to be changed."""
    return yaml.load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


@cache
def validator(topic: str) -> jsonschema_rs.Draft202012Validator:
    """Return what holds a value against a topic's JSON Schema."""
    found = jsonschema_rs.validator_for(topic_schema(next(each for each in topics.TOPICS if each.name == topic)))
    assert isinstance(found, jsonschema_rs.Draft202012Validator)
    return found


@cache
def part_validator(reference: str, part: str) -> jsonschema_rs.Draft7Validator:
    """Return what holds data against a schema inside a message of the AsyncAPI document: its `headers` or `payload`."""
    schema = at(reference)[part] | {"components": asyncapi()["components"]}
    return jsonschema_rs.Draft7Validator(schema)


def at(reference: str) -> Any:  # noqa: ANN401 - plain data
    """Return what a reference into the AsyncAPI document leads to."""
    found = asyncapi()
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def decodes(topic: str, value: object) -> bool:
    """Tell whether a JSON value is an event of a topic."""
    try:
        decode(topic, json.dumps(value).encode())
    except DecodeError:
        return False
    return True


# Files.


def test_files_are_those_of_the_code() -> None:
    """What is in docs is what the generator writes, and no more: `python -m streams.contracts` after a change of topology or schemas."""
    for path, text in files().items():
        assert (DOCS / path).read_text(encoding="utf-8") == text, path
    assert {path.relative_to(DOCS) for path in (DOCS / "schemas").iterdir()} == files().keys() - {Path("asyncapi.yaml")}


def test_every_field_is_described_once() -> None:
    """Every field of every event says what it means, and the list of words has none that no field needs."""
    used = set()
    for topic in topics.TOPICS:
        for name, schema in topic_schema(topic)["$defs"].items():
            for field, inner in schema.get("properties", {}).items():
                assert inner.get("description", "").endswith("."), f"say in streams/contracts/words.py what {name}.{field} is"
                used |= {key for key in (field, f"{name}.{field}") if words.WORDS.get(key) == inner["description"]}
    assert words.WORDS.keys() == used


# AsyncAPI.


def test_document_is_valid() -> None:
    """AsyncAPI's own schema accepts the document."""
    faults = [str(fault) for fault in jsonschema_rs.validator_for(json.loads(OFFICIAL.read_bytes())).iter_errors(asyncapi())]
    assert faults == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("servers/ssl/protocol", 1),
        ("operations/encoder-receives-telemetry/action", "read"),
        ("channels/telemetry/bindings/kafka/topicConfiguration/retention.ms", "-1"),
        ("components/messages/telemetry.Sample/bindings/kafka/key/type", "text"),
        ("components/securitySchemes/sasl-plain/type", "sasl"),
        ("components/schemas/Sample/required", "entity"),
    ],
)
def test_official_schema_refuses_mistakes(path: str, wrong: object) -> None:
    """The official schema finds a mistake in each part of the document: that it accepts ours says something."""
    document = copy.deepcopy(asyncapi())
    *way, last = path.split("/")
    part = document
    for name in way:
        part = part[name]
    assert part[last] != wrong
    part[last] = wrong
    assert not jsonschema_rs.validator_for(json.loads(OFFICIAL.read_bytes())).is_valid(document)


def references(part: object) -> Iterator[str]:
    """Give every reference in a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_references_resolve_and_nothing_is_left_over() -> None:
    """Each reference leads to something, and each message, schema and security scheme is referred to."""
    used = set(references(asyncapi()))
    assert all(at(reference) is not None for reference in used)
    for kind in ("messages", "schemas", "securitySchemes"):
        assert {f"#/components/{kind}/{name}" for name in asyncapi()["components"][kind]} <= used


def test_every_topic_is_a_channel() -> None:
    """Each topic that other programs may read or write is a channel, with the name and the settings that `npo topics apply` gives it."""
    plans = {plan.name: plan for plan in plan_topics(TOPOLOGY, 1) if not plan.name.endswith("-changelog")}
    channels = {channel["address"]: channel for channel in asyncapi()["channels"].values()}
    assert channels.keys() == plans.keys()
    for name, plan in plans.items():
        binding = channels[name]["bindings"]["kafka"]
        config = {key: value[0] if isinstance(value, list) else str(value) for key, value in binding["topicConfiguration"].items()}
        assert (binding["topic"], config) == (name, plan.config)


def test_every_read_and_write_is_an_operation() -> None:
    """Agents receive what the topology says they read, in their group, and send what it says they write, and dead letters."""
    wanted: set[tuple[str, str, str, str | None]] = set()
    for group in TOPOLOGY:
        for agent in group.agents:
            wanted |= {("receive", agent.name, topic.name, consumer_group("npo", group)) for topic in agent.reads}
            wanted |= {("send", agent.name, topic.name, None) for topic in agent.writes}
            wanted |= {("send", agent.name, f"{topic.name}.dlq", None) for topic in agent.reads}
        if group.merges:
            wanted.add(("send", group.name, "merge", None))
    shown = set()
    for name, operation in asyncapi()["operations"].items():
        channel = operation["channel"]["$ref"].rpartition("/")[2]
        binding = operation.get("bindings", {}).get("kafka", {}).get("groupId", {})
        shown.add((operation["action"], name.partition(f"-{operation['action']}s-")[0], channel, binding.get("const")))
    assert shown == wanted


def test_every_kind_of_event_is_a_message_with_its_examples() -> None:
    """Each struct that a topic carries is a message of its channel, whose examples are those of schemas/examples and fit it."""
    found = {}
    for name, channel in asyncapi()["channels"].items():
        for reference in references(channel["messages"]):
            for example in at(reference).get("examples", ()):
                found[f"{name}/{example['name']}"] = example["payload"]
                assert part_validator(reference, "payload").is_valid(example["payload"])
    carried = {named(path): json.loads(path.read_bytes()) for path in FILES if path.parent.name in asyncapi()["channels"]}
    assert found == carried


def test_every_security_setting_is_described() -> None:
    """Each security protocol and SASL mechanism that a deployment can have is a server or a security scheme."""
    schema = Deployment.model_json_schema()["properties"]
    protocols = {server["description"].partition("=")[2] for server in asyncapi()["servers"].values()}
    assert protocols == set(schema["security_protocol"]["enum"])
    described = {scheme["description"] for scheme in asyncapi()["components"]["securitySchemes"].values()}
    (mechanisms,) = [set(one["enum"]) for one in schema["sasl_mechanism"]["anyOf"] if "enum" in one]
    assert {f"SASL {mechanism}" for mechanism in mechanisms} < described


def test_telemetry_is_one_message_or_the_other() -> None:
    """Headers tell a sample in JSON from a batch in Arrow: every telemetry record fits exactly one of the two messages."""
    messages = [f"#/components/messages/telemetry.{name}" for name in ("Sample", "SampleBatch")]
    for headers, fits in (({}, 0), ({CONTENT_TYPE: "application/json"}, 0), ({CONTENT_TYPE: ARROW.decode(), "traceparent": "any"}, 1)):
        assert [part_validator(message, "headers").is_valid(headers) for message in messages] == [fits == 0, fits == 1]


# JSON Schemas.

REPLACEMENTS: tuple[object, ...] = (
    None, True, 0, 1, -1, 1.5, -0.5, 2_000_000, 10**13, 10**101, -(10**101), "", "x", "x" * 249, "x" * 250, "x" * 4001, "surfaced", "like",
    [], {}, [1], ["a"], [None], {"a": 1}, {"": 1.5}, {"x" * 250: 1.5}, {"a": None}, {"a": [1.5, None]},
)  # fmt: skip


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Give every container inside a value with each of its keys or indices."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def changed(value: Any) -> Iterator[object]:  # noqa: ANN401 - any JSON
    """Give a value with one thing changed, in place and for a moment: each part dropped, repeated or replaced by each replacement."""
    for container, key in list(places(value)):
        kept = copy.copy(container)
        for replacement in REPLACEMENTS:
            container[key] = replacement
            yield value
        del container[key]
        yield value
        if isinstance(container, list):
            container[:] = [*kept, kept[key]]
        else:
            container.update(kept, added_later={"a": [1]})
        yield value
        container.clear()
        container.extend(kept) if isinstance(container, list) else container.update(kept)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_schema_says_what_decoding_takes(path: Path) -> None:
    """An example with any one thing wrong is accepted by its topic's JSON Schema exactly where `decode` takes it; as it is, both do."""
    topic, value = path.parent.name, json.loads(path.read_bytes())
    check = validator(topic)
    assert check.is_valid(value)
    assert decodes(topic, value)
    verdicts = set()
    for other in changed(value):
        verdict = check.is_valid(other)
        assert verdict == decodes(topic, other), other
        verdicts.add(verdict)
    assert verdicts == {True, False}
    assert value == json.loads(path.read_bytes())


# Whole numbers as floats, and floats that no double holds, are among the exceptions below.
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=4,
)


@settings(max_examples=150)
@given(st.sampled_from(FILES), st.data())
def test_schema_agrees_on_anything(path: Path, data: st.DataObject) -> None:
    """Whatever is put into an example at up to three places, or in its place, schema and `decode` agree."""
    topic, value = path.parent.name, json.loads(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        container, key = data.draw(st.sampled_from(list(places(value))))
        container[key] = data.draw(VALUES)
    if not data.draw(st.integers(0, 9)):
        value = data.draw(VALUES)
    assert validator(topic).is_valid(value) == decodes(topic, value)


def test_number_of_metrics_is_limited() -> None:
    """Schema and `decode` take 2,000 metrics, and one more no longer."""
    for count, taken in ((2_000, True), (2_001, False)):
        value = {"entity": "a", "time_ms": 0, "metrics": {str(number): 1.0 for number in range(count)}}
        assert (validator("telemetry").is_valid(value), decodes("telemetry", value)) == (taken, taken)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("telemetry", '{"entity": "a", "time_ms": 1.0, "metrics": {}}'),
        ("telemetry", '{"entity": 1, "entity": "a", "time_ms": 1, "metrics": {}}'),
        ("alignment", (EXAMPLES / "alignment" / "fidelity.json").read_text().replace('"cost": 420.5', f'"cost": {10**400}')),
    ],
    ids=["whole-number-as-fraction", "name-twice", "number-beyond-doubles"],
)
def test_what_schemas_cannot_say(topic: str, text: str) -> None:
    """The known exceptions, all on one side: JSON Schema accepts what a parser makes of them, `decode` refuses them."""
    assert validator(topic).is_valid(json.loads(text))
    with pytest.raises(DecodeError):
        decode(topic, text.encode())


# The lock of v1.


class Part(Struct):
    """Part of an event."""

    name: Name
    value: float


class First(Struct, tag_field="kind", tag="first"):
    """One kind of event."""

    id: Name
    reason: Literal["a", "b"]
    rows: tuple[Part, ...]
    weights: dict[Name, float]
    weight: Annotated[float, Meta(ge=0, le=10)] = 1.0
    verdict: Part | None = None


class Second(Struct, tag_field="kind", tag="second"):
    """Another kind of event."""

    id: Name


def changed_first(*gone: str, **fields: object) -> Any:  # noqa: ANN401 - a union of structs
    """Return the two kinds of event, the first with some fields changed, taken away or added."""
    before = {field.name: (field.type, *(() if field.required else (field.default,))) for field in msgspec.structs.fields(First)}
    kept = {name: given for name, given in before.items() if name not in gone} | fields
    required_first = sorted(kept.items(), key=lambda item: isinstance(item[1], tuple) and len(item[1]) > 1)
    definition = [(name, *given) if isinstance(given, tuple) else (name, given) for name, given in required_first]
    return msgspec.defstruct("First", definition, namespace={"__doc__": First.__doc__}, tag_field="kind", tag="first") | Second


class PartWithTeam(Struct):
    """Part of an event."""

    name: Name
    value: float
    team: str


class Third(Struct, tag_field="kind", tag="third"):
    """A third kind of event."""

    score: float


def lock_of(kind: object, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - plain data
    """Return the lock as it is when a topic carries these structs."""
    monkeypatch.setitem(TYPES, "outcome", kind)
    return current()


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (changed_first("weight"), "first.weight is gone"),
        (changed_first("id", name=Name), "first.id is gone"),
        (changed_first(id=int), "first.id had types"),
        (changed_first(id=Name | None), "first.id had types"),
        (changed_first(weight=(float | None, None)), "first.weight had types"),
        (changed_first(score=float), "first.score is new and required"),
        (changed_first(rows=tuple[PartWithTeam, ...]), "first.rows.[].team is new and required"),
        (changed_first(weight=Annotated[float, Meta(ge=0, le=10)]), "first.weight had required False"),
        (changed_first(id=(Name, "a")), "first.id had required True"),
        (changed_first(weight=(Annotated[float, Meta(ge=0, le=10)], 2.0)), "first.weight had default 1.0"),
        (changed_first(reason=Literal["a", "c"]), "first.reason had words"),
        (changed_first(reason=str), "first.reason had words"),
        (changed_first(weight=(Annotated[float, Meta(ge=0, le=9)], 1.0)), "first.weight had maximum 10 and has 9"),
        (changed_first(weight=(Annotated[float, Meta(ge=1, le=10)], 1.0)), "first.weight had minimum 0 and has 1"),
        (changed_first(rows=Annotated[tuple[Part, ...], Meta(max_length=9)]), "first.rows had maxItems None and has 9"),
        (changed_first(weights=dict[Annotated[str, Meta(min_length=1, max_length=9)], float]), "first.weights.(name) had maxLength 249"),
        (First, "second is gone"),
    ],
)
def test_lock_finds_what_breaks_v1(after: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of breaking those who write or read v1 is found and named."""
    before = lock_of(First | Second, monkeypatch)
    found = breaks(before, lock_of(after, monkeypatch))
    assert any(fault.startswith(f"outcome {said}") for fault in found), found


@pytest.mark.parametrize(
    "after",
    [
        First | Second,
        changed_first(score=(float | None, None)),
        changed_first(error=(PartWithTeam | None, None)),
        changed_first(reason=Literal["a", "b", "c"]),
        changed_first(weight=(Annotated[float, Meta(ge=-1, le=11)], 1.0)),
        First | Second | Third,
    ],
    ids=["nothing", "field", "part", "word", "limits", "kind"],
)
def test_lock_lets_v1_gain(after: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields with defaults, whatever stands in them, words, kinds and wider limits may come."""
    before = lock_of(First | Second, monkeypatch)
    assert breaks(before, lock_of(after, monkeypatch)) == []


def test_lock_knows_topics_and_keys() -> None:
    """A topic that is gone, and one with another key, break v1; a new one does not."""
    before, after = current(), {path: entry for path, entry in current().items() if not path.startswith("feedback")}
    after["outcome"] = after["outcome"] | {"key": "entity"}
    assert {fault.partition(" ")[0].partition(".")[0] for fault in breaks(before, after)} == {"feedback", "outcome"}
    assert breaks({path: entry for path, entry in before.items() if not path.startswith("model")}, before) == []


def test_v1_is_what_it_was() -> None:
    """The structs break nothing of the v1 that docs/schemas/v1.lock.json records."""
    assert breaks(json.loads((DOCS / LOCK).read_text(encoding="utf-8")), current()) == []


def test_generator_refuses_to_break_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where v1 would break, the generator says how and writes nothing; where it gains, it writes."""
    assert write(tmp_path) == []
    before = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in before} == files().keys()
    monkeypatch.setitem(TYPES, "merge", Second)
    assert len(write(tmp_path)) > 0
    assert {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()} == before


# The page.


def test_python_in_the_page_runs() -> None:
    """The page's Python runs as it stands in the repository, and finds what is wrong with its sample."""
    (text,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / "contracts.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - it is the page's own
    assert [fault.message for fault in names["faults"]] == ['"time_ms" is a required property']
