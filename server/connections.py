"""Connections: what happens to bytes that are no HTTP, before any middleware sees a request.

What lives here: the answer to them, in the API's own shape. What must not: anything about requests that can be read
(middlewares.py).
"""

import secrets
from typing import Any

import structlog
from aiohttp import hdrs, http_exceptions, web

from handlers.requests import json_response

log = structlog.get_logger("shakti.http")


class Connection(web.RequestHandler):
    """One client's connection. Differs from aiohttp's in how it refuses what cannot be read: in JSON, with a request
    id, and without a word of what was sent: neither the answer nor the log repeats it, for it may hold a token."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's own text quotes the request
    ) -> web.StreamResponse:
        """The answer to a message that cannot be read, and to a fault outside every middleware. Closes the
        connection."""
        request_id = secrets.token_hex(8)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already; no other can follow")
        body: dict[str, Any]
        if isinstance(exc, http_exceptions.LineTooLong):
            status, body = 431, {"message": "The request line or a header is too long"}
        elif status < 500:
            body = {"message": "The request is not valid HTTP"}
        else:
            body = {"message": "Internal server error"}
        if status < 500:
            log.info("unreadable request", request_id=request_id, fault=type(exc).__name__)
        else:
            log.error("request failed outside the application", request_id=request_id, exc_info=exc)
        response = json_response(body, status)
        response.headers["X-Request-ID"] = request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        # aiohttp would tell its version here, where no signal of the application takes it out again.
        response.headers[hdrs.SERVER] = "Shakti"
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        response.force_close()
        return response
