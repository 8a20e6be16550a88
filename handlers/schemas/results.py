"""Requests about results and trades, and how both are shown.

What lives here: their schemas, and decimals as texts. What must not: where results are kept, or CSV (tables.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from handlers.schemas.base import RequestSchema
from handlers.schemas.bids import PAGE_LIMIT, BidsQuerySchema, Day
from handlers.schemas.fields import Number
from market.bid_ids import bid_id
from market.slots import format_slot
from market.ticks import Tick, amount
from storage.results import ClearedDay, ClearedSlot, Trade, TradeTotals

# The columns of the tables, in their order.
SLOT_COLUMNS: Final = (
    "timeslot",
    "clearingPrice",
    "low",
    "high",
    "clearedVolume",
    "buyVolume",
    "sellVolume",
    "buyBids",
    "sellBids",
)
TRADE_COLUMNS: Final = ("id", "timeslot", "side", "volume", "price", "amount")
_DAY: Final = "The last cleared day when left out"


@dataclass(frozen=True, slots=True)
class ResultsQuery:
    day: date | None = None


class ResultsQuerySchema(RequestSchema[ResultsQuery]):
    target = ResultsQuery
    day = Day(data_key="deliveryDate", required=False, metadata={"description": _DAY})


class TradesQuerySchema(BidsQuerySchema):
    """As bids are listed, but of another day when none is named. CSV has no pages."""

    day = Day(data_key="deliveryDate", required=False, metadata={"description": _DAY})
    limit = Number(
        low=1,
        high=PAGE_LIMIT,
        is_whole=True,
        required=False,
        metadata={"description": "Trades a page; 500 when left out", "example": 500},
    )


class ResultsView(NamedTuple):
    """Shows results and trades in JSON: prices in INR per kWh, volumes in kWh, amounts in INR, all as decimal texts."""

    price_tick: Tick
    volume_tick: Tick

    def show_day(self, day: ClearedDay, slots: Sequence[ClearedSlot]) -> dict[str, Any]:
        """All slots of a day, and what they come to together."""
        turnover = sum(slot.price * slot.volume for slot in slots if slot.price is not None)
        return {
            "deliveryDate": day.delivery_day.isoformat(),
            "state": "cleared",
            "seq": day.seq,
            "clearedAt": day.cleared_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "priceRule": day.price_rule,
            "slots": self.show_slots(slots),
            "totals": {
                "clearedVolume": self._volume(sum(slot.volume for slot in slots)),
                "turnover": self._sum(turnover),
                "buyVolume": self._volume(sum(slot.buy_volume for slot in slots)),
                "sellVolume": self._volume(sum(slot.sell_volume for slot in slots)),
            },
        }

    def show_slots(self, slots: Iterable[ClearedSlot]) -> list[dict[str, Any]]:
        """Slots one by one; a price is null where nothing cleared."""
        return [
            {
                "timeslot": format_slot(slot.slot),
                "clearingPrice": self._price(slot.price),
                "low": self._price(slot.low),
                "high": self._price(slot.high),
                "clearedVolume": self._volume(slot.volume),
                "buyVolume": self._volume(slot.buy_volume),
                "sellVolume": self._volume(slot.sell_volume),
                "buyBids": slot.buy_bids,
                "sellBids": slot.sell_bids,
            }
            for slot in slots
        ]

    def show_trades(self, delivery_day: date, trades: Iterable[Trade]) -> list[dict[str, Any]]:
        """Filled bids as their owner sees them."""
        return [
            {
                "id": bid_id(delivery_day, trade.bid_seq),
                "timeslot": format_slot(trade.slot),
                "side": "sell" if trade.side == "S" else "buy",
                "volume": self._volume(trade.volume),
                "price": self._price(trade.price),
                "amount": amount(trade.price, trade.volume, *self),
            }
            for trade in trades
        ]

    def show_totals(self, totals: TradeTotals) -> dict[str, str]:
        """What trades come to together."""
        return {"volume": self._volume(totals.volume), "amount": self._sum(totals.amount)}

    def show_transactions(self, trades: Iterable[Trade]) -> list[dict[str, Any]]:
        """Filled bids in the words of the first web client."""
        return [
            {
                "TimeSlot": format_slot(trade.slot),
                "Volume": self._volume(trade.volume),
                "Price": self._price(trade.price),
            }
            for trade in trades
        ]

    def _price(self, ticks: int | None) -> str | None:
        return None if ticks is None else self.price_tick.format(ticks)

    def _volume(self, ticks: int) -> str:
        return self.volume_tick.format(ticks)

    def _sum(self, product: int) -> str:
        """A sum of products of ticks: one price tick, so many volume ticks."""
        return amount(1, product, *self)


def why_no_results(delivery_day: date, state: str | None, gate_at: datetime, now: datetime) -> str:
    """Why a day that is not cleared has no results, and when it will. `state` is open, closed, or None for a day that
    the log does not know; both instants in UTC."""
    day, gate = delivery_day.isoformat(), gate_at.isoformat().replace("+00:00", "Z")
    if now < gate_at and state != "closed":
        return f"The results of {day} come after its gate closes at {gate}"
    if state is None:
        return f"{day} was never traded: nobody had bid when its gate closed at {gate}"
    return f"The gate of {day} closed at {gate}; its results come once its auction is done, so ask again in a moment"
