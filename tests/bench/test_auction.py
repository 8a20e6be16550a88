"""The auction's bench: what contenders are given, what they are held to, and the lines that come of it."""

import asyncio
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.auction import filling, slot
from bench.auction.asking import Answers, Question, asking
from bench.auction.books import make_book
from bench.auction.day_lines import HAND, lines_of
from bench.rounds import Measured, NotMeasured
from market.slots import SLOTS

PEERS = Path(slot.__file__).parent / "peers"


@pytest.mark.parametrize("count", [2, 20, 1_000])
def test_a_book_is_the_same_in_every_run_and_has_one_price(count: int) -> None:
    one, other = make_book(count), make_book(count)
    assert one.count == count
    for mine, its in ((one.buys, other.buys), (one.sells, other.sells)):
        assert np.array_equal(mine.prices, its.prices)
        assert np.array_equal(mine.volumes, its.volumes)
        assert len(mine.prices) == count // 2
    assert one.clearing == other.clearing
    assert one.clearing.lo == one.clearing.price == one.clearing.hi
    assert not np.intersect1d(one.buys.prices, one.sells.prices).size


def test_ours_clears_what_has_to_come_out() -> None:
    book = make_book(1_000)
    found = slot.clear(book)
    assert found.clearing == book.clearing
    slot.check(book, int(found.bought.sum()), book.clearing.price)


def test_another_volume_or_price_is_no_measurement() -> None:
    book = make_book(1_000)
    for volume, price in (
        (book.clearing.volume + 1, book.clearing.price),
        (book.clearing.volume, book.clearing.hi + 1),
    ):
        with pytest.raises(NotMeasured, match="it cleared"):
            slot.check(book, volume, price)


def test_peers_are_given_the_bids_that_ours_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the peers' programs import is in environments of their own; what they make of a book needs none of it.
    for name, members in {
        "assume.common.market_objects": ("MarketConfig", "MarketProduct"),
        "assume.markets.clearing_algorithms.simple": ("PayAsClearRole",),
        "dateutil": ("rrule",),
        "dateutil.relativedelta": ("relativedelta",),
        "pymarket": (),
        "pymarket.bids.demand_curves": ("demand_curve_from_bids", "intersect_stepwise", "supply_curve_from_bids"),
    }.items():
        stand_in: Any = types.ModuleType(name)
        for member in members:
            setattr(stand_in, member, None)
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(sys.modules["pymarket"], "BidManager", Bids, raising=False)
    book = make_book(1_000)
    book.write(tmp_path / "book.npz")
    read = dict(np.load(tmp_path / "book.npz"))
    ours = [
        *zip(book.buys.prices.tolist(), book.buys.volumes.tolist(), strict=True),
        *(
            (price, -volume)
            for price, volume in zip(book.sells.prices.tolist(), book.sells.volumes.tolist(), strict=True)
        ),
    ]
    orders = runpy.run_path(str(PEERS / "assume" / "clear.py"))["orders"](read)
    assert [(order["price"], -order["volume"]) for order in orders] == ours
    bids = runpy.run_path(str(PEERS / "pymarket" / "clear.py"))["table"](read)
    assert [(price, volume if is_buy else -volume) for volume, price, _user, is_buy in bids] == ours


class Bids:
    """As much of pymarket's BidManager as takes bids."""

    def __init__(self) -> None:
        self.bids: list[tuple[int, int, int, bool]] = []

    @property
    def n_bids(self) -> int:
        return len(self.bids)

    def add_bid(self, quantity: int, price: int, user: int, buying: bool) -> None:
        self.bids.append((quantity, price, user, buying))

    def get_df(self) -> list[tuple[int, int, int, bool]]:
        return self.bids


def test_lines_of_a_slot_hold_goals_against_medians() -> None:
    measured = Measured(
        {
            slot.SHAKTI: [{"ms": 2.0}, {"ms": 1.0}, {"ms": 9.0}],
            slot.FLOOR: [{"ms": 1.0}] * 3,
            slot.ASSUME: [{"ms": 500.0}] * 3,
        },
        {slot.PYMARKET: "pymarket did not finish"},
    )
    least, assume, pymarket = slot.lines_of(measured, 10_000)
    assert (least.ratio, least.goal) == (2.0, None)
    assert (assume.ours, assume.ratio, assume.verdict) == (5e6, 250.0, "met")
    assert (pymarket.ratio, pymarket.verdict, pymarket.note) == (None, "not measured", "pymarket did not finish")
    assert slot.lines_of(measured, 1_000_000)[0].verdict == "met"


def test_lines_of_a_day_have_its_parts_and_those_beside_it() -> None:
    figures = {"total_s": 8.0, "read_s": 2.0, "clear_s": 1.0, "write_s": 3.0, "busy_get_p99_us": 30.0}
    lines = lines_of(Measured({HAND: [{**figures, "idle_get_p99_us": 10.0}]}), HAND)
    assert [line.ours for line in lines[:4]] == [8.0, 2.0, 1.0, 3.0]
    assert lines[0].verdict == "met"
    (p99,) = (line for line in lines if line.what.startswith("p99 of GET"))
    assert p99.ratio == 3.0


def test_a_day_has_bids_that_cross_in_every_slot() -> None:
    prices, volumes = filling.bids()
    assert prices.shape == volumes.shape == (filling.ACCOUNTS, SLOTS)
    assert prices.size >= 1_000_000
    assert volumes.min() > 0
    sells, buys = prices[::2], prices[1::2]
    assert (buys.max(axis=0) > sells.min(axis=0)).all()
    assert np.array_equal(prices, filling.bids()[0])


async def test_a_request_that_waits_behind_another_counts_from_when_it_was_due() -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                asked += 1
                # The first one holds up those of three tenths of a second.
                await asyncio.sleep(0.3 if asked == 1 else 0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with asking(port, [Question("get", lambda: b"GET / HTTP/1.1\r\n\r\n", 0.05, 1)]) as answers:
            async with asyncio.timeout(10):
                while len(answers.times["get"]) < 8:  # noqa: ASYNC110 - nothing tells of answers but their number
                    await asyncio.sleep(0.01)
    took = [took_s for _, took_s in answers.times["get"]]
    assert took[0] >= 0.29
    assert 0.15 <= took[1] <= took[0]
    assert took[7] < 0.15


def test_an_answer_that_is_no_200_is_no_measurement() -> None:
    answers = Answers({"get": [(1.0, 0.1)]}, "get was answered 503")
    with pytest.raises(NotMeasured, match="503"):
        answers.figures(0.0, 2.0)
    with pytest.raises(NotMeasured, match="no answer"):
        Answers({"get": [(1.0, 0.1)]}).figures(2.0, 3.0)
