"""The bids that make our updates: some 30 levels in 12 slots, ten times a second, placed as households place them.

What lives here: making bids and placing them. What must not: who listens.
"""

import asyncio
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp

from bench.feed.contenders import TICK_S, ended, ticks
from bench.rounds import NotMeasured
from bench.shakti import Account

SLOTS = range(31, 43)
# Sellers and buyers meet in these, so that every slot clears something; the book has as many levels a slot and side.
PRICES = range(400, 461)
BIDS_A_TICK = 30


def bids(number: int, count: int) -> list[dict[str, object]]:
    """The `number`-th placement: `count` bids, each at a level of its own as long as there are so many."""
    return [
        {
            "timeslot": SLOTS[index % len(SLOTS)],
            "volume": f"{60 + (number * 37 + index * 11) % 40}.{(number + index) % 1000:03}",
            "price": f"{PRICES[(number * 17 + index // len(SLOTS) * 20) % len(PRICES)] / 100:.2f}",
        }
        for index in range(count)
    ]


class Writer:
    """Places for a seller and a buyer in turn. Use `async with`."""

    def __init__(self, url: str, accounts: Sequence[Account], count: int = BIDS_A_TICK) -> None:
        """`count` bids in each placement."""
        self._url = url
        self._accounts = accounts
        self._count = count
        self._numbers = itertools.count()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._task is not None:
                await ended(self._task)
        finally:
            await self._session.close()

    async def fill(self) -> None:
        """Have a bid at every level, as a book has in the evening."""
        for account in self._accounts:
            everywhere = [
                {"timeslot": slot, "volume": "50", "price": f"{price / 100:.2f}"} for slot in SLOTS for price in PRICES
            ]
            await self._place(account, everywhere)

    async def go(self) -> None:
        """Place once a tick from now on."""
        self._task = asyncio.create_task(self._run())

    async def place(self) -> int:
        """One placement; the number of its last event."""
        number = next(self._numbers)
        return await self._place(self._accounts[number % len(self._accounts)], bids(number, self._count))

    async def _run(self) -> None:
        async for _ in ticks(TICK_S):
            await self.place()

    async def _place(self, account: Account, arr: list[dict[str, object]]) -> int:
        headers = {"Authorization": f"Bearer {account.token}"}
        async with self._session.post("/placebid/dayahead", json={"arr": arr}, headers=headers) as response:
            if response.status != 200:
                raise NotMeasured(f"a placement was answered {response.status}: {await response.text()}")
            seq: int = (await response.json())["seq"]
            return seq
