"""The one cheap client for all contenders, steered over its pipes.

What lives here: starting client.c's program, asking it, and where it connects to. What must not: what its figures mean.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.options import Options
from bench.rounds import NotMeasured
from bench.tools import compiled

_SOURCE = Path(__file__).with_name("client.c")
# aiohttp opens some 2,200 to 3,900 sockets a second; nobody is asked for more.
_CONNECTIONS_PER_S = 3000
_READY_TIMEOUT_S = 300.0
_ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where subscribers connect, and what makes one a subscriber: `subscribe` is sent after the handshake, a message
    that begins with `ready` confirms it. Without `ready` the handshake is enough."""

    port: int
    path: str = "/"
    headers: tuple[str, ...] = ()
    subscribe: str | None = None
    ready: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The client's arguments for it."""
        found = ["--port", str(self.port), "--path", self.path]
        for header in self.headers:
            found += ["--header", header]
        for option, value in (("--subscribe", self.subscribe), ("--ready", self.ready)):
            found += [] if value is None else [option, value]
        return found


def client_program(options: Options) -> Path:
    """The client, compiled. Raises NotMeasured."""
    return compiled(options, "feed-client", [_SOURCE])


class Client:
    """`count` subscribers in one process. Use `async with`; all are subscribed inside. Raises NotMeasured when one
    cannot be, and from every question once the process has ended."""

    def __init__(self, program: Path, target: Target, count: int, *, receive_buffer: int = 0) -> None:
        """`receive_buffer` bytes in the kernel for each connection; 0 leaves them to the kernel."""
        self._command = (str(program), "--count", str(count), "--rate", str(_CONNECTIONS_PER_S), *target.arguments)
        if receive_buffer:
            self._command += ("--receive-buffer", str(receive_buffer))

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            await self.told("ready", _READY_TIMEOUT_S)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """The client's process."""
        return self._process.pid

    async def reset(self) -> None:
        """Forget what came until now."""
        await self._ask("reset", "reset")

    async def report(self) -> dict[str, Any]:
        """What came since the last reset; client.c names the figures."""
        return await self._ask("report", "report")

    async def mark(self) -> None:
        """From now on, `told("all")` comes once every connection has had an update."""
        await self._ask("mark", "marked")

    async def stall(self) -> None:
        """Read nothing any more."""
        await self._ask("stall", "stalled")

    async def told(self, event: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """The next thing that the client says, which has to be `event`."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise NotMeasured(f"the bench's client did not say {event!r} within {timeout_s:.0f} s") from None
        said: dict[str, Any] = json.loads(line) if line else {"event": "ended"}
        if said["event"] != event:
            raise NotMeasured(f"the bench's client said {said} where {event!r} was awaited")
        return said

    async def _ask(self, word: str, answer: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self.told(answer)

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
