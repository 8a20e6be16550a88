"""One transaction of the writer: what it reads under the day's lock, what it decides, what it writes, in that order.

What lives here: the statements in their order. What must not: the rules of the book (batch.py), or what happens when
the transaction fails (writer.py).
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from market.calendar import Calendar
from storage.arrays import array_of, array_of_arrays, array_of_words
from storage.batch import MAX_LEVEL_TICKS, Batch, HeldAccount, HeldBid, added_volume, growing_levels
from storage.commands import Amend, Change, Command, Place, Withdraw
from storage.database import Connection
from storage.errors import AccountGone, BookError, KeyReused
from storage.idempotency import Scope, find_answers, scope_of
from storage.sql import QUERIES


def new_batch_id() -> int:
    """What a batch is recognised by in the log."""
    return secrets.randbits(63)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A batch that may be in the log, from `from_seq` on, or may not: nobody answered.

    One that is at large was a single statement: it may even arrive later. Of others it is certain, once the day's lock
    is had: to commit was the last that was asked of them, and they held that lock. `tell` answers the members, given
    the number of the first event.
    """

    batch_id: int
    from_seq: int
    is_at_large: bool
    tell: Callable[[int], None]


class HasLanded(Exception):
    """An earlier attempt that went unanswered is in the log: its answers hold."""

    def __init__(self, batch: Unanswered, first_seq: int) -> None:
        super().__init__(f"the batch is in the log from {first_seq} on")
        self.batch = batch
        self.first_seq = first_seq


@dataclass(slots=True)
class Attempt:
    """Commands of one delivery day on their way through one transaction.

    `answers` is what each, by its place in `commands`, is told if the transaction commits; `scopes` are what their keys
    are bound to. `base` is the day's last sequence number before it (None for a day that does not exist), and
    `first_seq` that of its first event (None while nothing is to be written).
    """

    commands: list[Command]
    # Whether somebody still waits for the command at this place: one that nobody waits for any more is not done.
    is_wanted: Callable[[int], bool] = lambda _: True
    answers: dict[int, bytes | BookError | AccountGone] = field(default_factory=dict)
    scopes: list[Scope | None] = field(init=False)
    batch_id: int = field(default_factory=new_batch_id)
    base: int | None = None
    first_seq: int | None = None
    # Set once the day's lock is held and no earlier attempt has landed: from here on this attempt is the only one.
    is_only_one: bool = False

    def __post_init__(self) -> None:
        self.scopes = [scope_of(command) for command in self.commands]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A key that a command of this attempt used first and with success: its place, and its row of the log."""

    number: int
    first_seq: int


async def write_batch(
    connection: Connection,
    day: date,
    calendar: Calendar,
    max_open_bids: int,
    attempt: Attempt,
    unanswered: Iterable[Unanswered] = (),
) -> None:
    """Do all commands of an attempt that the book allows, within the caller's transaction.

    `unanswered` are earlier attempts at them. Under the day's lock each has either landed or, when this transaction
    commits, never will: raises HasLanded if it has, before anything is decided.
    """
    batch = await _lock(connection, day, calendar, max_open_bids, attempt)
    for earlier in unanswered:
        row = await connection.fetchrow(QUERIES["book/find_batch"], day, earlier.from_seq, earlier.batch_id)
        if row is not None:
            raise HasLanded(earlier, row["first_seq"])
        if earlier.is_at_large:
            await connection.execute(QUERIES["book/abandon_batch"], earlier.batch_id)
    attempt.is_only_one = True
    await _lock_accounts(connection, batch, attempt)
    fresh = await _replay(connection, attempt)
    await _load(connection, batch, [attempt.commands[number].change for number in fresh])
    bound = _decide(batch, fresh, attempt)
    attempt.first_seq = batch.rows[0].first_seq if batch.rows else None
    await _write(connection, batch, attempt, bound)


async def _lock(connection: Connection, day: date, calendar: Calendar, max_open_bids: int, attempt: Attempt) -> Batch:
    gate_at = calendar.gate_at(day)
    row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
    if row is None and any(isinstance(command.change, Place) for command in attempt.commands):
        await connection.execute(QUERIES["book/open_day"], day, gate_at)
        row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
    if row is None:
        # Nobody used the day before its gate closed, and nobody may now.
        return Batch(day, 0, 0, is_open=False, max_open_bids=0, held={}, accounts={})
    attempt.base = row["last_seq"]
    is_open = row["state"] == "open"
    batch = Batch(day, row["last_seq"], int(row["volume_bound"]), is_open, max_open_bids, {}, {})
    if is_open and not row["is_before_gate"]:
        # From here on the day is closed by its state, wherever the clock may step.
        batch.close()
    return batch


async def _lock_accounts(connection: Connection, batch: Batch, attempt: Attempt) -> None:
    """Lock every account that asks for something. From here on nobody else uses a key of theirs, on any day."""
    accounts = {command.account_id for command in attempt.commands}
    for row in await connection.fetch(QUERIES["book/lock_accounts"], batch.delivery_day, array_of(list(accounts))):
        batch.accounts[row["account_id"]] = HeldAccount(row["last_seq"], row["open_bids"])


async def _replay(connection: Connection, attempt: Attempt) -> list[int]:
    """Answer the commands whose key was used before; returns the places of the others."""
    scopes = set(filter(None, attempt.scopes))
    kept = await find_answers(connection, list(scopes)) if scopes else {}
    fresh = []
    for number, (command, scope) in enumerate(zip(attempt.commands, attempt.scopes, strict=True)):
        earlier = kept.get(scope) if scope else None
        if not attempt.is_wanted(number):
            continue
        if command.key is None or earlier is None:
            fresh.append(number)
        elif earlier.body_sha256 != command.key.body_sha256:
            attempt.answers[number] = KeyReused()
        else:
            # The same path and method: the command renders as the first one did.
            answer = earlier.answer
            attempt.answers[number] = answer if isinstance(answer, bytes) else command.render(answer)
    return fresh


async def _load(connection: Connection, batch: Batch, changes: Sequence[Change]) -> None:
    """Read what the batch needs to know of bids and levels to decide these changes."""
    named = [change.bid_seq for change in changes if isinstance(change, Amend | Withdraw)]
    if named:
        for row in await connection.fetch(QUERIES["book/find_bids"], batch.delivery_day, named):
            batch.held[row["bid_seq"]] = HeldBid(
                row["account_id"], row["side"], row["slot"], row["price"], row["volume"], row["is_withdrawn"]
            )
    if batch.volume_bound + added_volume(changes, batch.held) <= MAX_LEVEL_TICKS:
        return
    levels = growing_levels(changes, batch.held)
    if levels:
        slots, sides, prices = zip(*levels, strict=True)
        rows = await connection.fetch(
            QUERIES["book/level_volumes"], batch.delivery_day, list(slots), list(sides), list(prices)
        )
        batch.levels = {(row["slot"], row["side"], row["price"]): row["volume"] for row in rows}


def _decide(batch: Batch, fresh: list[int], attempt: Attempt) -> dict[Scope, _Bound]:
    """Answer every fresh command; returns the keys that are bound by success."""
    bound: dict[Scope, _Bound] = {}
    for number in fresh:
        command, scope = attempt.commands[number], attempt.scopes[number]
        if scope and command.key and scope in bound:
            # A twin within the batch gets what its first got; only what succeeded binds the key.
            first = bound[scope].number
            first_key = attempt.commands[first].key
            is_same = first_key is not None and first_key.body_sha256 == command.key.body_sha256
            attempt.answers[number] = attempt.answers[first] if is_same else KeyReused()
            continue
        try:
            receipt = batch.apply(command.account_id, command.change)
        except (BookError, AccountGone) as refusal:
            attempt.answers[number] = refusal
            continue
        attempt.answers[number] = command.render(receipt)
        if scope:
            bound[scope] = _Bound(number, batch.rows[-1].first_seq)
    return bound


async def _write(connection: Connection, batch: Batch, attempt: Attempt, bound: dict[Scope, _Bound]) -> None:
    """Append the batch's events and the keys that they answer, and bring the day, its accounts and the changed bids to
    where the events lead: one statement, for each costs a round trip."""
    if not batch.rows:
        return
    # The columns of book_events, in the order of EventRow.
    first_seqs, last_seqs, accounts, account_seqs, bid_seqs, kinds, sides, slots, prices, volumes = zip(
        *batch.rows, strict=True
    )
    changed = [(bid_seq, bid) for bid_seq, bid in batch.held.items() if bid.seq]
    moved = [(account_id, account) for account_id, account in batch.accounts.items() if account.first_seq]
    digests = [key.body_sha256 for first in bound.values() if (key := attempt.commands[first.number].key)]
    await connection.execute(
        QUERIES["book/write"],
        batch.delivery_day,
        attempt.batch_id,
        batch.last_seq,
        batch.volume_bound,
        "open" if batch.is_open else "closed",
        array_of(first_seqs),
        array_of(last_seqs),
        array_of(accounts),
        array_of(account_seqs),
        array_of(bid_seqs),
        array_of_words(kinds),
        array_of_words(sides),
        array_of_arrays(slots),
        array_of_arrays(prices),
        array_of_arrays(volumes),
        array_of([bid_seq for bid_seq, _ in changed]),
        array_of([bid.seq for _, bid in changed]),
        array_of([bid.price for _, bid in changed]),
        array_of([bid.volume for _, bid in changed]),
        [bid.is_withdrawn for _, bid in changed],
        array_of([account_id for account_id, _ in moved]),
        array_of([account.first_seq for _, account in moved]),
        array_of([account.last_seq for _, account in moved]),
        array_of([account.open_bids for _, account in moved]),
        array_of([account_id for account_id, _ in bound]),
        array_of_words(digest.hex() for _, digest in bound),
        array_of_words(digest.hex() for digest in digests),
        array_of([first.first_seq for first in bound.values()]),
    )
