"""The auction: one slot of up to a million bids beside libraries and the floor, and a whole day in PostgreSQL.

What lives here: the order of the two. What must not: either of them (slot.py, day.py).
"""

from bench.auction.day_lines import run_day
from bench.auction.slot import NAME, run_slot
from bench.lines import Line
from bench.options import Options

__all__ = ["NAME", "run"]


async def run(options: Options) -> list[Line]:
    """All lines."""
    return [*await run_slot(options), *await run_day(options)]
