"""The documentation of the API: the OpenAPI and AsyncAPI documents, and what people read.

What lives here: their endpoints. What must not: what the documents say (openapi.py, asyncapi.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp_jinja2
from aiohttp import web

from handlers import asyncapi
from handlers.context import MARKET
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.openapi import VERSION, document_bytes
from handlers.schemas.answers import DocumentSchema, FeedDocumentSchema

if TYPE_CHECKING:
    # The table names these endpoints.
    from handlers.routes import Route

DOCUMENT = web.AppKey("document", bytes)
_FEED_GUIDE: Final = Path(__file__).resolve().parents[1] / "docs" / "feed.md"


def publish(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Build the document of these routes for the application to serve. Raises ValueError for one without a record."""
    app[DOCUMENT] = document_bytes(routes, is_book_public=app[MARKET].is_book_public)


@endpoint(
    Endpoint(
        summary="This document",
        tag="Documentation",
        answers={
            200: Answer(
                "OpenAPI 3.1 in JSON",
                {
                    "openapi": "3.1.0",
                    "info": {"title": "Shakti", "version": VERSION},
                    "servers": [{"url": "/"}],
                    "tags": [{"name": "Documentation"}],
                    "paths": {},
                    "components": {},
                },
                DocumentSchema,
            )
        },
    )
)
async def get_document(request: web.Request) -> web.Response:
    """What every endpoint takes and answers, for people, clients and tools."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json", charset="utf-8")


@endpoint(
    Endpoint(
        summary="The live feed's document",
        tag="Documentation",
        answers={
            200: Answer(
                "AsyncAPI 3.1 in JSON",
                {
                    "asyncapi": "3.1.0",
                    "info": {"title": "Shakti live feed", "version": VERSION},
                    "defaultContentType": "application/json",
                    "servers": {},
                    "channels": {},
                    "operations": {},
                    "components": {},
                },
                FeedDocumentSchema,
            )
        },
    )
)
async def get_feed_document(request: web.Request) -> web.Response:
    """What is said on the websocket at /ws, message by message."""
    body = asyncapi.document_bytes(is_book_public=request.app[MARKET].is_book_public)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


@endpoint(Endpoint(summary="The live feed for people who write clients", tag="Documentation", is_page=True))
async def show_feed_guide(request: web.Request) -> web.FileResponse:  # noqa: ARG001 - the shape of a handler
    """docs/feed.md, as the text that it is."""
    return web.FileResponse(_FEED_GUIDE, headers={"Content-Type": "text/plain; charset=utf-8"})


@endpoint(Endpoint(summary="The page that shows the documentation", tag="Documentation", is_page=True))
async def show_page(request: web.Request) -> web.Response:
    """The document in a browser, where every endpoint can be tried."""
    return await aiohttp_jinja2.render_template_async("docs.html", request, {})
