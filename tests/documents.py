"""The OpenAPI document as tests read it, and what holds answers against it."""

from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from openapi_schema_validator import OAS31Validator

from handlers.endpoint import endpoint_of
from handlers.openapi import build_document
from handlers.routes import ROUTES


def published() -> dict[str, Any]:
    """The document as the server publishes it."""
    return build_document(ROUTES, is_book_public=False)


def closed() -> dict[str, Any]:
    """The document with the promise that answers hold no more than it shows: what a published body shows is the whole
    body, which the document itself does not say, so that a later version may add to it."""
    document = published()
    components = document["components"]["schemas"]
    waiting: list[Any] = [
        answer.get("content", {})
        for operations in document["paths"].values()
        for operation in operations.values()
        for answer in operation["responses"].values()
    ]
    seen: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += [inner for key, inner in node.items() if key not in ("example", "examples")]
            if "properties" in node:
                node.setdefault("additionalProperties", False)
            name = str(node.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in components and name not in seen:
                seen.add(name)
                waiting.append(components[name])
    return document


def faults_of(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    # References are to the document's components, so they come along.
    whole = {**schema, "components": document["components"]}
    return [fault.message for fault in OAS31Validator(whole).iter_errors(value)]


class Watch:
    """Holds every answer of an application to the document: `faults` has a text for each that is not documented."""

    def __init__(self, app: web.Application) -> None:
        self.faults: list[str] = []
        # Whatever its endpoint answers, it leaves through the outermost middleware.
        app.middlewares.insert(0, self._middleware())

    def _middleware(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            if isinstance(response, web.Response):
                self._look_at(request, response)
            return response

        return watch

    def _look_at(self, request: web.Request, response: web.Response) -> None:
        record, resource = endpoint_of(request.match_info.handler), request.match_info.route.resource
        if record is None or record.is_page or resource is None:
            return
        path, body = resource.canonical, response.body
        answers = _closed()["paths"][path][request.method.lower()]["responses"]
        what = f"{request.method} {path} answered {response.status} {body!r}"
        if str(response.status) not in answers:
            self.faults.append(f"{what}: this status is not documented")
        elif response.content_type != "application/json" or not isinstance(body, bytes):
            self.faults.append(f"{what}: as {response.content_type}")
        else:
            schema = answers[str(response.status)]["content"]["application/json"]["schema"]
            self.faults += [f"{what}: {fault}" for fault in faults_of(_closed(), schema, orjson.loads(body))]


@lru_cache
def _closed() -> dict[str, Any]:
    return closed()
