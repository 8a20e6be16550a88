"""The peers and the floor, each started as a process of its own.

What lives here: starting them, telling them to send, ending them. What must not: measuring, and how they send.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.feed.client import Target
from bench.options import Options
from bench.processes import Child, free_port, tree
from bench.rounds import NotMeasured
from bench.tools import BUILD, compiled, node, node_app, require, run

SHAKTI, FLOOR, NCHAN, WS, AIOHTTP = "Shakti", "C floor", "nginx + nchan", "Node ws", "naive aiohttp"
_HERE = Path(__file__).parent
_NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_NCHAN_PACKAGE = "libnginx-mod-nchan"
_START_TIMEOUT_S = 20.0
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Serving:
    """A contender that runs: where to connect, whose CPU counts, and what makes it send every 100 ms from then on."""

    target: Target
    pids: tuple[int, ...]
    go: Callable[[], Awaitable[None]]


# What starts a contender: a context inside of which it serves.
Start = Callable[[], AbstractAsyncContextManager[Serving]]


def raise_descriptor_limit() -> None:
    """As many descriptors as we may have, for us and for all whom we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def peers(options: Options, payload: str) -> dict[str, Start]:
    """The floor and the peers by name, all sending `payload`."""
    file = BUILD / "feed" / "payload.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(payload, encoding="utf-8")

    def floor() -> AbstractAsyncContextManager[Serving]:
        return _own_process([str(compiled(options, "feed-floor", [_HERE / "floor.c"])), str(file)])

    def ws() -> AbstractAsyncContextManager[Serving]:
        return _own_process([str(node()), str(node_app(_HERE / "peers" / "ws") / "server.js"), str(file)])

    def naive() -> AbstractAsyncContextManager[Serving]:
        return _own_process([sys.executable, str(_HERE / "peers" / "naive_aiohttp.py"), str(file)])

    def nchan() -> AbstractAsyncContextManager[Serving]:
        return _nchan(options, payload)

    return {FLOOR: floor, NCHAN: nchan, WS: ws, AIOHTTP: naive}


@asynccontextmanager
async def _own_process(command: list[str]) -> AsyncIterator[Serving]:
    """A program of the bench: it says where it listens, starts to send when told, and ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    async def go() -> None:
        stdin.write(b"go\n")
        await stdin.drain()

    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            line = await process.stdout.readline()
        if not line:
            raise NotMeasured(f"{' '.join(command)} ended before it listened")
        yield Serving(Target(json.loads(line)["port"]), (process.pid,), go)
    except TimeoutError:
        raise NotMeasured(f"{' '.join(command)} did not listen within {_START_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _nchan(options: Options, payload: str) -> AsyncIterator[Serving]:
    """nginx with one worker; what it sends is posted to it, as its users do, and that is part of its CPU."""
    nginx = require(options, "nginx", "nginx", _NCHAN_PACKAGE)
    _require_nchan(options)
    home, port = BUILD / "feed" / "nginx", free_port()
    home.mkdir(parents=True, exist_ok=True)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = (_HERE / "peers" / "nginx.conf").read_text(encoding="utf-8")
    for name, value in {"MODULE": _NCHAN, "HOME": home, "PORT": port, "FILES": files}.items():
        text = text.replace(name, str(value))
    (home / "nginx.conf").write_text(text, encoding="utf-8")
    child = Child([nginx, "-p", home, "-c", home / "nginx.conf", "-e", "stderr"], log=home / "nginx.log")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(child.stop)
        await child.wait_until_listening(port)
        workers = await _nginx_workers(child)

        async def go() -> None:
            session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
            task = asyncio.create_task(_publish(session, payload))
            stack.push_async_callback(ended, task)

        yield Serving(Target(port, "/subscribe"), workers, go)


def _require_nchan(options: Options) -> None:
    """nginx without the module is as common as no nginx; `require` looks for programs only."""
    if not _NCHAN.exists() and options.installs:
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", _NCHAN_PACKAGE])
    if not _NCHAN.exists():
        raise NotMeasured(
            f"nchan is not installed. Install it with `apt-get install {_NCHAN_PACKAGE}`, "
            'or let `make bench ARGS="--install"` do it.'
        )


async def _nginx_workers(child: Child) -> tuple[int, ...]:
    """The one worker; the port listens before there is any."""
    async with asyncio.timeout(_START_TIMEOUT_S):
        while True:
            found = tuple(pid for pid in tree(child.pid) if pid != child.pid)
            if found:
                return found
            child.check()
            await asyncio.sleep(TICK_S)


async def _publish(session: aiohttp.ClientSession, payload: str) -> None:
    before, _, after = payload.partition('"ts":')
    tail = after[13:]
    async for _ in ticks():
        body = f'{before}"ts":{time.time_ns() // 1_000_000}{tail}'.encode()
        async with session.post("/publish", data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()


async def ticks(period_s: float = TICK_S) -> AsyncIterator[None]:
    """Comes every `period_s` seconds; what took longer than that shifts those behind it."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        yield
        due = max(due + period_s, loop.time())
        await asyncio.sleep(due - loop.time())


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it. Raises what it failed with."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
