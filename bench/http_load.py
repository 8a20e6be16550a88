"""Load over HTTP, and what it cost whom.

What lives here: requests for the C client (http_load.c), running it, CPU of the processes under load. What must not:
what the requests ask.
"""

import json
import os
import signal
import struct
from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.options import Options
from bench.processes import cpu_s
from bench.rounds import Figures, NotMeasured
from bench.tools import compiled
from server.child import spawn

# What http_load.c replaces, each time it sends the request.
KEY_PLACE = "k" * 24
_SOURCE = Path(__file__).with_name("http_load.c")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes over the wire. With a key, each sending carries another one."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    has_key: bool = False

    def encoded(self) -> bytes:
        """With its length and the place of its key, as http_load.c reads it."""
        headers = {"Host": "127.0.0.1", **self.headers}
        if self.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        if self.has_key:
            headers["Idempotency-Key"] = KEY_PLACE
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        text = f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body
        return struct.pack("=Ii", len(text), text.index(KEY_PLACE.encode()) if self.has_key else -1) + text


class HttpLoad:
    """The client, with requests to send in turn."""

    def __init__(self, options: Options, file: Path, requests: Sequence[Request]) -> None:
        """Compile the client and write the requests to `file`. Raises NotMeasured."""
        self._program = compiled(options, "http_load", [_SOURCE])
        self._options = options
        self._file = file
        file.write_bytes(b"".join(request.encoded() for request in requests))

    async def run(
        self, port: int, connections: int, *, watched: Mapping[str, int] | None = None, pace_ms: int = 0
    ) -> Figures:
        """Load 127.0.0.1:`port` through warm-up and measurement.

        `watched` names processes; of each, with its descendants, the CPU us per request are measured. With `pace_ms`
        each connection sends a request at most that often. Figures: `per_s`, `p50_us`, `p99_us`, `client_us` (of CPU
        a request) and `<watched>_us`. Raises NotMeasured when a single answer was not a 200.
        """
        watched = watched or {}
        warm_s, measure_s = self._options.warm_s, self._options.measure_s
        inner, outer = os.pipe()
        try:
            process = spawn(
                [self._program, *map(str, (port, connections, warm_s, measure_s, pace_ms)), self._file],
                environ=os.environ,
                death_signal=signal.SIGKILL,
                output=outer,
            )
        finally:
            os.close(outer)
        with os.fdopen(inner, encoding="utf-8", errors="replace") as said:
            try:
                first = await to_thread(said.readline)
                before = {name: cpu_s(pid) for name, pid in watched.items()}
                last = await to_thread(said.readline)
                after = {name: cpu_s(pid) for name, pid in watched.items()}
            finally:
                # First, so that a thread that still reads comes to the end of the file.
                process.kill()
                process.wait()
        return _figures(first, last, {name: after[name] - before[name] for name in watched})


def _figures(first: str, last: str, cpu: Mapping[str, float]) -> Figures:
    if first.strip() != "measuring" or not last.startswith("{"):
        raise NotMeasured(f"the client stopped: {(first + last).strip()}")
    told = json.loads(last)
    count = told["requests"]
    if told["failures"]:
        raise NotMeasured(f"{told['failures']} answers were not 200, the first: {told['first_failure'].strip()}")
    if not count:
        raise NotMeasured("no request was answered in the time of the measurement")
    return {
        "per_s": count / told["seconds"],
        "p50_us": told["p50_us"],
        "p99_us": told["p99_us"],
        **{f"{name}_us": seconds * 1e6 / count for name, seconds in cpu.items()},
        "client_us": told["cpu_s"] * 1e6 / count,
    }
