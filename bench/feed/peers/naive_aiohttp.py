"""The peer naive aiohttp: the fan-out of aiohttp's own examples, on uvloop as ours.

python naive_aiohttp.py PAYLOAD_FILE: says {"port":N}, sends the payload to everybody every 100 ms from the line "go"
on standard input on.
What lives here: the loop as everybody writes it first. What must not: anything that ours does better.
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web

_TICK_S = 0.1


async def main(payload: str) -> None:
    """Serve until standard input ends."""
    sockets: set[web.WebSocketResponse] = set()

    async def subscribe(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=25.0, compress=False)
        await ws.prepare(request)
        sockets.add(ws)
        try:
            async for message in ws:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            sockets.discard(ws)
        return ws

    async def send() -> None:
        before, _, after = payload.partition('"ts":')
        tail = after[13:]
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            text = f'{before}"ts":{time.time_ns() // 1_000_000}{tail}'
            for ws in list(sockets):
                with contextlib.suppress(ConnectionError):
                    await ws.send_str(text)
            due = max(due + _TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())

    app = web.Application()
    app.router.add_get("/", subscribe)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    sys.stdout.write(json.dumps({"port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if await reader.readline():
        sending = asyncio.create_task(send())
        await reader.read()
        sending.cancel()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).read_text(encoding="utf-8")))
