"""The OpenAPI 3.1 document, from the route table and the structs: `python -m streams.console.openapi` prints it."""

import re
import sys
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Struct

from streams.console.problems import PROBLEM_JSON
from streams.console.routes import API, JSON, Route
from streams.console.views import Problem
from streams.contracts.schemas import Schema, describe

REFERENCE = "#/components/schemas/{name}"
BEARER = "token"
DESCRIPTION = (
    "What the operator's page shows, and what an operator or another system can say. Reads come from the read model, writes are answered "
    "when the log has them. Errors are application/problem+json. With a file of tokens every request needs one; without it the server "
    "listens on this machine only. docs/api.md says how to use it."
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of some routes."""
    rows = tuple(routes)
    schemas = components(rows)
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        paths.setdefault(API + route.path, {})[route.method.lower()] = operation(route, schemas)
    queries = {route.query.__name__ for route in rows if route.query}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "NPO pipeline",
            "version": version("npo-pipeline"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {BEARER: {"type": "http", "scheme": "bearer", "description": "`npo token add` makes one."}},
        },
    }


def components(routes: Iterable[Route]) -> dict[str, Schema]:
    """Return the schemas of all structs that the routes name, and of those that these name, by name."""
    structs = dict.fromkeys([Problem, *(kind for route in routes for kind in (route.response, route.body, route.query) if kind)])
    _, definitions = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    for name, definition in definitions.items():
        for field, schema in definition.get("properties", {}).items():
            if "description" not in schema and (meaning := describe(name, definition.get("description", ""), field)):
                definition["properties"][field] = {"description": meaning, **schema}
    return dict(sorted(definitions.items()))


def operation(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    """Return what the document says of one route."""
    parameters = [*path_parameters(route), *query_parameters(route, schemas)]
    return {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        **({"description": f"For the role {route.role}."} if route.role else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": {"required": True, "content": {JSON: {"schema": referred(route.body)}}}} if route.body else {}),
        "responses": responses(route),
        # Without a file of tokens nobody needs one.
        **({"security": [{BEARER: []}, {}]} if route.role else {"security": []}),
    }


def path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    """Give the parameters in the path."""
    for name in re.findall(r"{(\w+)}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def query_parameters(route: Route, schemas: dict[str, Schema]) -> Iterator[dict[str, Any]]:
    """Give the parameters of the query."""
    definition = schemas[route.query.__name__] if route.query else {}
    for name, schema in definition.get("properties", {}).items():
        description = {"description": schema["description"]} if "description" in schema else {}
        rest = {key: value for key, value in schema.items() if key != "description"}
        yield {"name": name, "in": "query", "required": name in definition["required"], **description, "schema": rest}


def responses(route: Route) -> dict[str, Any]:
    """Return every status that a route can have."""
    content = {route.content: {"schema": referred(route.response) if route.response else {"type": "string"}}}
    good = {str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in (route.status, *route.also)}
    checked = {400, 503, *((401, 403) if route.role else ()), *((413, 415) if route.body else ()), *route.problems}
    problem = {PROBLEM_JSON: {"schema": referred(Problem)}}
    return good | {str(status): {"description": HTTPStatus(status).phrase, "content": problem} for status in sorted(checked)}


def referred(struct: type[Struct]) -> Schema:
    """Refer to the schema of a struct."""
    return {"$ref": REFERENCE.format(name=struct.__name__)}


if __name__ == "__main__":
    from streams.console.server import ROUTES

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document(ROUTES))) + b"\n")
