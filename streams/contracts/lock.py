"""What v1 is, field by field: the record that later versions of the schemas are held against.

v1 may gain fields with defaults, kinds of events, words of enumerations and wider limits. Anything else breaks those who write or
read it: `breaks` says what does.
"""

import json
from collections.abc import Iterator

from schemas.topics import TOPICS
from streams.contracts.schemas import Schema, topic_schema

# What may stand at each path: `topic` or `topic kind`, then `.name` of an object, `.*` for any name, `.[]` of an array, `.0` its place.
Lock = dict[str, Schema]
# What has to stay, and limits by the direction in which they may not move.
FIXED = ("key", "types", "required", "default")
AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def current() -> Lock:
    """Return v1 as topics and structs have it."""
    return {path: entry for topic in TOPICS for path, entry in _topic(topic.name, topic.key, topic_schema(topic))}


def breaks(before: Lock, after: Lock) -> list[str]:
    """Say what `after` breaks of `before`; empty where every writer and every reader of `before` goes on."""
    found = [f"{path} is gone" for path in before if path not in after]
    found += [f"{path} {fault}" for path, old in before.items() if path in after for fault in _narrowed(old, after[path])]
    # What stands inside a new field is as new as that.
    new = [path for path in after if path not in before and path.rpartition(".")[0] in before]
    return found + [f"{path} is new and required" for path in new if after[path].get("required")]


def to_json(lock: Lock) -> str:
    """Write a lock with a line for each path, so that a change is a line."""
    return "{\n" + ",\n".join(f"{json.dumps(path)}: {json.dumps(entry)}" for path, entry in lock.items()) + "\n}\n"


def _narrowed(old: Schema, new: Schema) -> Iterator[str]:
    for name in FIXED:
        if old.get(name, ...) != new.get(name, ...):
            yield f"had {name} {old.get(name)!r} and has {new.get(name)!r}"
    if ("enum" in old) != ("enum" in new) or set(old.get("enum", ())) - set(new.get("enum", ())):
        yield f"had words {old.get('enum')} and has {new.get('enum')}"
    for name in AT_LEAST:
        if name in new and (name not in old or new[name] > old[name]):
            yield f"had {name} {old.get(name)} and has {new[name]}"
    for name in AT_MOST:
        if name in new and (name not in old or new[name] < old[name]):
            yield f"had {name} {old.get(name)} and has {new[name]}"


def _topic(name: str, key: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    definitions = schema["$defs"]
    if "anyOf" not in schema:
        yield from _paths(name, schema, definitions, key=key)
        return
    yield name, {"key": key}
    for member in schema["anyOf"]:
        kind = _resolve(member, definitions)["properties"]["kind"]["enum"][0]
        yield from _paths(f"{name} {kind}", member, definitions)


def _paths(path: str, schema: Schema, definitions: dict[str, Schema], **marks: object) -> Iterator[tuple[str, Schema]]:
    options = [_resolve(option, definitions) for option in _resolve(schema, definitions).get("anyOf", [schema])]
    entry: Schema = {"types": sorted(option.get("type", "string") for option in options), **marks}
    if "default" in schema:
        entry["default"] = schema["default"]
    for option in options:
        entry |= {name: option[name] for name in ("enum", *AT_LEAST, *AT_MOST) if name in option}
    yield path, entry
    for option in options:
        required = option.get("required", ())
        for name, inner in option.get("properties", {}).items():
            yield from _paths(f"{path}.{name}", inner, definitions, required=name in required)
        for place, inner in enumerate(option.get("prefixItems", ())):
            yield from _paths(f"{path}.{place}", inner, definitions, required=place < option["minItems"])
        for name, below in (("propertyNames", "(name)"), ("additionalProperties", "*"), ("items", "[]")):
            if name in option:
                yield from _paths(f"{path}.{below}", option[name], definitions)


def _resolve(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    name = schema.get("$ref", "").rpartition("/")[2]
    return definitions[name] if name else schema
