"""The time that a request has, kept for all requests on one timer.

What lives here: cutting what takes too long. What must not: what the client is told then (middlewares.py).
"""

import asyncio
from types import TracebackType

from storage.deadlines import Deadlines


class TimeLimit:
    """`with TimeLimit(limits):` cancels the running task once its time is over, and raises TimeoutError outside: what
    asyncio.timeout does, whose own timer for each request costs as much as the middlewares together."""

    __slots__ = ("_is_over", "_limits", "_task")

    def __init__(self, limits: "Deadlines[TimeLimit]") -> None:
        self._limits = limits
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        self._task = task
        self._limits.add(self)

    def cut(self) -> None:
        """The time is over."""
        self._is_over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._limits.remove(self)
        # Somebody else may have cancelled the task too; then it stays cancelled.
        if self._is_over and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from fault


def time_limits(timeout_s: float) -> Deadlines[TimeLimit]:
    """The limits of one application's requests."""
    return Deadlines(timeout_s, TimeLimit.cut)
