"""The events reference, docs/events.md, written from the structs: `python -m schemas.reference > docs/events.md`."""

import inspect as python_inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import NODEFAULT, inspect

from schemas import topics
from schemas.codecs import TYPES
from schemas.topics import Topic

EXAMPLES = Path(__file__).resolve().parent / "examples"

INTRODUCTION = """# Events

Written from `schemas/events.py` by `python -m schemas.reference`; do not edit.

Values are JSON in UTF-8. Times end in `_ms`: milliseconds since 1970-01-01 UTC. Unknown fields are ignored, so that an older reader
reads newer events; `v1` changes only by adding fields with defaults. Topic names begin with `npo.` unless `NPO_TOPIC_PREFIX` says
otherwise. [schemas/examples](../schemas/examples) has an event of every kind. What cannot be decoded goes to `<topic>.dlq` with the reason.

Every record that the pipeline writes has the headers of a CloudEvent in binary mode (`ce_specversion`, `ce_id`, `ce_source`,
`ce_type`, `ce_time`, `content-type`) and a W3C `traceparent`. A record from outside needs none of them; its `ce_id`, if it has one,
names it, else topic, partition and offset do.
"""


def structs(kind: object) -> tuple[type[msgspec.Struct], ...]:
    """Return the structs that a topic carries: the members of a union, or the one struct."""
    info = inspect.type_info(kind)
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return tuple(member.cls for member in members if isinstance(member, inspect.StructType))


def reference() -> str:
    """Return docs/events.md."""
    parts: dict[type, None] = {}
    sections = [INTRODUCTION]
    for topic in topics.TOPICS:
        sections.append(_topic(topic))
        for struct in structs(TYPES[topic.name]) if topic.name in TYPES else ():
            sections.append(_struct(struct, f"### {struct.__name__}"))
            parts |= dict.fromkeys(_parts(struct))
    sections.append("## Parts of events\n")
    sections += [_struct(part, f"### {part.__name__}") for part in sorted(parts, key=lambda part: part.__name__)]
    return "\n".join(sections)


def _topic(topic: Topic) -> str:
    """Write a topic's heading and, for topics that people write, an example."""
    carries = f"{topic.carries[0].upper()}{topic.carries[1:]}"
    text = f"## {topics.physical(topic.name)}\n\n{carries}. Key: {topic.key}. Kept: {topic.retention}.\n"
    if topic.name not in TYPES:
        return f"{text}\nNothing is written here yet.\n"
    if topic not in topics.INPUTS:
        return text
    example = min((EXAMPLES / topic.name).glob("*.json"))
    return f"{text}\n```json\n{example.read_text(encoding='utf-8').rstrip()}\n```\n"


def _struct(struct: type[msgspec.Struct], heading: str) -> str:
    """Write a struct's docstring and a table of its fields."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    lines = [heading, "", python_inspect.getdoc(struct) or "", ""]
    if info.array_like:
        lines += ["A JSON array of these, in this order.", ""]
    lines += ["| field | type | default |", "|---|---|---|"]
    if info.tag_field is not None:
        lines.append(f"| `{info.tag_field}` | `{info.tag}` | required |")
    lines += [f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |" for field in info.fields]
    return "\n".join(lines) + "\n"


def _default(field: inspect.Field) -> str:
    """Say what an absent field means."""
    if field.required:
        return "required"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    return f"`{msgspec.json.encode(value).decode()}`"


def _type(kind: inspect.Type) -> str:  # noqa: PLR0911 - one line for each kind of type
    """Say a type in words."""
    match kind:
        case inspect.StructType(cls=struct):
            return f"[{struct.__name__}](#{struct.__name__.lower()})"
        case inspect.UnionType(types=members):
            return " or ".join(_type(member) for member in members)
        case inspect.DictType(value_type=value):
            return f"object: {_type(value)} by name"
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return f"list of {_type(item)}"
        case inspect.EnumType(cls=enum):
            return ", ".join(f"`{member.value}`" for member in enum)
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
    return _scalar(kind)


def _scalar(kind: inspect.Type) -> str:
    """Say a scalar type and its bounds in words."""
    match kind:
        case inspect.StrType(min_length=least, max_length=most):
            return "text" + _bounds(least, most, " characters")
        case inspect.IntType(ge=least, le=most):
            return "integer" + _bounds(least, most)
        case inspect.FloatType(ge=least, le=most):
            return "number" + _bounds(least, most)
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
    raise AssertionError(f"no words for {kind}; add a case to schemas/reference.py")


def _bounds(least: float | None, most: float | None, unit: str = "") -> str:
    """Say an interval, or nothing where there is none."""
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {least}{unit}"
    return f", {least} to {most}{unit}" if least is not None else f", at most {most}{unit}"


def _parts(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs that stand inside a struct, at any depth."""
    for field in msgspec.structs.fields(struct):
        for inner in _inside(inspect.type_info(field.type)):
            yield inner
            yield from _parts(inner)


def _inside(kind: inspect.Type) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs that a type names outside of other structs."""
    match kind:
        case inspect.StructType(cls=struct):
            yield struct
        case inspect.UnionType(types=members):
            for member in members:
                yield from _inside(member)
        case inspect.DictType(value_type=inner) | inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            yield from _inside(inner)


if __name__ == "__main__":
    sys.stdout.write(reference())
