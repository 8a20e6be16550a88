"""Requests at fixed times while something else goes on, and how long their answers took.

What lives here: sending and timing. What must not: what is asked, or what goes on meanwhile.

A request is due at its time whether or not the one before it was answered, and if that was not, the time of its answer
counts from there: a server that stands still for a second owes every request of that second. (http_load.c waits for
answers instead, and would send few requests into such a second.)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from bench.rounds import Figures, NotMeasured


@dataclass(frozen=True, slots=True)
class Question:
    """A request by name, made anew for each sending, so many seconds apart on each of so many connections."""

    name: str
    make: Callable[[], bytes]
    every_s: float
    connections: int


@dataclass(slots=True)
class Answers:
    """When each answer was due and how long it took, in seconds of the monotonic clock; faults by the first of them."""

    times: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    fault: str = ""

    def figures(self, began: float, ended: float) -> Figures:
        """`<name>_p50_us`, `_p99_us`, `_max_us` of what was due in that time. Raises NotMeasured where an answer was
        no 200, or none was due."""
        if self.fault:
            raise NotMeasured(self.fault)
        figures: dict[str, float] = {}
        for name, times in self.times.items():
            took = [took_s * 1e6 for due, took_s in times if began <= due < ended]
            if not took:
                raise NotMeasured(f"there was no answer to {name}")
            p50, p99 = np.percentile(took, [50, 99])
            figures |= {f"{name}_p50_us": float(p50), f"{name}_p99_us": float(p99), f"{name}_max_us": max(took)}
        return figures


@asynccontextmanager
async def asking(port: int, questions: Sequence[Question]) -> AsyncIterator[Answers]:
    """Ask 127.0.0.1:`port` as long as the block lasts."""
    answers = Answers({question.name: [] for question in questions})
    began = time.monotonic()
    tasks = [
        asyncio.create_task(_ask(port, question, began + question.every_s * number / question.connections, answers))
        for question in questions
        for number in range(question.connections)
    ]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(port: int, question: Question, due: float, answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            # Where the connection was free in time, a late alarm is not the server's fault.
            if (early_s := due - time.monotonic()) > 0:
                await asyncio.sleep(early_s)
            began = time.monotonic() if early_s > 0 else due
            writer.write(question.make())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            answers.times[question.name].append((due, time.monotonic() - began))
            if not head.startswith(b"HTTP/1.1 200 "):
                said = (head.partition(b"\r\n")[0] + b" " + body[:300]).decode(errors="replace")
                answers.fault = answers.fault or f"{question.name} was answered {said}"
            due += question.every_s
    except (OSError, asyncio.IncompleteReadError, ValueError) as fault:
        answers.fault = answers.fault or f"{question.name}: the connection broke: {fault}"
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise ValueError("an answer without a length")
