"""An account's own events as its feed tells them, read from storage in the order of the account's sequence.

What lives here: what a `me` message says of bids, trades and readings, in ticks. What must not: who listens (own.py).
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from market.bid_ids import bid_id
from storage import account_events, readings
from storage.account_events import BidEvent, TradeEvent
from storage.database import Database
from storage.readings import ReportedReading

# Events of trades at once: each may name thousands of bids.
_MAX_TRADES: Final = 5
_WORDS: Final = {"place": "placed", "change": "changed", "withdraw": "withdrawn"}


class OwnEvent(NamedTuple):
    """One message of `me` before it is framed."""

    seq: int
    kind: str
    data: dict[str, Any]


async def read_beyond(database: Database, cursors: Mapping[int, int], limit: int) -> dict[int, list[OwnEvent]]:
    """For each account the events that follow the number it has in `cursors`, about `limit` at most, without a hole.
    Accounts without any are left out. Raises DatabaseUnavailable."""
    bids, trades, reports = await asyncio.gather(
        account_events.list_bids(database, cursors, limit),
        account_events.list_trades(database, cursors, min(limit, _MAX_TRADES)),
        readings.list_reports(database, list(cursors), list(cursors.values()), limit),
    )
    found: defaultdict[int, list[OwnEvent]] = defaultdict(list)
    for event in bids:
        found[event.account_id].append(OwnEvent(event.seq, "bid", _bids(event)))
    for trade in trades:
        found[trade.account_id].append(OwnEvent(trade.seq, "trade", _trades(trade)))
    for (account_id, seq), report in groupby(reports, attrgetter("account_id", "account_seq")):
        found[account_id].append(OwnEvent(seq, "reading", _readings(list(report))))
    return {
        account_id: chained for account_id, events in found.items() if (chained := _chain(cursors[account_id], events))
    }


def _chain(known: int, events: list[OwnEvent]) -> list[OwnEvent]:
    """The events that follow `known` one by one. Where one kind was cut at the limit, or was read a moment before the
    other, what lies beyond waits for the next reading."""
    events.sort()
    return [event for expected, event in enumerate(events, start=known + 1) if event.seq == expected]


def _bids(event: BidEvent) -> dict[str, Any]:
    if event.bid_seq is None:
        numbers = range(event.first_seq, event.last_seq + 1)
        elements = zip(numbers, event.slots, event.prices, event.volumes, strict=True)
    else:
        # The last element is what the bid became, or what was taken from the book.
        elements = zip([event.bid_seq], event.slots[-1:], event.prices[-1:], event.volumes[-1:], strict=True)
    return {
        "event": _WORDS[event.kind],
        "deliveryDate": event.delivery_day.isoformat(),
        "seq": event.last_seq,
        "bids": [
            {
                "id": bid_id(event.delivery_day, number),
                "slot": slot,
                "side": event.side,
                "price": price,
                "volume": abs(volume),
            }
            for number, slot, price, volume in elements
        ],
    }


def _trades(event: TradeEvent) -> dict[str, Any]:
    columns = (event.bid_seqs, event.slots, event.sides, event.prices, event.volumes)
    return {
        "deliveryDate": event.delivery_day.isoformat(),
        "seq": event.book_seq,
        "trades": [
            {"id": bid_id(event.delivery_day, number), "slot": slot, "side": side, "price": price, "volume": volume}
            for number, slot, side, price, volume in zip(*columns, strict=True)
        ],
    }


def _readings(report: list[ReportedReading]) -> dict[str, Any]:
    return {"date": report[0].delivery_day.isoformat(), "readings": [_reading(reading) for reading in report]}


def _reading(reading: ReportedReading) -> dict[str, Any]:
    if reading.energy_consumption is None:
        metered = {"solarGeneration": reading.solar_generation, "netEnergy": reading.net_energy}
    else:
        metered = {"energyConsumption": reading.energy_consumption}
    return {"slot": reading.slot, "revision": reading.revision, **metered, "deviation": reading.deviation}
