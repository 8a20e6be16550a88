"""The decisions of a batch, against a plain re-count of everything that was ever decided."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.batch import MAX_LEVEL_TICKS, Batch, HeldAccount, HeldBid, added_volume, growing_levels
from storage.commands import Amend, Change, Place, Withdraw
from storage.errors import BidNotFound, BidNotOpen, BookError, GateClosed, LevelFull, TooManyOpenBids

DAY = date(2026, 11, 23)


def new_batch(**more: Any) -> Batch:
    accounts = {account: HeldAccount(0, 0) for account in (1, 2, 3, 7, 8)}
    settings = {"is_open": True, "max_open_bids": 100, "held": {}, "accounts": accounts}
    return Batch(DAY, 0, 0, **{**settings, **more})


def one(price: int = 400, volume: int = 1000, side: str = "S") -> Place:
    return Place(side, [41], [price], [volume])


def test_a_placement_takes_one_event_for_each_bid() -> None:
    batch = new_batch()
    receipt = batch.apply(7, Place("S", [1, 2, 3], [400, 401, 402], [10, 20, 30]))
    assert (receipt.seq, [bid.bid_seq for bid in receipt.bids]) == (3, [1, 2, 3])
    assert [(row.first_seq, row.last_seq, row.kind) for row in batch.rows] == [(1, 3, "place")]
    assert batch.accounts[7] == HeldAccount(last_seq=1, open_bids=3, first_seq=1)


def test_a_closed_gate_refuses_all_and_does_nothing() -> None:
    batch = new_batch(is_open=False, held={1: HeldBid(7, "S", 41, 400, 10, False)})
    for change in (one(), Amend(1, 500, None), Withdraw(1)):
        with pytest.raises(GateClosed):
            batch.apply(7, change)
    assert batch.rows == []


def test_another_account_s_bid_does_not_exist_even_after_the_gate() -> None:
    for is_open in (True, False):
        batch = new_batch(is_open=is_open, held={1: HeldBid(7, "S", 41, 400, 10, False)})
        for change in (Amend(1, 500, None), Withdraw(1), Withdraw(2)):
            with pytest.raises(BidNotFound):
                batch.apply(8, change)


def test_of_a_change_and_a_withdrawal_in_one_batch_the_later_finds_what_the_earlier_left() -> None:
    batch = new_batch(held={1: HeldBid(7, "S", 41, 400, 10, False)})
    batch.last_seq = 1
    batch.accounts[7].open_bids = 1
    batch.apply(7, Withdraw(1))
    with pytest.raises(BidNotOpen):
        batch.apply(7, Amend(1, 500, None))
    assert [(row.kind, row.first_seq) for row in batch.rows] == [("withdraw", 2)]
    assert batch.accounts[7].open_bids == 0


def test_too_many_open_bids_refuse_the_whole_placement() -> None:
    batch = new_batch(max_open_bids=3, accounts={7: HeldAccount(0, 2)})
    with pytest.raises(TooManyOpenBids, match="may hold 3 open bids for a delivery day; 2 are open"):
        batch.apply(7, Place("S", [1, 2], [400, 400], [10, 10]))
    assert batch.rows == []
    batch.apply(7, one())


def test_a_level_may_be_full_to_the_last_tick_and_no_further() -> None:
    batch = new_batch(levels={(41, "S", 400): MAX_LEVEL_TICKS - 1000})
    batch.apply(7, one(400, 1000))
    with pytest.raises(LevelFull):
        batch.apply(7, one(400, 1))
    batch.apply(7, one(401, 1))
    with pytest.raises(LevelFull):
        batch.apply(7, Place("S", [42, 42], [400, 400], [MAX_LEVEL_TICKS, 1]))


def test_a_refused_change_leaves_its_level_as_it_was() -> None:
    held = {1: HeldBid(7, "S", 41, 400, 500, False)}
    batch = new_batch(held=held, levels={(41, "S", 400): 500, (41, "S", 401): MAX_LEVEL_TICKS})
    with pytest.raises(LevelFull):
        batch.apply(7, Amend(1, 401, None))
    assert batch.levels == {(41, "S", 400): 500, (41, "S", 401): MAX_LEVEL_TICKS}
    assert (held[1].price, held[1].seq, batch.rows) == (400, 0, [])


CHANGES = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.one_of(
            st.builds(
                lambda side, bids: Place(side, [b[0] for b in bids], [b[1] for b in bids], [b[2] for b in bids]),
                st.sampled_from("BS"),
                st.lists(st.tuples(st.integers(1, 2), st.integers(-2, 2), st.integers(1, 5)), min_size=1, max_size=4),
            ),
            st.builds(Amend, st.integers(1, 12), st.integers(-2, 2) | st.none(), st.integers(1, 5) | st.none()),
            st.builds(Withdraw, st.integers(1, 12)),
        ),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=300)
@given(CHANGES)
def test_the_events_add_up_to_the_bids(changes: list[tuple[int, Change]]) -> None:
    batch = new_batch(max_open_bids=8)
    bids: dict[int, HeldBid] = {}
    for account, change in changes:
        # What the writer loads: the bids that exist by now.
        batch.held = bids
        try:
            receipt = batch.apply(account, change)
        except BookError:
            continue
        for bid in receipt.bids:
            seq = bids[bid.bid_seq].seq if bid.bid_seq in bids else 0
            bids[bid.bid_seq] = HeldBid(account, bid.side, bid.slot, bid.price, bid.volume, bid.is_withdrawn, seq)

    expected: dict[tuple[int, str, int], tuple[int, int]] = {}
    for held in bids.values():
        if not held.is_withdrawn:
            key = (held.slot, held.side, held.price)
            volume, count = expected.get(key, (0, 0))
            expected[key] = (volume + held.volume, count + 1)
    built: dict[tuple[int, str, int], tuple[int, int]] = {}
    next_seq = 1
    own: dict[int | None, list[int | None]] = {}
    for row in batch.rows:
        assert row.first_seq == next_seq
        next_seq = row.last_seq + 1
        own.setdefault(row.account_id, []).append(row.account_seq)
        for slot, price, volume in zip(row.slots, row.prices, row.volumes, strict=True):
            key = (slot, row.side or "", price)
            total, count = built.get(key, (0, 0))
            built[key] = (total + volume, count + (1 if volume > 0 else -1))
    assert next_seq == batch.last_seq + 1
    # Each account's own numbers are 1, 2, 3, ... with one for every request that did something.
    assert own == {account: list(range(1, len(numbers) + 1)) for account, numbers in own.items()}
    assert {account: held.last_seq for account, held in batch.accounts.items() if held.first_seq} == {
        account: len(numbers) for account, numbers in own.items()
    }
    assert {key: level for key, level in built.items() if level != (0, 0)} == expected
    for account in (1, 2, 3):
        is_open = [held for held in bids.values() if held.account_id == account and not held.is_withdrawn]
        assert batch.accounts[account].open_bids == len(is_open) <= 8


def test_growing_levels_names_every_level_that_may_grow() -> None:
    held = {1: HeldBid(7, "S", 41, 400, 500, False)}
    changes: list[Change] = [one(410, 3, "B"), Amend(1, 401, None), Amend(1, None, 9), Amend(5, 1, 1)]
    assert growing_levels(changes, held) == {(41, "B", 410), (41, "S", 400), (41, "S", 401)}
    assert added_volume(changes, held) == 3 + 500 + 9
