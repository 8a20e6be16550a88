"""One transaction of the writer: what it reads under the day's lock, what it decides, what it writes, in that order.

What lives here: the statements in their order. What must not: the rules of the book (batch.py), or what happens when
the transaction fails (writer.py).
"""

import secrets
from dataclasses import dataclass, field
from datetime import date

from market.calendar import Calendar
from storage.batch import MAX_LEVEL_TICKS, Batch, HeldAccount, HeldBid, growing_levels
from storage.commands import Amend, Command, Place, Withdraw
from storage.database import Connection
from storage.errors import AccountGone, BookError, KeyReused
from storage.idempotency import Scope, find_responses, keep_responses, scope_of
from storage.sql import QUERIES


class HasLanded(Exception):
    """An earlier attempt whose commit went unanswered is in the log: its answers hold."""


@dataclass(slots=True)
class Attempt:
    """Commands of one delivery day on their way through one transaction.

    `answers` is what each, by its place in `commands`, is told if the transaction commits. `batch_id` and `first_seq`
    (None while nothing is to be written) are what it is recognised by in the log.
    """

    commands: list[Command]
    answers: dict[int, bytes | BookError | AccountGone] = field(default_factory=dict)
    batch_id: int = field(default_factory=lambda: secrets.randbits(63))
    first_seq: int | None = None
    # Set once the day's lock is held and no earlier attempt has landed: from here on this attempt is the only one.
    is_only_one: bool = False


async def write_batch(
    connection: Connection,
    day: date,
    calendar: Calendar,
    max_open_bids: int,
    attempt: Attempt,
    unsettled: Attempt | None,
) -> None:
    """Do all commands of an attempt that the book allows, within the caller's transaction.

    `unsettled` is an earlier attempt at them whose commit went unanswered. Under the day's lock it has either landed
    or never will: raises HasLanded if it has, before anything is decided.
    """
    batch = await _lock(connection, day, calendar, max_open_bids, attempt)
    if unsettled is not None and unsettled.first_seq is not None:
        row = await connection.fetchrow(QUERIES["book/find_batch"], day, unsettled.first_seq, unsettled.batch_id)
        if row is not None and row["has_landed"]:
            raise HasLanded
    attempt.is_only_one = True
    await _lock_accounts(connection, batch, attempt)
    fresh = await _replay(connection, attempt)
    if fresh:
        await _load(connection, batch, [attempt.commands[number] for number in fresh])
    bound = _decide(batch, fresh, attempt)
    await _keep(connection, bound, attempt)
    attempt.first_seq = batch.rows[0].first_seq if batch.rows else None
    await _save(connection, batch, attempt.batch_id)


async def _lock(connection: Connection, day: date, calendar: Calendar, max_open_bids: int, attempt: Attempt) -> Batch:
    gate_at = calendar.gate_at(day)
    row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
    if row is None and any(isinstance(command.change, Place) for command in attempt.commands):
        await connection.execute(QUERIES["book/open_day"], day, gate_at)
        row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
    if row is None:
        # Nobody used the day before its gate closed, and nobody may now.
        return Batch(day, 0, 0, is_open=False, max_open_bids=0, held={}, accounts={})
    is_open = row["state"] == "open"
    batch = Batch(day, row["last_seq"], int(row["volume_bound"]), is_open, max_open_bids, {}, {})
    if is_open and not row["is_before_gate"]:
        # From here on the day is closed by its state, wherever the clock may step.
        batch.close()
    return batch


async def _lock_accounts(connection: Connection, batch: Batch, attempt: Attempt) -> None:
    """Lock every account that asks for something. From here on nobody else uses a key of theirs, on any day."""
    accounts = {command.account_id for command in attempt.commands}
    for row in await connection.fetch(QUERIES["book/lock_accounts"], batch.delivery_day, list(accounts)):
        batch.accounts[row["account_id"]] = HeldAccount(row["last_seq"], row["open_bids"])


async def _replay(connection: Connection, attempt: Attempt) -> list[int]:
    """Answer the commands whose key was used before; returns the places of the others."""
    scopes = {scope for command in attempt.commands if (scope := scope_of(command))}
    kept = await find_responses(connection, list(scopes)) if scopes else {}
    fresh = []
    for number, command in enumerate(attempt.commands):
        scope = scope_of(command)
        earlier = kept.get(scope) if scope else None
        if command.key is None or earlier is None:
            fresh.append(number)
        else:
            is_same = earlier.body_sha256 == command.key.body_sha256
            attempt.answers[number] = earlier.response if is_same else KeyReused()
    return fresh


async def _load(connection: Connection, batch: Batch, commands: list[Command]) -> None:
    """Read what the batch needs to know to decide these commands."""
    named = [command.change.bid_seq for command in commands if isinstance(command.change, Amend | Withdraw)]
    if named:
        for row in await connection.fetch(QUERIES["book/find_bids"], batch.delivery_day, named):
            batch.held[row["bid_seq"]] = HeldBid(
                row["account_id"], row["side"], row["slot"], row["price"], row["volume"], row["is_withdrawn"]
            )
    levels, added = growing_levels((command.change for command in commands), batch.held)
    if levels and batch.volume_bound + added > MAX_LEVEL_TICKS:
        slots, sides, prices = zip(*levels, strict=True)
        rows = await connection.fetch(
            QUERIES["book/level_volumes"], batch.delivery_day, list(slots), list(sides), list(prices)
        )
        batch.levels = {(row["slot"], row["side"], row["price"]): row["volume"] for row in rows}


def _decide(batch: Batch, fresh: list[int], attempt: Attempt) -> dict[Scope, int]:
    """Answer every fresh command; returns the places of those whose success binds their key."""
    bound: dict[Scope, int] = {}
    for number in fresh:
        command = attempt.commands[number]
        scope = scope_of(command)
        if scope and command.key and scope in bound:
            # A twin within the batch gets what its first got; only what succeeded binds the key.
            first = attempt.commands[bound[scope]].key
            is_same = first is not None and first.body_sha256 == command.key.body_sha256
            attempt.answers[number] = attempt.answers[bound[scope]] if is_same else KeyReused()
            continue
        try:
            attempt.answers[number] = command.render(batch.apply(command.account_id, command.change))
        except (BookError, AccountGone) as refusal:
            attempt.answers[number] = refusal
        else:
            if scope:
                bound[scope] = number
    return bound


async def _keep(connection: Connection, bound: dict[Scope, int], attempt: Attempt) -> None:
    """Keep the responses of commands that succeeded under their keys, in the transaction that did them."""
    if not bound:
        return
    commands = [attempt.commands[number] for number in bound.values()]
    responses = [answer for number in bound.values() if isinstance(answer := attempt.answers[number], bytes)]
    await keep_responses(connection, commands, responses)


async def _save(connection: Connection, batch: Batch, batch_id: int) -> None:
    """Append the batch's events, and bring the day, the changed bids and the counts to where the events lead."""
    rows, day = batch.rows, batch.delivery_day
    if not rows:
        return
    await connection.execute(
        QUERIES["book/append"],
        day,
        [row.first_seq for row in rows],
        [row.last_seq for row in rows],
        [row.account_id for row in rows],
        [row.bid_seq for row in rows],
        [row.kind for row in rows],
        [row.side for row in rows],
        [len(row.slots) for row in rows],
        [slot for row in rows for slot in row.slots],
        [price for row in rows for price in row.prices],
        [volume for row in rows for volume in row.volumes],
        batch_id,
        [row.account_seq for row in rows],
    )
    changed = [(bid_seq, bid) for bid_seq, bid in batch.held.items() if bid.seq]
    if changed:
        await connection.execute(
            QUERIES["book/set_changed"],
            day,
            [bid_seq for bid_seq, _ in changed],
            [bid.seq for _, bid in changed],
            [bid.price for _, bid in changed],
            [bid.volume for _, bid in changed],
            [bid.is_withdrawn for _, bid in changed],
        )
    moved = [(account_id, account) for account_id, account in batch.accounts.items() if account.first_seq]
    if moved:
        await connection.execute(
            QUERIES["book/advance_accounts"],
            day,
            [account_id for account_id, _ in moved],
            [account.first_seq for _, account in moved],
            [account.last_seq for _, account in moved],
            [account.open_bids for _, account in moved],
        )
    await connection.execute(
        QUERIES["book/advance_day"],
        day,
        batch.last_seq,
        batch.volume_bound,
        "open" if batch.is_open else "closed",
    )
