"""The audit on a day that was worked out on paper: it agrees, and whatever is changed anywhere is found and named."""

from collections.abc import Callable
from typing import Any

import pytest

from market.audit import ResultAudit, Totals
from market.audit_book import BookAudit
from market.audit_replay import Replay
from market.audit_rows import ChangedBid, CountedAccount, Findings, LoggedRow, Position, name_bid
from market.bid_ids import bid_id
from market.clearing import PriceRule
from tests.audited_day import DAY, PaperDay

Tamper = Callable[[PaperDay], Any]


def replayed(day: PaperDay) -> Replay:
    replay = Replay(DAY, Findings())
    for row in day.log:
        replay.apply(row)
    return replay


def audited(day: PaperDay) -> tuple[list[str], Totals | None]:
    """What is found, and what the day came to."""
    replay = replayed(day)
    book = BookAudit(replay)
    book.day(day.state, day.last_seq)
    for changed in day.changed:
        book.changed_bid(changed)
    for account in day.accounts:
        book.account_day(account)
    book.end()
    if day.cleared_seq is None and replay.clear is None:
        return replay.findings.texts, None
    results = ResultAudit(replay, PriceRule(day.price_rule))
    results.cleared_day(day.cleared_seq)
    for fill in day.fill_rows:
        results.fill(fill)
    results.settle(day.slots.values())
    for position in day.positions.values():
        results.position(position)
    results.end()
    return replay.findings.texts, results.totals


def log_findings(day: PaperDay) -> list[str]:
    """What is found in the log alone."""
    return replayed(day).findings.texts


def change_row(first_seq: int, **changes: Any) -> Tamper:
    """Another row in the place of the one that begins with an event."""

    def tamper(day: PaperDay) -> None:
        day.log = [row._replace(**changes) if row.first_seq == first_seq else row for row in day.log]

    return tamper


def add_row(row: LoggedRow) -> Tamper:
    """One more row at its place in the log."""

    def tamper(day: PaperDay) -> None:
        day.log = sorted([*day.log, row], key=lambda each: each.first_seq)

    return tamper


def change_slot(slot: int, **changes: Any) -> Tamper:
    """Another result of a slot."""

    def tamper(day: PaperDay) -> None:
        day.slots[slot] = day.slots[slot]._replace(**changes)

    return tamper


def change_position(account_id: int, **changes: Any) -> Tamper:
    """Another position of an account."""

    def tamper(day: PaperDay) -> None:
        day.positions[account_id] = day.positions[account_id]._replace(**changes)

    return tamper


def test_a_day_that_is_as_it_should_be_agrees() -> None:
    assert audited(PaperDay()) == ([], Totals(slots=2, volume=14, turnover=405 * 10 - 13 * 4, fills=6))


@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_day_that_is_not_cleared_yet_agrees(state: str) -> None:
    assert audited(PaperDay().until(state)) == ([], None)


@pytest.mark.parametrize(("rule", "price"), [("seller", -20), ("buyer", -5)])
def test_the_price_is_the_recorded_rules(rule: str, price: int) -> None:
    day = PaperDay(price_rule=rule)
    assert audited(day)[0] == [
        f"slot 43, 10:30-10:45: cleared_slots has price -13 instead of {price}",
        f"slot 43, 10:30-10:45: the event of the clearing says 4 at -13, not 4 at {price}",
    ]
    change_slot(43, price=price)(day)
    change_row(13, prices=[405, price])(day)
    assert audited(day)[0] == []


def test_a_day_that_nobody_used_clears_nothing() -> None:
    day = PaperDay()
    day.log = [
        LoggedRow(1, 1, "close", None, [], [], [], None, None, None),
        LoggedRow(2, 2, "clear", None, [], [], [], None, None, None),
    ]
    day.last_seq = day.cleared_seq = 2
    day.changed, day.accounts, day.fills, day.positions = [], [], {}, {}
    day.slots = {slot: row._replace(sell_volume=0, sell_bids=0) for slot, row in day.slots.items()}
    for slot in (41, 43):
        change_slot(slot, price=None, low=None, high=None, volume=0, buy_volume=0, buy_bids=0)(day)
    assert audited(day) == ([], Totals())


LOG_TAMPERINGS = {
    "a row is gone": (lambda day: day.forget(8), "event 8 is missing from the log"),
    "several are gone": (lambda day: day.forget(1, 5), "events 1 to 7 are missing from the log"),
    "an event is there twice": (
        add_row(LoggedRow(7, 7, "place", "B", [41], [405], [5], 3, 1, None)),
        "event 7 follows on event 7; it is left out",
    ),
    "a bid after the gate": (
        lambda day: day.log.insert(-1, LoggedRow(13, 13, "place", "B", [41], [405], [5], 3, 2, None)),
        "event 13 is of kind 'place' and comes after the gate; it is left out",
    ),
    "a withdrawal after the gate": (
        lambda day: day.log.insert(-1, LoggedRow(13, 13, "withdraw", "B", [41], [405], [-5], 3, 2, 8)),
        "event 13 is of kind 'withdraw' and comes after the gate",
    ),
    "a second gate": (
        lambda day: day.log.insert(-1, LoggedRow(13, 13, "close", None, [], [], [], None, None, None)),
        "event 13 is of kind 'close' and comes after the gate",
    ),
    "a second clearing": (
        add_row(LoggedRow(14, 14, "clear", None, [], [], [], None, None, None)),
        "event 14 clears the day a second time",
    ),
    "a clearing before the gate": (lambda day: day.forget(12), "event 13 clears a day whose gate is open"),
    "a gate of somebody": (change_row(12, account_id=1, account_seq=4), "event 12 is of kind 'close', and somebody's"),
    "a gate that changes the book": (
        change_row(12, slots=[41], prices=[1], volumes=[1]),
        "event 12 closes the gate, and changes the book",
    ),
    "a change of another's bid": (
        change_row(9, account_id=3),
        f"event 9 is a change by account 3 of bid {bid_id(DAY, 6)} (event 6), which is account 2's",
    ),
    "a change of what never was": (change_row(9, bid_seq=9), "event 9 is a change of bid"),
    "a change that names no bid": (change_row(9, bid_seq=None), "which was never placed"),
    "a change of another volume": (
        change_row(9, volumes=[-8, 5]),
        f"event 9 takes 8 at 405 in slot 41 from bid {bid_id(DAY, 6)} (event 6), which stood as 9 at 405 in slot 41",
    ),
    "a change of another price": (change_row(9, prices=[404, 405]), "event 9 takes 9 at 404 in slot 41 from"),
    "a change that moves the bid": (change_row(9, slots=[41, 42]), "from slot 41 to slot 42"),
    "a change of the other side": (change_row(9, side="S"), "event 9 is of the other side"),
    "a change to nothing": (change_row(9, volumes=[-9, 0]), "event 9 leaves a bid without volume"),
    "a change of one element": (
        change_row(9, slots=[41], prices=[405], volumes=[5]),
        "event 9 changes a bid, and has 1 elements instead of 2",
    ),
    "a withdrawal of another volume": (change_row(11, volumes=[-6]), "event 11 takes 6 at 390 in slot 42 from"),
    "a withdrawal of two": (
        change_row(11, slots=[42, 42], prices=[390, 390], volumes=[-7, -7]),
        "event 11 withdraws a bid, and has 2 elements instead of 1",
    ),
    "a second withdrawal": (
        lambda day: day.log.insert(-2, LoggedRow(12, 12, "withdraw", "S", [42], [390], [-7], 1, 4, 10)),
        f"event 12 is a withdrawal of bid {bid_id(DAY, 10)} (event 10), which was withdrawn before",
    ),
    "an account's number comes again": (
        change_row(11, account_seq=2),
        "event 11 has number 2 of account 1's own sequence, after number 2",
    ),
    "an account's number goes back": (
        change_row(9, account_seq=0),
        "event 9 has number 0 of account 2's own sequence, after number 1",
    ),
    "nobody's bid": (change_row(8, account_id=None, account_seq=None), "event 8 is no account's"),
    "a side that does not exist": (change_row(8, side="X"), "event 8 is of side 'X'"),
    "an account on both sides": (change_row(10, side="B"), "event 10 is of the other side than what account 1 did"),
    "a kind that does not exist": (change_row(8, kind="swap"), "event 8 is of the unknown kind 'swap'"),
    "a slot that does not exist": (change_row(8, slots=[97]), "event 8 places a bid for a slot that does not exist"),
    "a bid without volume": (change_row(8, volumes=[0]), "event 8 places a bid without volume"),
    "a placement of nothing": (change_row(8, slots=[], prices=[], volumes=[], last_seq=7), "event 8 places nothing"),
    "a placement that names a bid": (change_row(8, bid_seq=1), "event 8 places bids, and names one that is there"),
    "columns of different lengths": (change_row(8, prices=[1, 2]), "event 8 has 1 slots, 2 prices and 1 volumes"),
    "a row that ends elsewhere": (change_row(5, last_seq=6), "event 5 is in a row of 3 events that ends with event 6"),
}


@pytest.mark.parametrize(("tamper", "words"), LOG_TAMPERINGS.values(), ids=LOG_TAMPERINGS)
def test_a_log_that_breaks_a_rule_is_found(tamper: Tamper, words: str) -> None:
    day = PaperDay()
    tamper(day)
    assert any(words in text for text in log_findings(day)), log_findings(day)


BID = {seq: f"bid {bid_id(DAY, seq)} (event {seq})" for seq in range(1, 12)}
TABLE_TAMPERINGS = {
    "the state": (lambda day: setattr(day, "state", "closed"), "delivery_days has the day closed"),
    "the last event": (lambda day: setattr(day, "last_seq", 14), "delivery_days has event 14 as the last"),
    "a change is not kept": (lambda day: day.changed.pop(0), f"changed_bids lacks {BID[6]}, which event 9 changed"),
    "a change of nothing is kept": (
        lambda day: day.changed.append(ChangedBid(99, 9, 1, 1, False)),
        "(event 99), which the log does not have",
    ),
    "a bid that was not changed is kept": (
        lambda day: day.changed.append(ChangedBid(5, 5, 420, 7, False)),
        f"changed_bids has {BID[5]}, which was never changed",
    ),
    "a kept volume": (
        lambda day: day.changed.__setitem__(0, ChangedBid(6, 9, 405, 6, False)),
        f"changed_bids has {BID[6]} with volume 6 instead of 5",
    ),
    "a kept withdrawal": (
        lambda day: day.changed.__setitem__(1, ChangedBid(10, 11, 390, 7, False)),
        f"changed_bids has {BID[10]} with is_withdrawn False instead of True",
    ),
    "a count of open bids": (
        lambda day: day.accounts.__setitem__(0, CountedAccount(1, 5, 1, 3)),
        "account_days has account 1 with open_bids 5 instead of 4",
    ),
    "an account without count": (lambda day: day.accounts.pop(), "account_days lacks account 3"),
    "a count of a stranger": (
        lambda day: day.accounts.append(CountedAccount(4, 1, 1, 1)),
        "account_days has account 4, which has no event that day",
    ),
    "the day's clearing is not kept": (
        lambda day: setattr(day, "cleared_seq", None),
        "cleared_days lacks the day, which event 13 cleared",
    ),
    "another event of the clearing": (lambda day: setattr(day, "cleared_seq", 12), "cleared_days names event 12"),
    "results without a clearing": (lambda day: day.forget(13), "there are results, and the log has no event of a"),
    "the price": (change_slot(41, price=406), "slot 41, 10:00-10:15: cleared_slots has price 406 instead of 405"),
    "a price beyond a limit": (change_slot(41, price=406), f"{BID[6]} in slot 41, 10:00-10:15 trades at 406, beyond"),
    "a better limit left": (change_slot(41, price=404), f"{BID[6]} in slot 41, 10:00-10:15 is not filled whole, and"),
    "the interval": (change_slot(43, low=-19), "slot 43, 10:30-10:45: cleared_slots has low -19 instead of -20"),
    "its other end": (change_slot(43, high=-6), "slot 43, 10:30-10:45: cleared_slots has high -6 instead of -5"),
    "the volume": (change_slot(41, volume=9), "slot 41, 10:00-10:15: 10 are bought, 10 are sold, and 9 are cleared"),
    "what was offered": (change_slot(42, sell_volume=12), "cleared_slots has sell_volume 12 instead of 5"),
    "how many bids": (change_slot(41, buy_bids=2), "slot 41, 10:00-10:15: cleared_slots has buy_bids 2 instead of 3"),
    "a slot is missing": (lambda day: day.slots.pop(96), "slot 96, 23:45-24:00: cleared_slots has no row"),
    "a price where nothing cleared": (
        change_slot(1, price=5, low=5, high=5),
        "slot 1, 00:00-00:15: cleared_slots has price 5 instead of None",
    ),
    "the announcement": (
        change_row(13, volumes=[10, 5]),
        "slot 43, 10:30-10:45: the event of the clearing says 5 at -13, not 4 at -13",
    ),
    "an announced slot": (
        change_row(13, slots=[41, 44]),
        "slot 44, 10:45-11:00: the event of the clearing says 4 at -13, not that nothing cleared",
    ),
    "the order of the announcement": (
        change_row(13, slots=[43, 41], prices=[-13, 405], volumes=[4, 10]),
        "event 13 has the slots [43, 41], not each once, ascending",
    ),
    "a tick of a fill": (
        lambda day: day.fills.update({6: 2}),
        f"{BID[6]} in slot 41, 10:00-10:15: fills has 2 instead of 1",
    ),
    "the balance": (
        lambda day: day.fills.update({6: 2}),
        "slot 41, 10:00-10:15: 11 are bought, 10 are sold, and 10 are cleared",
    ),
    "the odd tick": (
        lambda day: day.fills.update({6: 2, 8: 1}),
        f"{BID[8]} in slot 41, 10:00-10:15: fills has 1 instead of 2",
    ),
    "a fill is missing": (lambda day: day.fills.pop(8), f"{BID[8]} in slot 41, 10:00-10:15: fills has nothing"),
    "a fill too many": (
        lambda day: day.fills.update({3: 1}),
        f"{BID[3]} in slot 42, 10:15-10:30: fills has 1 instead of nothing",
    ),
    "a fill of a withdrawn bid": (
        lambda day: day.fills.update({10: 1}),
        f"{BID[10]} was filled 1, and was withdrawn before the gate",
    ),
    "a fill of an event that is no bid": (
        lambda day: day.fills.update({9: 1}),
        f"{BID[9]} was filled 1, and the log does not have it",
    ),
    "a position's volume": (
        change_position(2, volumes=[7, 4]),
        "account 2's position has 7 in slot 41, 10:00-10:15 instead of 8",
    ),
    "a position's slot": (
        change_position(3, slots=[42]),
        "account 3's position has nothing in slot 41, 10:00-10:15 instead of 2",
    ),
    "a position's order": (
        change_position(1, slots=[43, 41], volumes=[4, 10]),
        "account 1's position has the slots [43, 41], not each once, ascending",
    ),
    "a position's number": (
        change_position(1, account_seq=3),
        "account 1's position has number 3 of its own sequence, and its last event before has 3",
    ),
    "a position is missing": (
        lambda day: day.positions.pop(3),
        "account 3 has a bid in the auction, and no position",
    ),
    "a position of a stranger": (
        lambda day: day.positions.update({4: Position(4, 1, [], [])}),
        "account 4 has a position, and no bid in the auction",
    ),
}


@pytest.mark.parametrize(("tamper", "words"), TABLE_TAMPERINGS.values(), ids=TABLE_TAMPERINGS)
def test_a_table_that_says_something_else_is_found(tamper: Tamper, words: str) -> None:
    day = PaperDay()
    tamper(day)
    found, _ = audited(day)
    assert any(words in text for text in found), found


def test_who_was_filled_nothing_has_an_empty_position() -> None:
    day = PaperDay()
    change_row(8, prices=[399])(day)
    # Bid 6 alone now wants what bid 5 leaves.
    day.fills = {1: 10, 4: 4, 5: 7, 6: 3, 7: 4}
    day.positions.update({2: Position(2, 3, [41, 43], [10, 4]), 3: Position(3, 2, [], [])})
    assert audited(day)[0] == []
    day.positions.pop(3)
    assert audited(day)[0] == ["account 3 has a bid in the auction, and no position"]


def test_who_withdrew_everything_has_no_position() -> None:
    day = PaperDay().until("open")
    day.log.append(LoggedRow(12, 12, "withdraw", "B", [41], [405], [-5], 3, 2, 8))
    replay = replayed(day)
    results = ResultAudit(replay, PriceRule.MIDPOINT)
    results.position(Position(3, 3, [], []))
    assert replay.findings.texts == ["account 3 has a position, and no bid in the auction"]


def test_only_the_first_findings_are_kept_and_all_are_counted() -> None:
    findings = Findings()
    for number in range(120):
        findings.add(str(number))
    assert (findings.count, len(findings.texts)) == (120, 50)


def test_a_bid_that_can_have_no_id_is_named_by_its_event() -> None:
    assert name_bid(DAY, 0) == "the bid of event 0"
