"""Connections: what happens to bytes that are no HTTP, before any middleware sees a request, and the end of a socket.

What lives here: the answer to such bytes, in the API's own shape; telling who asked that a connection is lost. What
must not: anything about requests that can be read (straight_way.py, middlewares.py).
"""

import secrets
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import hdrs, http_exceptions, web

from handlers.requests import json_response

log = structlog.get_logger("shakti.http")


class Connection(web.RequestHandler):
    """One client's connection. Differs from aiohttp's in how it refuses what cannot be read: in JSON, with a request
    id, and without a word of what was sent: neither the answer nor the log repeats it, for it may hold a token.

    `on_lost` is called, if it is set, once the connection is lost, while its descriptor is still its own.
    """

    __slots__ = ("on_lost",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is about to close the socket."""
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)

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
