"""Answers of the hottest endpoints: a JSON body that is written together with its head, as one piece.

What lives here: that answer, and the headers that all answers share. What must not: what any answer says, or headers
that depend on the request (server/middlewares.py has them).
"""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from handlers.context import HTTP, LEAVING, REQUEST_ID

# What every answer carries that says nothing else of itself.
STANDING_HEADERS = CIMultiDict(
    {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-site",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }
)
_CONTENT_TYPE = "application/json; charset=utf-8"


class JsonAnswer(web.Response):
    """A 200 in JSON. Most often nothing about its head is special, and it is written from a text that was made once in
    a second: that takes a third of the time of aiohttp's way over a dictionary of headers. Where anything is special
    (the origin may read it, the connection ends, a header was set), it goes that way and says the same.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body=body)
        self._json = body
        # Set once it is to be written as one piece.
        self._plain: web.Request | None = None

    @property  # type: ignore[misc]  # nobody sets another one
    def content_type(self) -> str:
        """What the body is, also before there is a header that says so."""
        return "application/json"

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection is kept for another request."""
        return True if self._plain is not None else super().keep_alive

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Choose the way to be written. aiohttp calls this before `write_eof`."""
        if isinstance(request, web.Request) and self._is_plain_for(request):
            self._plain = request
            return request.writer
        self.headers.setdefault(hdrs.CONTENT_TYPE, _CONTENT_TYPE)
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the answer."""
        if self._plain is None:
            await super().write_eof(data)
            return
        await self._plain.writer.write(_whole(self._plain.get(REQUEST_ID, "-"), self._json))

    def _is_plain_for(self, request: web.Request) -> bool:
        app = request.app
        return (
            not self.headers
            and self.status == 200
            and super().keep_alive is None
            and request.keep_alive
            and request.version == HttpVersion11
            and request.method != hdrs.METH_HEAD
            and not app[LEAVING].is_set()
            and request.headers.get(hdrs.ORIGIN) not in app[HTTP].cors_origins
        )


class PlainAnswer:
    """A JsonAnswer of which is known that nothing about its head is special, unless it is the last of its connection.
    It is no aiohttp response, but all that a connection asks of one."""

    __slots__ = ("_json", "_request_id", "_writer", "keep_alive")
    status = 200

    def __init__(self, request_id: str, body: bytes, *, keep_alive: bool) -> None:
        self._request_id = request_id
        self._json = body
        self.keep_alive = keep_alive

    async def prepare(self, request: BaseRequest) -> None:
        """There is nothing to choose."""
        self._writer = request.writer

    async def write_eof(self) -> None:
        """Write the answer."""
        await self._writer.write(_whole(self._request_id, self._json, keep_alive=self.keep_alive))


def _whole(request_id: str, body: bytes, *, keep_alive: bool = True) -> bytes:
    """A plain answer, head and all."""
    end = "" if keep_alive else "Connection: close\r\n"
    last = f"X-Request-ID: {request_id}\r\n{end}Content-Length: {len(body)}\r\n\r\n"
    return b"".join((_head(int(time.time())), last.encode("ascii"), body))


@lru_cache(maxsize=2)
def _head(second: int) -> bytes:
    """The head of a plain answer in a second of the clock, but for its last two headers."""
    headers = [f"{name}: {value}" for name, value in STANDING_HEADERS.items()]
    lines = [
        "HTTP/1.1 200 OK",
        f"Content-Type: {_CONTENT_TYPE}",
        f"Date: {formatdate(second, usegmt=True)}",
        *headers,
        "Vary: Origin",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")
