"""The documentation of the API: the OpenAPI document, and the page that shows it.

What lives here: their two endpoints. What must not: what the document says (openapi.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp_jinja2
from aiohttp import web

from handlers.context import MARKET
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.openapi import VERSION, document_bytes
from handlers.schemas.answers import DocumentSchema

if TYPE_CHECKING:
    # The table names these endpoints.
    from handlers.routes import Route

DOCUMENT = web.AppKey("document", bytes)


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


@endpoint(Endpoint(summary="The page that shows the documentation", tag="Documentation", is_page=True))
async def show_page(request: web.Request) -> web.Response:
    """The document in a browser, where every endpoint can be tried."""
    return await aiohttp_jinja2.render_template_async("docs.html", request, {})
