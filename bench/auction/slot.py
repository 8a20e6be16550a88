"""One slot: its auction beside the floor under it, and beside the clearing of two libraries.

What lives here: who clears, timing them, that they clear the same, and the lines. What must not: what is cleared
(books.py), or how a peer is called (peers/).
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.auction.books import Book, make_book
from bench.lines import Goal, Line, at_least, at_most
from bench.options import Options
from bench.processes import Child
from bench.rounds import Figures, Measure, Measured, NotMeasured, interleave, say
from bench.tools import BUILD, python_venv
from market.auction import Auction, Offers, auction
from market.clearing import PriceRule

NAME = "auction"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SHAKTI, FLOOR, ASSUME, PYMARKET = "Shakti", "NumPy sort + cumulative sum", "assume-framework", "pymarket"
_PEERS = {ASSUME: "assume", PYMARKET: "pymarket"}
_GOALS: dict[tuple[str, int], Goal] = {(FLOOR, 1_000_000): at_most(2), (ASSUME, 10_000): at_least(200)}
_NOTES = {
    FLOOR: "Of the same four arrays np.sort(prices) and np.cumsum(volumes), each by itself. That leaves out what an "
    "auction is: volumes in the order of their prices, the crossing, the interval, who is filled how much.",
    ASSUME: "The clear() of its pay-as-clear market for one product, on order dictionaries that are made before. It "
    "fills bids, in whole ones as far as they go. Each contender has to clear the same volume at the same price.",
    PYMARKET: "Its demand curve, its supply curve and their intersection, on a table of bids that is made before: "
    "volume and price; nobody is filled. None of its mechanisms (huang, muda, p2p) clears everybody at one price.",
}
_FEWEST_CALLS = 5
_HERE = Path(__file__).parent


async def run_slot(options: Options) -> list[Line]:
    """The lines, from small books to large ones, which a peer is not asked for when they would take it too long."""
    lines: list[Line] = []
    given_up: dict[str, str] = {}
    for size in SIZES:
        say(f"  one slot, {size:,} bids:")
        book = make_book(size)
        measures: dict[str, Measure] = {
            SHAKTI: partial(_ours, options, book),
            FLOOR: partial(_time, options, partial(floor, book)),
            **{name: partial(_ask, options, name, book, given_up.get(name)) for name in _PEERS},
        }
        measured = await interleave(measures, options.rounds)
        given_up |= {name: why for name in _PEERS if (why := _why_no_more(options, measured, name, size))}
        lines += lines_of(measured, size)
    return lines


def clear(book: Book) -> Auction:
    """Ours, from plain columns to what every bid is filled."""
    buys = Offers(book.buys.prices, book.buys.volumes)
    sells = Offers(book.sells.prices, book.sells.volumes)
    return auction(buys, sells, PriceRule.MIDPOINT)


def floor(book: Book) -> None:
    """The least that has to be done with the same columns."""
    for side in (book.buys, book.sells):
        np.sort(side.prices)
        np.cumsum(side.volumes)


def check(book: Book, volume: float, price: float) -> None:
    """Raises NotMeasured when a contender cleared something else."""
    right = book.clearing
    if volume != right.volume or not right.lo <= price <= right.hi:
        raise NotMeasured(
            f"it cleared {volume:,.0f} at {price:g}; {right.volume:,} at {right.lo} to {right.hi} was right"
        )


def lines_of(measured: Measured, size: int) -> Sequence[Line]:
    """Of one size: times beside the floor, bids a second beside the peers."""
    what = f"one slot, {size:,} bids"
    ours, least = measured.median(SHAKTI, "ms"), measured.median(FLOOR, "ms")

    def note(peer: str) -> str:
        return measured.reason(SHAKTI, peer) or _NOTES[peer]

    def per_s(ms: float | None) -> float | None:
        return None if ms is None else size / ms * 1000

    return [
        Line(NAME, what, "ms", ours, FLOOR, least, _GOALS.get((FLOOR, size)), note(FLOOR)),
        *(
            Line(
                NAME,
                what,
                "bids/s",
                per_s(ours),
                peer,
                per_s(measured.median(peer, "ms")),
                _GOALS.get((peer, size)),
                note(peer),
            )
            for peer in _PEERS
        ),
    ]


async def _ours(options: Options, book: Book) -> Figures:
    found = clear(book)
    price = found.clearing.price if found.clearing else 0
    for filled in (found.bought, found.sold):
        check(book, int(filled.sum()), price)
    return await _time(options, partial(clear, book))


async def _time(options: Options, call: Callable[[], object]) -> Figures:
    """The median of many calls. The first shows how it is without what the first brings about."""
    call()
    times: list[float] = []
    while len(times) < _FEWEST_CALLS or sum(times) < options.measure_s / 5:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return {"ms": statistics.median(times) * 1000}


def _patience_s(options: Options) -> float:
    """How long a peer may take for a book, with its start."""
    return 15.0 if options.is_quick else 300.0


def _why_no_more(options: Options, measured: Measured, name: str, size: int) -> str:
    """Why a peer is not asked for the next book, which is ten times as large; empty when it is."""
    if name in measured.reasons:
        return measured.reasons[name]
    ms = measured.median(name, "ms")
    if ms is not None and ms / 1000 * 10 > _patience_s(options):
        return f"{name} took {ms / 1000:.0f} s for {size:,} bids, so it was not asked for more."
    return ""


async def _ask(options: Options, name: str, book: Book, given_up: str | None) -> Figures:
    """What a peer tells of itself, in an environment and a process of its own."""
    if given_up is not None:
        raise NotMeasured(given_up)
    patience_s = _patience_s(options)
    place = _HERE / "peers" / _PEERS[name]
    python = python_venv(place / "requirements.txt")
    file, log = BUILD / "auction" / f"{book.count}.npz", BUILD / "auction" / f"{_PEERS[name]}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    book.write(file)
    log.unlink(missing_ok=True)
    child = Child([python, place / "clear.py", file, str(options.measure_s / 5)], log=log, cwd=file.parent)
    try:
        code = await child.wait(patience_s)
    except NotMeasured:
        raise NotMeasured(f"{name} did not finish {book.count:,} bids within {patience_s:.0f} s.") from None
    finally:
        child.stop()
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    if code:
        raise NotMeasured(f"{name} ended with exit code {code}: {said[-1000:]}")
    told = json.loads(said.splitlines()[-1])
    check(book, told["volume"], told["price"])
    return {"ms": told["seconds"] * 1000}
