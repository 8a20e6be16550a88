"""The auctions of all 96 slots of a delivery day, and what they give each account.

What lives here: taking a day's bids apart by slot and side, and adding up by account. What must not: the rules of one
slot's auction (auction.py, clearing.py), reading or writing bids.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.auction import Offers, Ticks, auction
from market.clearing import Clearing, PriceRule
from market.slots import SLOTS

_BUY, _SELL = 0, 1


@dataclass(frozen=True, slots=True)
class DayBids:
    """All bids that stand when a day's gate closes, as columns in any order. `priorities` tells who was earlier: the
    smaller number; slots 1..96; prices and volumes in ticks."""

    bid_seqs: NDArray[np.int64]
    priorities: NDArray[np.int64]
    accounts: NDArray[np.int64]
    slots: NDArray[np.int16]
    is_sell: NDArray[np.bool_]
    prices: Ticks
    volumes: Ticks


@dataclass(frozen=True, slots=True)
class SlotResult:
    """What one slot's auction came to, and what was offered to it: volumes in ticks, and how many bids."""

    slot: int
    clearing: Clearing | None
    buy_volume: int
    sell_volume: int
    buy_bids: int
    sell_bids: int


@dataclass(frozen=True, slots=True)
class DayAuction:
    """What a day's auctions came to: each slot's result, and what each bid was filled, in the places of its columns."""

    slots: list[SlotResult]
    filled: Ticks


@dataclass(frozen=True, slots=True)
class Positions:
    """What each account was given, slot by slot: columns ordered by account and slot, volumes in ticks above 0.
    Accounts that took part and were given nothing are in `unfilled`."""

    accounts: NDArray[np.int64]
    slots: NDArray[np.int16]
    volumes: Ticks
    unfilled: NDArray[np.int64]


def clear_slots(bids: DayBids, rule: PriceRule) -> DayAuction:
    """Every slot's auction, independent of the others (market rules, "The auction")."""
    sides = bids.slots * 2 + bids.is_sell
    order = np.argsort(sides, kind="stable")
    ends = np.cumsum(np.bincount(sides, minlength=2 * SLOTS + 2))
    filled = np.zeros(len(bids.volumes), dtype=np.int64)
    results = []
    for slot in range(1, SLOTS + 1):
        buying, selling = (order[ends[2 * slot + side - 1] : ends[2 * slot + side]] for side in (_BUY, _SELL))
        buys, sells = _offers(bids, buying), _offers(bids, selling)
        found = auction(buys, sells, rule)
        filled[buying], filled[selling] = found.bought, found.sold
        results.append(
            SlotResult(slot, found.clearing, _total(buys.volumes), _total(sells.volumes), len(buying), len(selling))
        )
    return DayAuction(results, filled)


def positions(bids: DayBids, filled: Ticks) -> Positions:
    """What `filled` adds up to for each account in each slot."""
    taken = np.flatnonzero(filled)
    accounts, slots = bids.accounts[taken], bids.slots[taken]
    order = np.lexsort((slots, accounts))
    accounts, slots = accounts[order], slots[order]
    # Where an account's next slot begins, or the next account.
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = (accounts[1:] != accounts[:-1]) | (slots[1:] != slots[:-1])
    starts = np.flatnonzero(is_first)
    volumes = np.add.reduceat(filled[taken[order]], starts) if len(starts) else np.zeros(0, dtype=np.int64)
    if _total(volumes) != _total(filled):
        raise OverflowError("an account was filled more in one slot than 64 bits hold")
    unfilled = np.setdiff1d(bids.accounts, accounts)
    return Positions(accounts[starts], slots[starts], volumes, unfilled)


def _offers(bids: DayBids, places: NDArray[np.intp]) -> Offers:
    return Offers(bids.prices[places], bids.volumes[places], bids.priorities[places])


def _total(volumes: Ticks) -> int:
    """Their sum, which may be beyond 64 bits: halves are added up apart."""
    return (int((volumes >> 32).sum()) << 32) + int((volumes & 0xFFFFFFFF).sum())
