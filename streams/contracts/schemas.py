"""JSON Schemas of every topic's values, from the structs that decode them: what a schema accepts, `schemas.codecs.decode` takes.

Beyond what JSON Schema can say, decoding refuses a whole number written as a fraction (`1.0`) where an integer is wanted, a number
that no double holds, a lone surrogate, and of a name given twice it takes the last but checks each.
"""

import re
from typing import Any

import msgspec

from schemas import topics
from schemas.codecs import TYPES
from schemas.topics import Topic
from streams.contracts.words import WORDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def topic_schema(topic: Topic) -> Schema:
    """Return the JSON Schema (draft 2020-12) of a topic's values."""
    (value,), definitions = components([topic.name], "#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "$id": f"urn:npo:{topic.name}:v1",
        "title": topics.physical(topic.name),
        "description": f"{capitalised(topic.carries)}. Unknown fields are ignored.",
        **value,
        "$defs": definitions,
    }


def components(names: list[str], reference: str) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schemas of some topics' values, and those of the structs and enumerations that they refer to, by name.

    Args:
        names: short names of topics.
        reference: how to refer to a definition, with `{name}` for its name.
    """
    values, definitions = msgspec.json.schema_components([TYPES[name] for name in names], ref_template=reference)
    for value in values:
        # OpenAPI's word, which means something else to AsyncAPI and nothing to JSON Schema.
        value.pop("discriminator", None)
    for name, definition in definitions.items():
        for field, schema in definition.get("properties", {}).items():
            if meaning := describe(name, definition["description"], field):
                definition["properties"][field] = {"description": meaning, **schema}
    return list(values), dict(sorted(definitions.items()))


def describe(struct: str, documentation: str, field: str) -> str:
    """Say what a field means: as `WORDS` has it for this struct, as the struct's docstring has it, or as `WORDS` has it for all."""
    if f"{struct}.{field}" in WORDS:
        return WORDS[f"{struct}.{field}"]
    sentences = re.split(r"(?<=\.)\s+", " ".join(documentation.split()))
    return " ".join(sentence for sentence in sentences if f"`{field}`" in sentence) or WORDS.get(field, "")


def capitalised(text: str) -> str:
    """Begin a text with a capital letter."""
    return text[0].upper() + text[1:]
