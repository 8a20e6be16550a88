"""Deadlines of many things that all get the same time, on one timer.

What lives here: keeping them. What must not: what becomes of what is overdue. A timer of its own for each request, set
and cancelled, costs as much as reading the request's body.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls `overdue` with each item that is still held `timeout_s` after it was added, which removes it.

    Items are told apart by their hash. All of it happens on one event loop.
    """

    def __init__(self, timeout_s: float, overdue: Callable[[T], None]) -> None:
        self._timeout_s = timeout_s
        self._overdue = overdue
        # In the order in which they were added, hence of their deadlines.
        self._held: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T) -> None:
        """Start an item's time."""
        loop = asyncio.get_running_loop()
        self._held[item] = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._sweep)

    def remove(self, item: T) -> None:
        """Forget an item, if it is still held."""
        self._held.pop(item, None)

    def _sweep(self) -> None:
        """The timer was set for the item that was the first then; most often it is long gone, and the first one of now
        is waited for next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._held:
            item, at = next(iter(self._held.items()))
            if at > loop.time():
                self._timer = loop.call_at(at, self._sweep)
                return
            del self._held[item]
            self._overdue(item)
