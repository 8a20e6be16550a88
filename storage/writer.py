"""The one way into the book: commands that arrive while a commit runs form the next batch, one durable transaction.

What lives here: the queue, the transaction's statements in their order, and what becomes of members when it fails. What
must not: the rules of the book (batch.py), or anything of HTTP.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from datetime import date

import structlog

from market.calendar import Calendar
from storage.batch import MAX_LEVEL_TICKS, Batch, HeldBid, growing_levels
from storage.commands import Amend, Command, Place, Withdraw
from storage.database import Connection, Database
from storage.errors import BookError, DatabaseUnavailable, KeyReused
from storage.idempotency import Scope, find_responses, keep_responses, scope_of
from storage.sql import QUERIES

log = structlog.get_logger("shakti.writer")

_MAX_COMMANDS = 512
_MAX_BIDS = 20_000
_STATUS_PAUSE_S = 0.05
_RETRY_PAUSE_S = 0.05


class _KeyTaken(Exception):
    """Another transaction kept a response under a key of this batch while it was decided."""


@dataclass(slots=True, eq=False)
class _Member:
    command: Command
    answer: asyncio.Future[bytes]

    @property
    def weight(self) -> int:
        change = self.command.change
        return len(change.slots) if isinstance(change, Place) else 1


@dataclass(slots=True)
class _Attempt:
    """One transaction: what each member is told if it commits, and the id by which to ask whether it did."""

    members: list[_Member]
    xid: str | None = None
    answers: dict[_Member, bytes | BookError] = field(default_factory=dict)


class BookWriter:
    """Writes commands to the book, in the order in which they came for each delivery day.

    Members of a batch share one commit and nothing else: one that is refused or replayed is so alone, and a batch that
    fails is tried again member by member. A batch whose commit went unanswered is looked up before it is tried again,
    so nothing is written twice.
    """

    def __init__(self, database: Database, calendar: Calendar, max_open_bids: int) -> None:
        self._database = database
        self._calendar = calendar
        self._max_open_bids = max_open_bids
        self._waiting: dict[date, deque[_Member]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="book-writer")

    async def close(self) -> None:
        """Stop writing. Commands that still wait are refused, those of a running transaction are not answered."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for members in self._waiting.values():
            for member in members:
                _tell(member, DatabaseUnavailable())

    async def submit(self, command: Command) -> bytes:
        """Do a command durably and return its response's body, or that of an earlier request with the same key.

        Raises the BookError that refuses it, or DatabaseUnavailable when it could not be done or not be confirmed in
        time: then it was done wholly or not at all, and an idempotency key tells which when it is sent again.
        """
        member = _Member(command, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(command.delivery_day, deque()).append(member)
        self._wake.set()
        try:
            async with asyncio.timeout(self._database.timeout_s):
                return await member.answer
        except TimeoutError as fault:
            raise DatabaseUnavailable from fault

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                day = next(iter(self._waiting))
                members = self._take(day)
                try:
                    await self._write(day, members)
                except Exception as fault:
                    # A fault of ours must not end the writing of everybody else's bids.
                    log.error("a batch failed", delivery_day=day.isoformat(), members=len(members), exc_info=fault)
                    for member in members:
                        _tell(member, fault)

    def _take(self, day: date) -> list[_Member]:
        """The next batch of a day. The day goes to the end of the line if more of it waits."""
        waiting = self._waiting.pop(day)
        taken: list[_Member] = []
        weight = 0
        while waiting and len(taken) < _MAX_COMMANDS and (not taken or weight + waiting[0].weight <= _MAX_BIDS):
            member = waiting.popleft()
            if not member.answer.done():
                taken.append(member)
                weight += member.weight
        if waiting:
            self._waiting[day] = waiting
        return taken

    async def _write(self, day: date, members: list[_Member]) -> None:
        while members := [member for member in members if not member.answer.done()]:
            attempt = _Attempt(members)
            try:
                await self._try(day, attempt)
            except DatabaseUnavailable:
                if attempt.xid is not None and await self._has_committed(attempt):
                    break
                await asyncio.sleep(_RETRY_PAUSE_S)
            except Exception as fault:
                if len(members) == 1 and not isinstance(fault, _KeyTaken):
                    raise
                if len(members) > 1:
                    log.warning("a batch is tried again member by member", fault=repr(fault), members=len(members))
                    for member in members:
                        await self._write_alone(day, member)
                    return
            else:
                break
        else:
            return
        for member, answer in attempt.answers.items():
            _tell(member, answer)

    async def _write_alone(self, day: date, member: _Member) -> None:
        try:
            await self._write(day, [member])
        except Exception as fault:
            log.error("a command failed", delivery_day=day.isoformat(), exc_info=fault)
            _tell(member, fault)

    async def _has_committed(self, attempt: _Attempt) -> bool:
        """Whether a transaction that was cut went through, asked until PostgreSQL says or nobody waits any more."""
        while any(not member.answer.done() for member in attempt.members):
            with contextlib.suppress(DatabaseUnavailable):
                row = await self._database.fetchrow("book/transaction_status", attempt.xid)
                status = row["status"] if row else None
                if status != "in progress":
                    return status == "committed"
            await asyncio.sleep(_STATUS_PAUSE_S)
        return False

    async def _try(self, day: date, attempt: _Attempt) -> None:
        async with self._database.transaction() as connection:
            batch = await self._lock(connection, day, attempt)
            fresh = await self._replay(connection, attempt)
            if fresh:
                await self._load(connection, batch, [member.command for member in fresh])
            self._decide(batch, fresh, attempt)
            await _keep(connection, attempt, fresh)
            await _save(connection, batch)

    async def _lock(self, connection: Connection, day: date, attempt: _Attempt) -> Batch:
        gate_at = self._calendar.gate_at(day)
        row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
        if row is None and any(isinstance(member.command.change, Place) for member in attempt.members):
            await connection.execute(QUERIES["book/open_day"], day, gate_at)
            row = await connection.fetchrow(QUERIES["book/lock_day"], day, gate_at)
        if row is None:
            # Nobody used the day before its gate closed, and nobody may now.
            return Batch(day, 0, 0, is_open=False, max_open_bids=0, held={}, open_bids={})
        attempt.xid = row["xid"]
        is_open = row["state"] == "open"
        batch = Batch(day, row["last_seq"], int(row["volume_bound"]), is_open, self._max_open_bids, {}, {})
        if is_open and not row["is_before_gate"]:
            # From here on the day is closed by its state, wherever the clock may step.
            batch.close()
        return batch

    async def _replay(self, connection: Connection, attempt: _Attempt) -> list[_Member]:
        """Answer the members whose key was used before; returns the others."""
        scopes = {_scope(member): member for member in attempt.members if member.command.key}
        kept = await find_responses(connection, list(scopes)) if scopes else {}
        fresh = []
        for member in attempt.members:
            key = member.command.key
            earlier = kept.get(_scope(member)) if key else None
            if key is None or earlier is None:
                fresh.append(member)
            else:
                attempt.answers[member] = earlier.response if earlier.body_sha256 == key.body_sha256 else KeyReused()
        return fresh

    async def _load(self, connection: Connection, batch: Batch, commands: list[Command]) -> None:
        named = [c.change.bid_seq for c in commands if isinstance(c.change, Amend | Withdraw)]
        if named:
            for row in await connection.fetch(QUERIES["book/find_bids"], batch.delivery_day, named):
                batch.held[row["bid_seq"]] = HeldBid(
                    row["account_id"],
                    row["side"],
                    row["slot"],
                    row["price"],
                    row["volume"],
                    row["is_withdrawn"],
                )
        accounts = {command.account_id for command in commands}
        for row in await connection.fetch(QUERIES["book/count_open"], batch.delivery_day, list(accounts)):
            batch.open_bids[row["account_id"]] = row["open_bids"]
        levels, added = growing_levels((command.change for command in commands), batch.held)
        if batch.volume_bound + added > MAX_LEVEL_TICKS:
            slots, sides, prices = zip(*levels, strict=True)
            rows = await connection.fetch(
                QUERIES["book/level_volumes"], batch.delivery_day, list(slots), list(sides), list(prices)
            )
            batch.levels = {(row["slot"], row["side"], row["price"]): row["volume"] for row in rows}

    def _decide(self, batch: Batch, fresh: list[_Member], attempt: _Attempt) -> None:
        first_of: dict[Scope, _Member] = {}
        for member in fresh:
            command = member.command
            twin = first_of.get(_scope(member)) if command.key else None
            if twin is not None and command.key and twin.command.key:
                # A twin within the batch gets what its first got; only what succeeded binds the key.
                same = command.key.body_sha256 == twin.command.key.body_sha256
                attempt.answers[member] = attempt.answers[twin] if same else KeyReused()
                continue
            try:
                attempt.answers[member] = command.render(batch.apply(command.account_id, command.change))
            except BookError as refusal:
                attempt.answers[member] = refusal
            else:
                if command.key:
                    first_of[_scope(member)] = member


def _scope(member: _Member) -> Scope:
    key = member.command.key
    if key is None:
        raise AssertionError("asked only of members with a key")
    return scope_of(member.command.account_id, key)


def _tell(member: _Member, answer: bytes | BaseException) -> None:
    if member.answer.done():
        return
    if isinstance(answer, bytes):
        member.answer.set_result(answer)
    else:
        member.answer.set_exception(answer)


async def _keep(connection: Connection, attempt: _Attempt, fresh: list[_Member]) -> None:
    """Keep the responses of members that succeeded under their keys, in the transaction that did them."""
    kept: dict[Scope, tuple[_Member, bytes]] = {}
    for member in fresh:
        answer = attempt.answers[member]
        if member.command.key and isinstance(answer, bytes):
            kept.setdefault(_scope(member), (member, answer))
    if kept and not await keep_responses(
        connection,
        [member.command.account_id for member, _ in kept.values()],
        [member.command.key for member, _ in kept.values() if member.command.key],
        [answer for _, answer in kept.values()],
    ):
        raise _KeyTaken


async def _save(connection: Connection, batch: Batch) -> None:
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
    if batch.counted:
        counted = sorted(batch.counted)
        await connection.execute(
            QUERIES["book/set_open"], day, counted, [batch.open_bids[account] for account in counted]
        )
    await connection.execute(
        QUERIES["book/advance_day"],
        day,
        batch.last_seq,
        batch.volume_bound,
        "open" if batch.is_open else "closed",
    )
