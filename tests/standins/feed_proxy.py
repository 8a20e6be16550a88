"""A proxy before a real server that passes everything on, and spoils the feed where a test asks it to.

What lives here: passing requests and messages on, and remembering what was said. What must not: what any of it means.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
import orjson
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from yarl import URL

Message: TypeAlias = dict[str, Any]
Spoil: TypeAlias = Callable[[Message], Message | None]
_PASSED_ON = ("Authorization", "Origin", "Content-Type", "Idempotency-Key", "Access-Control-Request-Method")


@dataclass(slots=True)
class FeedProxy:
    """`spoil` gets each message of the server's and gives what the client gets in its place, None for nothing.
    Over all connections: `requests` holds what clients said, `answers` what they got; `spoilt` counts the messages that
    they did not get as they were, and `lost` those of them that they did not get at all."""

    url: str = ""
    spoil: Spoil | None = None
    requests: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)
    lost: int = 0
    spoilt: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _sockets: set[web.WebSocketResponse] = field(default_factory=set)

    async def until(self, is_so: Callable[[], bool], within_s: float = 20.0) -> None:
        """Return when something is so; looked at after each message."""
        async with asyncio.timeout(within_s):
            while not is_so():
                self._moved.clear()
                await self._moved.wait()

    def cut(self) -> int:
        """Drop every connection to the feed without a word; how many there were."""
        sockets = list(self._sockets)
        for socket in sockets:
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.abort()
        return len(sockets)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One request to the server behind; a feed until either side ends it."""
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        async with aiohttp.ClientSession(request.app[_TARGET], auto_decompress=False) as session:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                async with session.ws_connect("/ws", headers=headers, protocols=["bidbook.v1"]) as upstream:
                    return await self._talk(request, upstream)
            body = await request.read()
            async with session.request(request.method, request.rel_url, headers=headers, data=body) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.startswith("Access-Control")}
                content = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                return web.Response(status=answer.status, body=await answer.read(), headers={**kept, **content})

    async def _talk(self, request: web.Request, upstream: aiohttp.ClientWebSocketResponse) -> web.WebSocketResponse:
        downstream = web.WebSocketResponse(protocols=["bidbook.v1"])
        await downstream.prepare(request)
        self._sockets.add(downstream)
        asking = asyncio.create_task(self._ask(downstream, upstream))
        try:
            async for frame in upstream:
                if frame.type is WSMsgType.TEXT:
                    await self._answer(downstream, orjson.loads(frame.data))
            await downstream.close(code=upstream.close_code or 1011)
        except ConnectionError:
            pass
        finally:
            self._sockets.discard(downstream)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return downstream

    async def _ask(self, downstream: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in downstream:
            self.requests.append(orjson.loads(frame.data))
            self._moved.set()
            await upstream.send_str(frame.data)
        await upstream.close()

    async def _answer(self, downstream: web.WebSocketResponse, message: Message) -> None:
        given = self.spoil(message) if self.spoil else message
        self.spoilt += given is not message
        if given is None:
            self.lost += 1
        else:
            await downstream.send_str(orjson.dumps(given).decode())
            self.answers.append(given)
        self._moved.set()


_TARGET = web.AppKey("target", URL)


@asynccontextmanager
async def proxy_to(target: URL, port: int = 0) -> AsyncIterator[FeedProxy]:
    """A proxy for as long as the block runs."""
    proxy = FeedProxy()
    app = web.Application()
    app[_TARGET] = target
    app.router.add_route("*", "/{path:.*}", proxy.serve)
    server = TestServer(app, port=port or None)
    await server.start_server()
    proxy.url = str(server.make_url("")).rstrip("/")
    try:
        yield proxy
    finally:
        proxy.cut()
        await server.close()
