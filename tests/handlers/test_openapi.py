"""The OpenAPI document: valid, complete, and true to itself and to the schemas that validate."""

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from marshmallow import ValidationError
from openapi_spec_validator import validate

from handlers.endpoint import Endpoint, Family, endpoint, endpoint_of
from handlers.openapi import VERSION, build_document
from handlers.openapi_answers import shape_of
from handlers.openapi_fields import example_of
from handlers.routes import ROUTES, Route
from handlers.schemas.base import READING, Reading, RequestSchema
from handlers.schemas.fields import Number, Pincode, Text
from tests.conftest import Client, MakeClient
from tests.documents import closed, faults_of, published

# The one answer without a body: another protocol follows.
SWITCHING = "101"
READ_AT = Reading(region="IN", year=2026)
RECORDS = {route: record for route in ROUTES if (record := endpoint_of(route.handler)) and not record.is_page}
REQUESTS = sorted(
    {schema for record in RECORDS.values() for schema in (record.request, record.query) if schema},
    key=lambda schema: schema.__name__,
)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_document_is_valid_openapi_3_1() -> None:
    document = published()
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_every_route_but_pages_is_documented_and_nothing_else() -> None:
    documented = {name for name, _ in operations(published())}
    assert documented == {f"{route.method} {route.path}" for route in RECORDS}
    assert "GET /docs" not in documented


def test_a_handler_without_a_record_refuses_to_be_published() -> None:
    async def undocumented(request: web.Request) -> web.Response:
        return web.Response()

    with pytest.raises(ValueError, match="GET /secret is not documented"):
        build_document([Route("GET", "/secret", undocumented, "secret")], is_book_public=False)


def test_operation_ids_are_the_names_of_the_routes() -> None:
    ids = [operation["operationId"] for _, operation in operations(published())]
    assert ids == [route.name for route in RECORDS]
    assert len(ids) == len(set(ids))


def test_every_example_of_an_answer_is_the_whole_of_its_own_schema() -> None:
    document = closed()
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status == SWITCHING:
                continue
            content = answer["content"]["application/json"]
            bodies = [example["value"] for example in content.get("examples", {}).values()] or [content["example"]]
            for body in bodies:
                assert not faults_of(document, content["schema"], body), (name, status)


def test_every_example_of_a_request_validates_against_its_own_schema() -> None:
    document = published()
    for name, operation in operations(document):
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            assert content["example"], name
            assert not faults_of(document, content["schema"], content["example"]), name
        for parameter in operation.get("parameters", []):
            for example in parameter["schema"].get("examples", []):
                assert not faults_of(document, parameter["schema"], example), (name, parameter["name"])
    for schema in document["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            for example in field.get("examples", []):
                assert not faults_of(document, field, example), field


@pytest.mark.parametrize("schema", REQUESTS, ids=lambda schema: schema.__name__)
def test_the_schema_that_validates_accepts_the_documented_example(schema: type[RequestSchema[Any]]) -> None:
    loaded = _load(schema(), example_of(schema))
    assert loaded.keys() >= {name for name, field in schema().fields.items() if field.required}


@pytest.mark.parametrize("schema", REQUESTS, ids=lambda schema: schema.__name__)
def test_the_schema_that_validates_asks_for_every_field_that_is_documented_as_required(
    schema: type[RequestSchema[Any]],
) -> None:
    example = example_of(schema)
    document = published()
    for record in RECORDS.values():
        if record.request is not schema:
            continue
        component = document["components"]["schemas"][schema.__name__.removesuffix("Schema")]
        for name in component["properties"]:
            left_out = {key: value for key, value in example.items() if key != name}
            if name in component.get("required", []):
                with pytest.raises(ValidationError, match="is required"):
                    _load(schema(), left_out)
            else:
                _load(schema(), left_out)


NUMBERS = [
    (schema, name) for schema in REQUESTS for name, field in schema().fields.items() if isinstance(field, Number)
]


@pytest.mark.parametrize(("schema", "name"), NUMBERS, ids=lambda part: getattr(part, "__name__", part))
def test_a_number_is_documented_with_the_bounds_that_are_enforced(schema: type[RequestSchema[Any]], name: str) -> None:
    document = published()
    field = schema().fields[name]
    assert isinstance(field, Number)
    key = field.data_key or name
    shape = next(
        (
            parameter["schema"]
            for _, operation in operations(document)
            for parameter in operation.get("parameters", [])
            if parameter["name"] == key
        ),
        None,
    ) or next(
        component["properties"][key]
        for component in document["components"]["schemas"].values()
        if key in component["properties"] and "examples" in component["properties"][key]
    )
    bounds = {shape[word] for word in ("minimum", "exclusiveMinimum", "maximum") if word in shape}
    assert bounds
    for bound in bounds:
        for value in (bound - 1, bound, bound + 1):
            is_documented = not faults_of(document, shape, value)
            assert is_documented == _accepts(field, value), value
            assert _accepts(field, str(value)) == is_documented, value


@pytest.mark.parametrize(
    ("field", "value", "is_right"),
    [
        (Pincode(), "560001", True),
        (Pincode(), "56001", False),
        (Text(max_length=3), "abc", True),
        (Text(max_length=3), "abcd", False),
    ],
)
def test_a_text_is_documented_as_it_is_read(field: Text, value: str, is_right: bool) -> None:
    class OneSchema(RequestSchema[Any]):
        one = field

    @endpoint(Endpoint("", "", request=OneSchema))
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    document = build_document([Route("POST", "/one", handler, "one")], is_book_public=False)
    assert (not faults_of(document, document["components"]["schemas"]["One"], {"one": value})) == is_right
    assert _accepts(OneSchema().fields["one"], value) == is_right


def test_a_null_is_documented_where_it_counts_as_left_out() -> None:
    components = published()["components"]["schemas"]
    assert components["SendOtp"]["properties"]["purpose"]["type"] == ["string", "null"]
    assert None in components["SendOtp"]["properties"]["purpose"]["enum"]
    assert components["SendOtp"]["properties"]["PhoneNo"]["type"] == "string"


@pytest.mark.parametrize("name", ["timeslot", "volume", "price"])
def test_what_makes_a_bid_may_be_a_text_or_a_number(name: str) -> None:
    document = published()
    for component in ("PlaceBids", "OneBid"):
        shape = document["components"]["schemas"][component]["properties"][name]
        assert not faults_of(document, shape, "10")
        assert not faults_of(document, shape, 10)
        assert faults_of(document, shape, [])


def test_endpoints_that_need_a_token_say_which_and_the_others_need_none() -> None:
    document = published()
    schemes = document["components"]["securitySchemes"]
    for route, record in RECORDS.items():
        operation = document["paths"][route.path][route.method.lower()]
        assert len(operation["security"]) == len(record.purposes), route
        assert all(name in schemes for choice in operation["security"] for name in choice)
        assert ("401" in operation["responses"]) >= bool(record.purposes), route
        assert ("403" in operation["responses"]) == bool(record.foreign), route


def test_a_public_book_is_documented_as_one() -> None:
    operation = build_document(ROUTES, is_book_public=True)["paths"]["/book/dayahead"]["get"]
    assert operation["security"] == [{}]


def test_every_path_variable_and_every_idempotency_key_is_a_parameter() -> None:
    document = published()
    for route, record in RECORDS.items():
        parameters = document["paths"][route.path][route.method.lower()].get("parameters", [])
        found = {(parameter["in"], parameter["name"]) for parameter in parameters}
        assert {("path", name) for name in re.findall(r"{(\w+)}", route.path)} <= found
        assert (("header", "Idempotency-Key") in found) == record.has_idempotency_key


def test_requests_with_a_body_are_documented_with_all_that_can_be_wrong_with_one() -> None:
    for name, operation in operations(published()):
        if "requestBody" in operation:
            assert operation["responses"].keys() >= {"400", "408", "413", "415"}, name


def test_every_answer_carries_its_request_id_and_says_when_to_try_again() -> None:
    for name, operation in operations(published()):
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"], (name, status)
            if status in ("429", "503"):
                assert "Retry-After" in answer["headers"], (name, status)


def test_every_endpoint_tells_what_a_fault_of_ours_looks_like() -> None:
    document = published()
    for route, record in RECORDS.items():
        content = document["paths"][route.path][route.method.lower()]["responses"]["500"]["content"]
        usual = {"success", "message"} if record.family is Family.PARTNER else {"message"}
        expected = usual if record.failure is None else record.failure.keys()
        assert content["application/json"]["example"].keys() == expected, route


def test_no_value_of_an_answer_is_left_without_a_type() -> None:
    for name, operation in operations(closed()):
        for status, answer in operation["responses"].items():
            if status != SWITCHING:
                assert not list(_untyped(answer["content"]["application/json"]["schema"])), (name, status)


def test_an_example_with_a_null_in_it_has_no_type_of_its_own() -> None:
    """So the test above refuses it, and a schema must say what else the value can be."""
    assert list(_untyped(shape_of({"setup": None}))) == ["setup"]


def test_the_document_names_the_version_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


async def test_the_server_serves_the_document(client: Client) -> None:
    response = await client.get("/openapi.json")
    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == published()


async def test_a_server_with_a_public_book_publishes_that(make_client: MakeClient) -> None:
    client = await make_client(market={"public_book": True})
    document = await (await client.get("/openapi.json")).json()
    assert document["paths"]["/book/dayahead"]["get"]["security"] == [{}]
    assert (await client.get("/book/dayahead")).status == 200


def _load(schema: RequestSchema[Any], document: dict[str, Any]) -> dict[str, Any]:
    token = READING.set(READ_AT)
    try:
        loaded: dict[str, Any] = schema.load(schema.prepare(document))
    finally:
        READING.reset(token)
    return loaded


def _accepts(field: Any, value: Any) -> bool:
    token = READING.set(READ_AT)
    try:
        field.deserialize(Decimal(value) if isinstance(value, float) else value)
    except ValidationError:
        return False
    finally:
        READING.reset(token)
    return True


def _untyped(schema: dict[str, Any], name: str = "") -> Iterator[str]:
    """The names of properties that may be anything."""
    if not {"type", "$ref", "anyOf"} & schema.keys():
        yield name
    for inner, shape in schema.get("properties", {}).items():
        yield from _untyped(shape, inner)
    for shape in schema.get("anyOf", []):
        yield from _untyped(shape, name)
    if "items" in schema and "prefixItems" not in schema:
        yield from _untyped(schema["items"], name)
