"""The OpenAPI document is valid, is what is committed, and is what the server does."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31

from schemas.settings import Deployment, load_settings
from streams.console.openapi import document
from streams.console.routes import API, EVENT_STREAM
from streams.console.server import PAGES, ROUTES, make_application
from tests.console.serving import call

DOCS = Path(__file__).parents[2] / "docs"
COMMITTED, PAGE = DOCS / "openapi.json", DOCS / "api.md"
DOCUMENT = document(ROUTES)
# A stream does not end: its own tests follow it.
ENDLESS = {route.path for route in ROUTES if route.content == EVENT_STREAM}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=[API + path for path in ENDLESS])


def test_document_is_openapi() -> None:
    """The document is valid OpenAPI 3.1, and each schema in it is a valid JSON Schema 2020-12."""
    jsonschema_rs.validator_for(OPENAPI_31).validate(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_document_is_what_is_committed() -> None:
    """docs/openapi.json is what the code writes; `python -m streams.console.openapi > docs/openapi.json` renews it."""
    assert msgspec.json.decode(COMMITTED.read_bytes()) == DOCUMENT


def test_document_has_every_route_of_the_server() -> None:
    """Whatever the server answers under the API's prefix is in the document, and nothing else is."""
    application = make_application(Deployment(redis="redis://127.0.0.1:1/0"), load_settings(Deployment()))
    served = {(route.method.lower(), route.resource.canonical) for route in application.router.routes() if route.resource}
    in_document = {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    outside = {*PAGES, "/static", "/openapi.json", "/livez", "/readyz", "/metrics"}
    assert {(method, path) for method, path in served if path not in outside} == in_document


def test_page_about_the_api_has_every_route() -> None:
    """docs/api.md has each route with the role that it is for, and no other."""
    rows = re.findall(r"^\| (`(?:GET|POST) .*?) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {(*name.split(), role) for names, role in rows for name in re.findall(r"`(.*?)`", names)}
    assert told == {(route.method, route.path, route.role) for route in ROUTES}


def test_server_gives_its_document(console: str) -> None:
    """The running server gives the document itself."""
    assert call(console, "GET", "/openapi.json").body == DOCUMENT


# The servers' threads draw from `random` while a strategy does not.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning")
@SCHEMA.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_server_does_what_the_document_says(case: schemathesis.Case[Any], console: str) -> None:
    """Every request is answered as the document says, what it does not allow is refused, and none makes the server fail."""
    # What a schema cannot say is refused too: an interval that ends before it starts, an operator without a name.
    case.call_and_validate(base_url=console, excluded_checks=[positive_data_acceptance])
