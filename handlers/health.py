"""Whether this process lives, and whether it can serve.

What lives here: the two answers that supervisors and balancers ask for. What must not: repairing anything.
"""

import asyncio

from aiohttp import web

from handlers.context import CODES, DATABASE
from handlers.endpoint import Answer, Endpoint, endpoint
from handlers.requests import json_response
from storage.errors import Unavailable

_READY = {"status": "ready", "database": "ok", "redis": "ok"}


@endpoint(
    Endpoint(
        summary="Whether the process lives",
        tag="Health",
        answers={200: Answer("It answers", {"status": "ok"})},
    )
)
async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001 - the shape of a handler
    """Says that the event loop turns, and nothing more."""
    return json_response({"status": "ok"})


@endpoint(
    Endpoint(
        summary="Whether database and Redis answer",
        tag="Health",
        answers={
            200: Answer("Both answer", _READY),
            503: Answer(
                "One does not",
                {
                    "message": "Not ready: redis is unavailable",
                    "status": "unavailable",
                    "database": "ok",
                    "redis": "unavailable",
                },
            ),
        },
    )
)
async def readyz(request: web.Request) -> web.Response:
    """Asks both services now; says which one does not answer."""
    asked = {
        "database": request.app[DATABASE].fetchrow("health/ping"),
        "redis": request.app[CODES].ping(),
    }
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    words: dict[str, str] = {}
    for name, answer in zip(asked, answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
            raise answer
        words[name] = "unavailable" if isinstance(answer, Unavailable) else "ok"
    down = [name for name, word in words.items() if word != "ok"]
    if not down:
        return json_response({"status": "ready", **words})
    verb = "is" if len(down) == 1 else "are"
    message = f"Not ready: {' and '.join(down)} {verb} unavailable"
    return json_response({"message": message, "status": "unavailable", **words}, status=503)
