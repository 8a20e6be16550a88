"""The straight way of flawless placements, past the application's router and middlewares.

What lives here: which requests may take it, and what they get when all goes well. What must not: any error's answer:
whatever is not as it should be goes the way of all other requests, and is told there what is wrong.

Of the time that a placement of one bid takes a worker, a third went into being routed, and handed through middlewares
that have nothing to do for it. docs/adr/0008 has the measurements.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from aiohttp import HttpVersion11, web

from auth.tokens import Purpose
from handlers.answer import PlainAnswer
from handlers.bids import REFUSAL, Refusal, flawless_placement, place
from handlers.context import HTTP, LEAVING, SESSION, SESSIONS, WRITER
from handlers.errors import InvalidToken
from handlers.requests import read_token
from handlers.routes import ROUTES
from server.middlewares import log_access, request_id_of
from storage.sessions import Session

_PATH = next(route.path for route in ROUTES if route.handler is place)
# Headers that ask for more than an answer.
_SPECIAL = ("Origin", "Expect", "Upgrade")
Handle: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class StraightWay:
    """Handles the requests of one application: some itself, the others by its `handle`."""

    def __init__(self, app: web.Application, handle: Handle) -> None:
        self._app = app
        self._handle = handle

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """The answer. May be given to aiohttp's server as its handler."""
        if isinstance(request, web.Request) and request.raw_path == _PATH and request.method == "POST":
            return self._place(request)
        # Nothing of ours is to wait for it: a websocket's handler lasts as long as the socket, thousands of times.
        return self._handle(request)

    async def _place(self, request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        session = self._session(request)
        command = None if session is None else flawless_placement(self._app, request, session)
        if session is None or command is None:
            return await self._handle(request)
        try:
            body = await self._app[WRITER].submit(command)
        except Exception as reason:
            # The handler is told as if it had asked itself; and who asks is not asked again of a database that may just
            # have taken all its time.
            request[SESSION] = session
            request[REFUSAL] = Refusal(command.delivery_day, reason)
            return await self._handle(request)
        request_id = request_id_of(request)
        if self._app[HTTP].log_access:
            log_access(request, request_id, PlainAnswer.status, began)
        # Who leaves says so, also where that was decided while the writer had the command.
        answer = PlainAnswer(request_id, body, keep_alive=not self._app[LEAVING].is_set())
        return cast(web.StreamResponse, answer)

    def _session(self, request: web.Request) -> Session | None:
        """Whose request it is, if it may go this way."""
        app, headers = self._app, request.headers
        if (
            app[LEAVING].is_set()
            or request.version != HttpVersion11
            or not request.keep_alive
            or any(name in headers for name in _SPECIAL)
        ):
            return None
        try:
            return app[SESSIONS].known(read_token(request), Purpose.ACCOUNT)
        except InvalidToken:
            return None
