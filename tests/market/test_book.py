"""The book in memory: whatever happened to it, it is what adding up all bids again gives."""

import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from market.book import Book, BookState, BrokenLog, Indicative, Level, LogGap
from market.clearing import PriceRule
from market.depth import Tally
from market.level import Side, book_crc, indicative, slot_crc
from market.trail import Trail

Row: TypeAlias = tuple[int, int, str, str | None, list[int], list[int], list[int]]
Key: TypeAlias = tuple[int, Side, int]
MIDPOINT = PriceRule.MIDPOINT
# Few, so that bids meet on their levels; the ends of the day are among them.
SLOTS = (1, 2, 50, 96)
DAY = range(1, 97)


@dataclass
class Bids:
    """All single bids of a day and the log that they wrote: what the book must never differ from."""

    rows: list[Row] = field(default_factory=list)
    open: dict[int, tuple[Key, int]] = field(default_factory=dict)
    touched: list[tuple[int, Key]] = field(default_factory=list)
    seq: int = 0
    closed_seq: int | None = None

    def place(self, side: Side, bids: Sequence[tuple[int, int, int]]) -> None:
        first = self.seq + 1
        for slot, price, volume in bids:
            self.seq += 1
            self.open[self.seq] = ((slot, side, price), volume)
            self.touched.append((self.seq, (slot, side, price)))
        slots, prices, volumes = (list(column) for column in zip(*bids, strict=True))
        self.rows.append((first, self.seq, "place", side, slots, prices, volumes))

    def change(self, number: int, price: int, volume: int) -> None:
        bid_seq = list(self.open)[number % len(self.open)]
        old, old_volume = self.open[bid_seq]
        slot, side, old_price = old
        self.seq += 1
        self.open[bid_seq] = ((slot, side, price), volume)
        self.touched += [(self.seq, old), (self.seq, (slot, side, price))]
        self.rows.append((self.seq, self.seq, "change", side, [slot, slot], [old_price, price], [-old_volume, volume]))

    def withdraw(self, number: int) -> None:
        (slot, side, price), volume = self.open.pop(list(self.open)[number % len(self.open)])
        self.seq += 1
        self.touched.append((self.seq, (slot, side, price)))
        self.rows.append((self.seq, self.seq, "withdraw", side, [slot], [price], [-volume]))

    def close(self) -> None:
        self.seq += 1
        self.closed_seq = self.seq
        self.rows.append((self.seq, self.seq, "close", None, [], [], []))

    def aggregate(self) -> list[tuple[Level, int]]:
        """Every level that ever was, with the event that touched it last."""
        volumes: Counter[Key] = Counter()
        counts: Counter[Key] = Counter()
        for key, volume in self.open.values():
            volumes[key] += volume
            counts[key] += 1
        changed = {key: seq for seq, key in self.touched}
        return [(Level(*key, volumes[key], counts[key]), seq) for key, seq in sorted(changed.items())]

    def levels(self, slots: Collection[int] = DAY) -> list[Level]:
        return [level for level, _ in self.aggregate() if level.bids and level.slot in slots]


@st.composite
def days(draw: st.DrawFn) -> list[Bids]:
    """A day as it stands after each of its rows."""
    slots, prices, volumes = st.sampled_from(SLOTS), st.integers(-3, 3), st.integers(1, 9)
    number = st.integers(0, 99)
    steps: list[tuple[Any, ...]] = draw(
        st.lists(
            st.tuples(
                st.just("place"),
                st.sampled_from(["B", "S"]),
                st.lists(st.tuples(slots, prices, volumes), min_size=1, max_size=6),
            )
            | st.tuples(st.just("change"), number, prices, volumes)
            | st.tuples(st.just("withdraw"), number),
            max_size=20,
        )
    )
    if draw(st.booleans()):
        steps.append(("close",))
    return list(_live(steps))


def _live(steps: Sequence[Any]) -> Iterator[Bids]:
    bids = Bids()
    for name, *more in steps:
        if bids.open or name not in ("change", "withdraw"):
            getattr(bids, name)(*more)
            yield Bids(list(bids.rows), dict(bids.open), list(bids.touched), bids.seq, bids.closed_seq)


def lived(bids: Bids, rule: PriceRule = MIDPOINT) -> Book:
    book = Book(rule)
    for row in bids.rows:
        book.apply(*row)
    return book


def restored(bids: Bids, rule: PriceRule = MIDPOINT) -> Book:
    state: BookState = "open" if bids.closed_seq is None else "closed"
    return Book.restore(rule, seq=bids.seq, state=state, closed_seq=bids.closed_seq, levels=bids.aggregate())


def merged(copy: Sequence[Level], changes: Sequence[Level]) -> list[Level]:
    """What a client makes of its copy and an update."""
    kept = {level[:3]: level for level in [*copy, *changes]}
    return sorted(level for level in kept.values() if level.volume_ticks)


# Without the phase that explains a failure: it traces every line, and a failing test would not end in time.
PROPERTY = settings(deadline=None, max_examples=100, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
# How much the trail keeps beyond what it needs, and how far its marks are apart: with (0, 1) it is compacted and led
# into all the time, with (1024, 64) hardly ever in days as short as these.
TRAIL = st.sampled_from([(0, 1), (0, 2), (3, 2), (1024, 64)])
CHANCE = st.integers(0, 99).map(random.Random)
FILTER = st.lists(st.sampled_from((*SLOTS, 13)), unique=True)


@given(days(), FILTER)
@PROPERTY
def test_levels_and_state_are_those_of_adding_up_all_bids_again(day: list[Bids], slots: list[int]) -> None:
    book = Book(MIDPOINT)
    for bids in day:
        book.apply(*bids.rows[-1])
        assert book.levels() == bids.levels()
        assert book.levels(slots) == book.levels(frozenset(slots)) == bids.levels(slots)
        assert (book.seq, book.closed_seq) == (bids.seq, bids.closed_seq)
        assert book.state == ("open" if bids.closed_seq is None else "closed")


@given(days(), FILTER, CHANCE)
@PROPERTY
def test_checksums_are_those_of_the_levels_whenever_they_are_asked_for(
    day: list[Bids], slots: list[int], chance: random.Random
) -> None:
    book = Book(MIDPOINT)
    for bids in day:
        book.apply(*bids.rows[-1])
        asked = chance.choice(SLOTS)
        assert book.slot_crc(asked) == slot_crc(bids.levels([asked]))
        if chance.random() < 0.5:
            assert book.crc() == book_crc(bids.levels())
            assert book.crc(slots) == book_crc(bids.levels(), slots)


@given(days(), st.sampled_from(PriceRule), CHANCE)
@PROPERTY
def test_indicative_prices_are_those_of_the_auction_whenever_they_are_asked_for(
    day: list[Bids], rule: PriceRule, chance: random.Random
) -> None:
    book = Book(rule)
    for bids in day:
        book.apply(*bids.rows[-1])
        asked = chance.sample(SLOTS, chance.randrange(5))
        clearing = {entry.slot: entry for entry in indicative(bids.levels(), rule)}
        assert book.indicatives(asked) == [clearing.get(slot, Indicative(slot, None, 0)) for slot in sorted(asked)]


@given(days(), FILTER, TRAIL)
@PROPERTY
def test_an_update_leads_from_any_event_to_the_present(
    day: list[Bids], slots: list[int], trail: tuple[int, int]
) -> None:
    with patch("market.trail._SLACK", trail[0]), patch("market.trail._STRIDE", trail[1]):
        book = Book(MIDPOINT)
        copies = {0: list[Level]()}
        for bids in day:
            book.apply(*bids.rows[-1])
            copies[bids.seq] = book.levels()
            aggregate = bids.aggregate()
            for since in range(bids.seq + 2):
                expected = [level for level, seq in aggregate if seq > since]
                assert book.changed_since(since) == expected
                assert book.changed_since(since, slots) == [level for level in expected if level.slot in slots]
            for since, copy in copies.items():
                assert merged(copy, book.changed_since(since)) == book.levels()


@given(days(), st.integers(0, 25), st.sampled_from(PriceRule), TRAIL)
@PROPERTY
def test_a_restored_book_behaves_like_the_one_that_lived_through_it(
    day: list[Bids], point: int, rule: PriceRule, trail: tuple[int, int]
) -> None:
    with patch("market.trail._SLACK", trail[0]), patch("market.trail._STRIDE", trail[1]):
        at = day[point % len(day)] if day else Bids()
        one, other = lived(at, rule), restored(at, rule)
        assert all_that_is_known(one) == all_that_is_known(other)
        for row in day[-1].rows[len(at.rows) :] if day else []:
            one.apply(*row)
            other.apply(*row)
            assert one.levels() == other.levels()
        assert all_that_is_known(one) == all_that_is_known(other)


def all_that_is_known(book: Book) -> tuple[object, ...]:
    return (
        (book.seq, book.state, book.closed_seq, book.crc()),
        book.levels(),
        book.indicatives(SLOTS),
        [book.changed_since(since) for since in range(book.seq + 1)],
    )


def placed() -> Book:
    """Two bids on one level, one on another."""
    book = Book(MIDPOINT)
    book.apply(1, 3, "place", "S", [41, 41, 42], [425, 425, 430], [1000, 500, 70])
    return book


def test_a_level_that_is_gone_comes_as_nothing_with_no_bids() -> None:
    book = placed()
    book.apply(4, 4, "withdraw", "S", [42], [430], [-70])
    assert book.levels() == [Level(41, "S", 425, 1500, 2)]
    assert book.changed_since(3) == [Level(42, "S", 430, 0, 0)]
    assert book.slot_crc(42) == 0


def test_a_row_that_does_not_follow_is_refused_and_changes_nothing() -> None:
    for first in (1, 3, 5):
        book = placed()
        with pytest.raises(LogGap, match=f"event 3, and the row begins with event {first}"):
            book.apply(first, first, "place", "S", [41], [425], [1])
        assert book.levels() == placed().levels()
        book.apply(4, 4, "place", "S", [41], [425], [1])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((4, 4, "swap", "S", [41], [425], [1]), id="unknown kind"),
        pytest.param((4, 4, "place", "X", [41], [425], [1]), id="unknown side"),
        pytest.param((4, 4, "place", None, [41], [425], [1]), id="no side"),
        pytest.param((4, 4, "place", "S", [0], [425], [1]), id="slot 0"),
        pytest.param((4, 4, "place", "S", [97], [425], [1]), id="slot 97"),
        pytest.param((4, 4, "withdraw", "S", [97], [425], [-1]), id="withdrawn from slot 97"),
        pytest.param((4, 4, "place", "S", [41], [425], [0]), id="placed without volume"),
        pytest.param((4, 5, "place", "S", [41, 41], [425, 425], [1, -1]), id="placed with a negative volume"),
        pytest.param((4, 3, "place", "S", [], [], []), id="placed nothing"),
        pytest.param((4, 5, "place", "S", [41], [425], [1]), id="fewer bids than events"),
        pytest.param((4, 4, "place", "S", [41, 41], [425, 425], [1, 1]), id="more bids than events"),
        pytest.param((4, 5, "place", "S", [41, 41], [425], [1, 1]), id="too few prices"),
        pytest.param((4, 5, "place", "S", [41, 41], [425, 425], [1]), id="too few volumes"),
        pytest.param((4, 4, "change", "S", [41], [425], [-500]), id="changed to nothing"),
        pytest.param((4, 4, "change", "S", [41, 41], [425, 425], [-500, -500]), id="changed to a negative volume"),
        pytest.param((4, 5, "change", "S", [41, 41], [425, 426], [-500, 500]), id="one change, two events"),
        pytest.param((4, 4, "withdraw", "S", [], [], []), id="withdrawn nothing"),
        pytest.param((4, 5, "withdraw", "S", [42], [430], [-70]), id="one withdrawal, two events"),
        pytest.param((4, 4, "withdraw", "S", [42], [430], [70]), id="withdrawn a positive volume"),
        pytest.param((4, 4, "withdraw", "S", [42], [431], [-70]), id="a level that never was"),
        pytest.param((4, 4, "withdraw", "B", [42], [430], [-70]), id="a level of the other side"),
        pytest.param((4, 4, "withdraw", "S", [42], [430], [-71]), id="more volume than there is"),
        pytest.param((4, 4, "withdraw", "S", [42], [430], [-69]), id="volume without bids"),
        pytest.param((4, 4, "withdraw", "S", [41], [425], [-1500]), id="bids without volume"),
        pytest.param((4, 5, "close", None, [], [], []), id="one gate, two events"),
        pytest.param((4, 4, "clear", None, [], [], []), id="cleared before the gate"),
    ],
)
def test_a_log_that_no_bids_can_have_written_is_refused(row: Row) -> None:
    book = placed()
    with pytest.raises(BrokenLog):
        book.apply(*row)


def test_a_withdrawal_from_a_level_that_is_gone_is_refused() -> None:
    book = placed()
    book.apply(4, 4, "withdraw", "S", [42], [430], [-70])
    with pytest.raises(BrokenLog):
        book.apply(5, 5, "withdraw", "S", [42], [430], [-70])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((5, 5, "place", "S", [41], [425], [1]), id="place"),
        pytest.param((5, 5, "change", "S", [42, 42], [430, 431], [-70, 70]), id="change"),
        pytest.param((5, 5, "withdraw", "S", [42], [430], [-70]), id="withdraw"),
        pytest.param((5, 5, "close", None, [], [], []), id="close"),
    ],
)
def test_nothing_but_the_auction_follows_the_gate(row: Row) -> None:
    book = placed()
    book.apply(4, 4, "close", None, [], [], [])
    assert (book.state, book.closed_seq, book.changed_since(3)) == ("closed", 4, [])
    with pytest.raises(BrokenLog, match="the book is closed"):
        book.apply(*row)
    assert book.levels() == placed().levels()


def test_the_auction_is_the_last_event_and_changes_no_level() -> None:
    book = placed()
    book.apply(4, 4, "close", None, [], [], [])
    book.apply(5, 5, "clear", None, [41, 50], [425, -7], [30, 2])
    assert (book.seq, book.state, book.closed_seq, book.cleared_seq) == (5, "cleared", 4, 5)
    assert book.results == [Indicative(41, 425, 30), Indicative(50, -7, 2)]
    assert (book.levels(), book.changed_since(4)) == (placed().levels(), [])
    rows: list[Row] = [
        (6, 6, "clear", None, [], [], []),
        (6, 6, "close", None, [], [], []),
        (6, 6, "place", "S", [1], [1], [1]),
    ]
    for row in rows:
        with pytest.raises(BrokenLog, match="the book is cleared"):
            book.apply(*row)


@pytest.mark.parametrize(
    "level",
    [Level(41, "S", 425, -1, 1), Level(41, "S", 425, 1, -1), Level(41, "S", 425, 0, 1), Level(41, "S", 425, 1, 0)],
    ids=["negative volume", "negative count", "bids without volume", "volume without bids"],
)
def test_an_aggregate_that_no_bids_add_up_to_is_refused(level: Level) -> None:
    with pytest.raises(BrokenLog, match="no bids add up"):
        Book.restore(MIDPOINT, seq=1, state="open", closed_seq=None, levels=[(level, 1)])


def test_a_book_knows_the_events_up_to_its_own() -> None:
    assert [placed().is_known_since(seq) for seq in (-1, 0, 2, 3, 4)] == [False, True, True, True, False]


def test_an_empty_book_is_open_at_event_0() -> None:
    book = Book(MIDPOINT)
    assert (book.seq, book.state, book.closed_seq, book.levels(), book.changed_since(0)) == (0, "open", None, [], [])
    assert book.crc() == book_crc([])
    assert book.indicatives([96, 1, 1]) == [Indicative(1, None, 0), Indicative(96, None, 0)]


def test_a_trail_stays_short_however_often_its_levels_change() -> None:
    trail = Trail()
    tallies = [Tally(1, "B", price) for price in range(100)]
    for seq in range(1, 50_001):
        trail.mark(seq)
        tally = tallies[seq * 7 % 90]
        tally.seq = seq
        trail.tallies.append(tally)
    assert len(trail.tallies) <= 4 * 90 + 1024 + 1
    assert trail.since(49_995) == {tallies[seq * 7 % 90] for seq in range(49_996, 50_001)}
    assert trail.since(0) == {tallies[number] for number in range(90)}


def test_recent_changes_are_found_without_a_look_at_the_others() -> None:
    """Counted in levels looked at, not in seconds."""
    looks: list[int] = []

    class Watched(Tally):
        def __getattribute__(self, name: str) -> Any:
            if name == "seq":
                looks.append(1)
            return super().__getattribute__(name)

    trail = Trail()
    tallies = [Watched(1, "B", price) for price in range(5000)]
    for seq, tally in enumerate(tallies, start=1):
        tally.seq = seq
    trail.refill(list[Tally](tallies))
    for seq in range(5001, 5004):
        trail.mark(seq)
        tallies[seq - 5001].seq = seq
        trail.tallies.append(tallies[seq - 5001])
    looks.clear()
    assert trail.since(5000) == set(tallies[:3])
    assert len(looks) < 100
