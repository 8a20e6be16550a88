"""The one way into the book: commands that arrive while a commit runs form the next batch, one durable transaction.

What lives here: the queue, and what becomes of a batch's members when its transaction fails. What must not: the
transaction's statements (book_transaction.py), the rules of the book (batch.py), or anything of HTTP.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import date
from functools import partial

import structlog

from market.calendar import Calendar
from storage.background import end_task
from storage.book_transaction import Attempt, HasLanded, Unanswered, new_batch_id, write_batch
from storage.commands import Command, Place
from storage.database import Database
from storage.deadlines import Deadlines
from storage.errors import DatabaseUnavailable
from storage.short_way import Placements

log = structlog.get_logger("shakti.writer")

_MAX_COMMANDS = 512
_MAX_BIDS = 20_000
_RETRY_PAUSE_S = 0.05


@dataclass(slots=True, eq=False)
class _Member:
    command: Command
    answer: asyncio.Future[bytes]

    @property
    def weight(self) -> int:
        change = self.command.change
        return len(change.slots) if isinstance(change, Place) else 1


class BookWriter:
    """Writes commands to the book, in the order in which they came for each delivery day.

    Members of a batch share one commit and nothing else: one that is refused or replayed is so alone, and a batch that
    fails is tried again member by member. A batch that went unanswered is looked for in the log, under the day's lock,
    before it is tried again: nothing is written twice.

    A batch begins as soon as the one before it is done, with whatever has come until then. So while PostgreSQL writes
    one, requests for the next are read here, and neither waits for the other.
    """

    def __init__(self, database: Database, calendar: Calendar, max_open_bids: int) -> None:
        self._database = database
        self._calendar = calendar
        self._max_open_bids = max_open_bids
        self._waiting: dict[date, deque[_Member]] = {}
        self._deadlines = Deadlines(database.timeout_s, _give_up)
        self._wake = asyncio.Event()
        # For each day, a sequence number that its log had reached when it was last written here without a fault.
        self._reached: dict[date, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="book-writer")

    async def close(self) -> None:
        """Stop writing. Commands that still wait are refused, those of a running transaction are not answered."""
        await end_task(self._task)
        for members in self._waiting.values():
            for member in members:
                _tell(member, DatabaseUnavailable())

    async def submit(self, command: Command) -> bytes:
        """Do a command durably and return its response's body, or that of an earlier request with the same key.

        Raises the BookError or AccountGone that refuses it, or DatabaseUnavailable when it could not be done or not be
        confirmed in time: then it was done wholly or not at all, and an idempotency key tells which when it is sent
        again.
        """
        member = _Member(command, asyncio.get_running_loop().create_future())
        waiting = self._waiting.get(command.delivery_day)
        if waiting is None:
            waiting = self._waiting[command.delivery_day] = deque()
        waiting.append(member)
        self._wake.set()
        self._deadlines.add(member)
        try:
            return await member.answer
        finally:
            self._deadlines.remove(member)

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
        """Do all that these members ask for and tell each: the short way, and the long one if that does not do."""
        if not members:
            # Whoever asked has gone.
            return
        at_large: Unanswered | None = None
        placements = Placements.of(day, [member.command for member in members])
        # Where the log stood last tells from where on to look for the batch, should nobody answer.
        reached = self._reached.pop(day, None)
        if placements is not None and reached is not None:
            batch_id = new_batch_id()
            try:
                base = await placements.write(
                    self._database, self._calendar.gate_at(day), batch_id, self._max_open_bids
                )
            except Exception as fault:
                if not isinstance(fault, DatabaseUnavailable):
                    log.warning("a batch goes the long way", fault=repr(fault), members=len(members))
                at_large = Unanswered(
                    batch_id, reached, is_at_large=True, tell=partial(_tell_placed, members, placements)
                )
            else:
                self._reached[day] = reached if base is None else base
                if base is not None:
                    # The next batch is sent off before these answers are made.
                    asyncio.get_running_loop().call_soon(_tell_placed, members, placements, base + 1)
                    return
        await self._write_long(day, members, at_large)

    async def _write_long(self, day: date, members: list[_Member], at_large: Unanswered | None) -> None:
        """The same, statement by statement. `at_large` is what became of the short way."""
        earlier = [at_large] if at_large else []
        unanswered = earlier
        while waiting := [member for member in members if not member.answer.done()]:
            attempt = Attempt([member.command for member in waiting], partial(_is_waiting, waiting))
            try:
                async with self._database.transaction() as connection:
                    await write_batch(connection, day, self._calendar, self._max_open_bids, attempt, unanswered)
            except HasLanded as landed:
                landed.batch.tell(landed.first_seq)
                return
            except DatabaseUnavailable:
                # Once this attempt has something to write, it has seen that the one before it did not land. But what is
                # at large stays so until an attempt that says otherwise is committed.
                if attempt.first_seq is not None:
                    tell = partial(_tell_decided, waiting, attempt)
                    this = Unanswered(attempt.batch_id, attempt.first_seq, is_at_large=False, tell=tell)
                    unanswered = [*earlier, this]
                await asyncio.sleep(_RETRY_PAUSE_S)
            except Exception as fault:
                if unanswered and not attempt.is_only_one:
                    # While an earlier attempt may still turn out to have landed, nothing is tried apart from it.
                    log.error("a batch could not be looked for", delivery_day=day.isoformat(), exc_info=fault)
                    await asyncio.sleep(_RETRY_PAUSE_S)
                    continue
                if len(waiting) == 1:
                    raise
                log.warning("a batch is tried again member by member", fault=repr(fault), members=len(waiting))
                for member in waiting:
                    await self._write_alone(day, member, at_large)
                return
            else:
                if attempt.base is not None:
                    self._reached[day] = attempt.base
                _tell_decided(waiting, attempt)
                return

    async def _write_alone(self, day: date, member: _Member, at_large: Unanswered | None) -> None:
        try:
            await self._write_long(day, [member], at_large)
        except Exception as fault:
            log.error("a command failed", delivery_day=day.isoformat(), exc_info=fault)
            _tell(member, fault)


def _give_up(member: _Member) -> None:
    _tell(member, DatabaseUnavailable())


def _is_waiting(members: list[_Member], number: int) -> bool:
    return not members[number].answer.done()


def _tell_decided(members: list[_Member], attempt: Attempt, _first_seq: int = 0) -> None:
    for number, answer in attempt.answers.items():
        _tell(members[number], answer)


def _tell_placed(members: list[_Member], placements: Placements, first_seq: int) -> None:
    for number, member in enumerate(members):
        if not member.answer.done():
            try:
                answer = member.command.render(placements.receipt(number, first_seq))
            except Exception as fault:
                log.error("a placement that was done could not be told", exc_info=fault)
                _tell(member, fault)
            else:
                _tell(member, answer)


def _tell(member: _Member, answer: bytes | BaseException) -> None:
    if member.answer.done():
        return
    if isinstance(answer, bytes):
        member.answer.set_result(answer)
    else:
        member.answer.set_exception(answer)
