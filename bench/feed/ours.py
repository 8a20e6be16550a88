"""Shakti as a contender of the feed: started as users start it, its book written by real bids.

What lives here: settings, accounts, the writer, where subscribers connect. What must not: measuring.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.feed.bids import BIDS_A_TICK, Writer
from bench.feed.client import Target
from bench.feed.contenders import Serving
from bench.ground import Ground
from bench.shakti import Shakti

# All subscribers come from one machine, with one token; every server of a run signs up the same numbers, and they share
# a Redis.
_ENVIRONMENT = {
    "SHAKTI_FEED_CONNECTIONS_PER_ACCOUNT": "100000",
    "SHAKTI_FEED_CONNECTIONS_PER_ADDRESS": "100000",
    "SHAKTI_LIMITS_OTP_PER_NUMBER": "1000000",
    "SHAKTI_LIMITS_OTP_PER_NUMBER_DAY": "1000000",
    "SHAKTI_MARKET_MAX_OPEN_BIDS": "1000000000",
}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ours:
    """A Shakti that runs, somebody who places, and a book that is full already."""

    shakti: Shakti
    writer: Writer
    target: Target

    @property
    def serving(self) -> Serving:
        """It as a contender."""
        return Serving(self.target, tuple(self.shakti.workers), self.writer.go)


@asynccontextmanager
async def ours(ground: Ground, *, workers: int = 1, bids_a_tick: int = BIDS_A_TICK) -> AsyncIterator[Ours]:
    """A fresh server on a database of its own."""
    async with Shakti(ground, f"feed_{next(_numbers)}", workers=workers, environ=_ENVIRONMENT) as shakti:
        sellers, buyers = await shakti.sign_up(1), await shakti.sign_up(1, "consumer")
        target = Target(
            shakti.port,
            "/ws",
            headers=("Sec-WebSocket-Protocol: bidbook.v1", f"Authorization: Bearer {sellers[0].token}"),
            subscribe='{"op":"subscribe","id":1,"ch":"book"}',
            ready='{"t":"snap"',
        )
        async with Writer(shakti.url, [*sellers, *buyers], bids_a_tick) as writer:
            await writer.fill()
            yield Ours(shakti, writer, target)


@asynccontextmanager
async def serving(ground: Ground) -> AsyncIterator[Serving]:
    """It as a contender of the fan-out."""
    async with ours(ground) as running:
        yield running.serving
