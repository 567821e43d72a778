"""Any event that its schema allows: a strategy from the struct itself, ranges and lengths included."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["disk_write_latency_ms", "m0", "HTTPRequestCount", "_", "_total", "cpu"]))
ITEMS_MAX = 4


def valid(kind: object, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for a struct, or another type that msgspec knows; `fields` replace those of the struct."""
    return of(inspect.type_info(kind), fields)


def of(info: inspect.Type, fields: dict[str, st.SearchStrategy[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Return a strategy for what a type's description allows."""
    return MADE[type(info)](info) if not isinstance(info, inspect.StructType) else struct(info, fields or {})


def struct(info: inspect.StructType, fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Return a strategy for a struct."""
    return st.builds(info.cls, **{field.name: fields[field.name] if field.name in fields else of(field.type) for field in info.fields})


def integer(info: inspect.IntType) -> st.SearchStrategy[int]:
    """Return a strategy for an integer; without a range, of what a reader of JSON takes."""
    return st.integers(-(2**63) if info.ge is None else info.ge, 2**63 - 1 if info.le is None else info.le)


def number(info: inspect.FloatType) -> st.SearchStrategy[float]:
    """Return a strategy for a float: small and usual ones, and all that JSON can carry in the range."""
    whole = st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)
    usual = [value for value in (0.0, 0.8, 1.0, 7.0) if (info.ge is None or value >= info.ge) and (info.le is None or value <= info.le)]
    return st.one_of(st.sampled_from(usual), whole)


def text(info: inspect.StrType) -> st.SearchStrategy[str]:
    """Return a strategy for a text."""
    return TEXTS.filter(lambda value: len(value) >= (info.min_length or 0))


MADE: dict[type[inspect.Type], Callable[[Any], st.SearchStrategy[Any]]] = {
    inspect.IntType: integer,
    inspect.FloatType: number,
    inspect.StrType: text,
    inspect.BoolType: lambda _: st.booleans(),
    inspect.NoneType: lambda _: st.none(),
    inspect.EnumType: lambda info: st.sampled_from(list(info.cls)),
    inspect.LiteralType: lambda info: st.sampled_from(info.values),
    inspect.VarTupleType: lambda info: st.lists(of(info.item_type), max_size=ITEMS_MAX).map(tuple),
    inspect.ListType: lambda info: st.lists(of(info.item_type), max_size=ITEMS_MAX),
    inspect.DictType: lambda info: st.dictionaries(of(info.key_type), of(info.value_type), max_size=ITEMS_MAX),
    inspect.UnionType: lambda info: st.one_of(*map(of, info.types)),
    inspect.Metadata: lambda info: of(info.type),
}


def again(event: Any) -> Any:  # noqa: ANN401 - any struct
    """Return an event as its reader gets it."""
    return msgspec.json.decode(msgspec.json.encode(event), type=type(event))
