"""A delivery day lived through once more, from the rows of its event log alone.

What lives here: what each row does to the bids, and the rules that a log keeps (market rules, "The sequence"). What
must not: the tables that say the same (audit_book.py), the auction (audit_auction.py), any code of the server's book.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from market.audit_rows import Findings, LoggedRow, name_bid
from market.slots import SLOTS


class _BrokenRule(Exception):
    """A row that cannot be; the text continues a sentence that begins with its event."""


@dataclass(slots=True)
class AccountDay:
    """What an account did that day: its side, the numbers of its first and last event in its own sequence, and how many
    of its bids stand."""

    side: str
    first_account_seq: int
    last_account_seq: int
    open_bids: int = 0


class Bids:
    """All bids ever placed, as columns in the order of their events: a million take some 50 MB. A bid is named by its
    place in them. `priorities` holds the event of the last change, else of the placement."""

    def __init__(self) -> None:
        self.seqs = array("q")
        self.priorities = array("q")
        self.accounts = array("q")
        self.prices = array("q")
        self.volumes = array("q")
        self.slots = bytearray()
        self.is_sell = bytearray()
        self.is_withdrawn = bytearray()

    def __len__(self) -> int:
        return len(self.seqs)

    def find(self, seq: int) -> int | None:
        """The place of the bid that an event placed; None if it placed none."""
        place = bisect_left(self.seqs, seq)
        return place if place < len(self.seqs) and self.seqs[place] == seq else None

    def standing(self) -> Iterator[int]:
        """The places of all bids that were not withdrawn."""
        return (place for place, is_gone in enumerate(self.is_withdrawn) if not is_gone)

    def extend(self, row: LoggedRow, account_id: int) -> None:
        """Add what a checked placement placed."""
        count = len(row.slots)
        self.seqs.extend(range(row.first_seq, row.last_seq + 1))
        self.priorities.extend(range(row.first_seq, row.last_seq + 1))
        self.accounts.extend([account_id] * count)
        self.prices.extend(row.prices)
        self.volumes.extend(row.volumes)
        self.slots.extend(row.slots)
        self.is_sell.extend([row.side == "S"] * count)
        self.is_withdrawn.extend(bytes(count))


class Replay:
    """The day after the rows that were given to `apply`, in the order of their first events.

    `seq` is the last event, `state` open, closed or cleared; `clear` is the row that says what the auction came to.
    Whatever breaks a rule becomes one of `findings`, and a row that can mean nothing is left out.
    """

    def __init__(self, delivery_day: date, findings: Findings) -> None:
        self.delivery_day = delivery_day
        self.findings = findings
        self.seq = 0
        self.state = "open"
        self.bids = Bids()
        self.accounts: dict[int, AccountDay] = {}
        self.clear: LoggedRow | None = None

    def apply(self, row: LoggedRow) -> None:
        """Do what the row did."""
        try:
            self._follow(row)
            self._do(row)
        except _BrokenRule as fault:
            self.findings.add(f"event {row.first_seq} {fault}; it is left out")

    def _follow(self, row: LoggedRow) -> None:
        expected = self.seq + 1
        if row.first_seq < expected:
            raise _BrokenRule(f"follows on event {self.seq}")
        if row.first_seq > expected:
            missing = (
                f"event {expected} is"
                if row.first_seq == expected + 1
                else f"events {expected} to {row.first_seq - 1} are"
            )
            self.findings.add(f"{missing} missing from the log")
        self.seq = max(row.first_seq, row.last_seq)
        if not len(row.slots) == len(row.prices) == len(row.volumes):
            raise _BrokenRule(f"has {len(row.slots)} slots, {len(row.prices)} prices and {len(row.volumes)} volumes")
        count = len(row.slots) if row.kind == "place" else 1
        if row.last_seq - row.first_seq + 1 != count:
            raise _BrokenRule(f"is in a row of {count} events that ends with event {row.last_seq}")

    def _do(self, row: LoggedRow) -> None:
        if row.kind == "clear":
            self._clear(row)
        elif self.state != "open":
            raise _BrokenRule(f"is of kind {row.kind!r} and comes after the gate")
        elif row.kind == "close":
            _check_anonymous(row)
            if row.slots:
                raise _BrokenRule("closes the gate, and changes the book")
            self.state = "closed"
        elif row.kind == "place":
            self._place(row)
        elif row.kind == "change":
            self._change(row)
        elif row.kind == "withdraw":
            self._withdraw(row)
        else:
            raise _BrokenRule(f"is of the unknown kind {row.kind!r}")

    def _clear(self, row: LoggedRow) -> None:
        if self.state == "open":
            raise _BrokenRule("clears a day whose gate is open")
        if self.state == "cleared":
            raise _BrokenRule("clears the day a second time")
        _check_anonymous(row)
        self.state = "cleared"
        self.clear = row

    def _place(self, row: LoggedRow) -> None:
        if not row.slots:
            raise _BrokenRule("places nothing")
        if row.bid_seq is not None:
            raise _BrokenRule("places bids, and names one that is there")
        if not 1 <= min(row.slots) <= max(row.slots) <= SLOTS:
            raise _BrokenRule("places a bid for a slot that does not exist")
        if min(row.volumes) <= 0:
            raise _BrokenRule("places a bid without volume")
        account_id, account = self._account(row)
        self.bids.extend(row, account_id)
        account.open_bids += len(row.slots)

    def _change(self, row: LoggedRow) -> None:
        if len(row.slots) != 2:
            raise _BrokenRule(f"changes a bid, and has {len(row.slots)} elements instead of 2")
        if row.volumes[1] <= 0:
            raise _BrokenRule("leaves a bid without volume")
        place, _ = self._take(row)
        self.bids.prices[place], self.bids.volumes[place] = row.prices[1], row.volumes[1]
        self.bids.priorities[place] = row.first_seq

    def _withdraw(self, row: LoggedRow) -> None:
        if len(row.slots) != 1:
            raise _BrokenRule(f"withdraws a bid, and has {len(row.slots)} elements instead of 1")
        place, account = self._take(row)
        self.bids.is_withdrawn[place] = True
        self.bids.priorities[place] = row.first_seq
        account.open_bids -= 1

    def _take(self, row: LoggedRow) -> tuple[int, AccountDay]:
        """The place of the bid that a change or a withdrawal names, which must be open and the account's own."""
        bids, name = self.bids, name_bid(self.delivery_day, row.bid_seq or 0)
        what = "withdrawal" if row.kind == "withdraw" else "change"
        place = None if row.bid_seq is None else bids.find(row.bid_seq)
        if place is None:
            raise _BrokenRule(f"is a {what} of {name}, which was never placed")
        if bids.accounts[place] != row.account_id:
            raise _BrokenRule(
                f"is a {what} by account {row.account_id} of {name}, which is account {bids.accounts[place]}'s"
            )
        if bids.is_withdrawn[place]:
            raise _BrokenRule(f"is a {what} of {name}, which was withdrawn before")
        _, account = self._account(row)
        stood = bids.slots[place], bids.prices[place], bids.volumes[place]
        taken = row.slots[0], row.prices[0], -row.volumes[0]
        if taken != stood:
            # What it left the bid as is still what everybody read.
            self.findings.add(
                f"event {row.first_seq} takes {_shown(taken)} from {name}, which stood as {_shown(stood)}"
            )
        if row.slots[-1] != bids.slots[place]:
            raise _BrokenRule(f"moves {name} from slot {bids.slots[place]} to slot {row.slots[-1]}")
        return place, account

    def _account(self, row: LoggedRow) -> tuple[int, AccountDay]:
        """Whose the row is, brought up to its number in the account's own sequence."""
        if row.account_id is None or row.account_seq is None:
            raise _BrokenRule("is no account's")
        if row.side is None or row.side not in ("B", "S"):
            raise _BrokenRule(f"is of side {row.side!r}")
        account = self.accounts.get(row.account_id)
        if account is None:
            account = AccountDay(row.side, row.account_seq, row.account_seq)
            self.accounts[row.account_id] = account
        elif row.side != account.side:
            # Sells are a prosumer's and buys a consumer's (market rules, "Terms").
            raise _BrokenRule(f"is of the other side than what account {row.account_id} did before")
        elif row.account_seq <= account.last_account_seq:
            self.findings.add(
                f"event {row.first_seq} has number {row.account_seq} of account {row.account_id}'s own sequence, after "
                f"number {account.last_account_seq}"
            )
        account.last_account_seq = max(account.last_account_seq, row.account_seq)
        return row.account_id, account


def _check_anonymous(row: LoggedRow) -> None:
    if row.account_id is not None or row.account_seq is not None or row.bid_seq is not None or row.side is not None:
        raise _BrokenRule(f"is of kind {row.kind!r}, and somebody's")


def _shown(bid: Sequence[int]) -> str:
    slot, price, volume = bid
    return f"{volume} at {price} in slot {slot}"
