"""A client of the feed that keeps verified books, resumes after every cut, and remembers each fault.

What lives here: connecting, subscribing, resuming, counting. What must not: the rules of a book (feed_book.py), or a
look at anything of the server's but what it sends.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.feed_book import Disagreement, Fault, FeedBook, Gap, Message, OwnMessages
from tests.feed_wire import Closed, Connects, Late, Wire

# What the protocol's rule 9 says may be tried again; a connection that just breaks counts as such.
COME_BACK = {1000, 1001, 1006, 1012, 4001, 4005, 4008, 4012, 4013}
_FIRST_PAUSE_S = 0.02
_MAX_PAUSE_S = 0.5
_OPENING_S = 15.0
# A heartbeat is due after one second. A machine under load is late, not dead.
_SILENCE_S = 20.0


class _Unavailable(Exception):
    """The server says that it cannot now, and that it is worth another try."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription to a book."""

    channel: str = "book"
    rate: int = 100
    slots: tuple[int, ...] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """As `subscribe` says it; defaults are left out."""
        fields: dict[str, Any] = {"ch": self.channel}
        if self.rate != 100:
            fields["rate"] = self.rate
        if self.slots is not None:
            fields["slots"] = list(self.slots)
        return fields


class FeedClient:
    """Keeps `book` and `own` up to date over any number of connections. `faults` holds the text of everything that the
    protocol does not allow, and stays empty against a server that keeps to it. `counts` tells what happened."""

    def __init__(
        self, client: Connects, token: str | None, wanted: Wanted | None = None, *, with_own: bool = False
    ) -> None:
        self._client = client
        self._token = token
        self._wanted = wanted
        self.book = FeedBook(wanted.slots if wanted else None)
        self.own = OwnMessages() if with_own else None
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._waits_for_snap = True
        self._chains_from: int | None = None
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def start(self) -> "FeedClient":
        """Connect, and return once every subscription stands."""
        self._task = asyncio.create_task(self._run(), name="feed-client")
        await self.until(lambda: self.counts["connected"] > 0 and (self._wanted is None or self.book.seq >= 0))
        return self

    async def until(self, is_so: Callable[[], bool], within_s: float = 20.0) -> None:
        """Return when something is so; looked at after each message."""
        assert self._task
        try:
            async with asyncio.timeout(within_s):
                while not is_so():
                    assert not self._task.done(), self.faults
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"not in {within_s} s; at {self.book.seq}, {self.counts}, {self.faults}") from None

    @property
    def wants_book(self) -> bool:
        """Whether it keeps a book at all."""
        return self._wanted is not None

    async def reach(self, seq: int, within_s: float = 20.0) -> None:
        """Return when the book stands at a number of the log, or beyond."""
        await self.until(lambda: self.book.seq >= seq, within_s)

    def move_to(self, client: Connects) -> None:
        """Connect elsewhere from the next connection on."""
        self._client = client

    def cut(self) -> None:
        """Drop the connection, if there is one."""
        if self._wire is not None:
            self.counts["own cuts"] += 1
            self._wire.cut()

    async def close(self) -> None:
        """Leave for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._wire is not None:
            await self._wire.drop()

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(_OPENING_S):
                    self._wire = await Wire.open(self._client, keeps_texts=False)
                    await self._begin(self._wire)
                self.counts["connected"] += 1
                pause_s = _FIRST_PAUSE_S
                self._moved.set()
                await self._listen(self._wire)
            except Closed as closed:
                self.counts[f"closed {closed.code}"] += 1
                if closed.code not in COME_BACK:
                    return self._end(f"closed with {closed.code}")
            except Late as late:
                self.counts["late"] += 1
                if self._wire is not None:
                    self.faults.append(str(late))
            except aiohttp.WSServerHandshakeError as refused:
                self.counts[f"refused {refused.status}"] += 1
                if refused.status < 500:
                    return self._end(f"refused with {refused.status}")
            except (aiohttp.ClientError, OSError, TimeoutError, _Unavailable) as fault:
                self.counts[type(fault).__name__.strip("_")] += 1
            except Fault as fault:
                return self._end(str(fault))
            if self._wire is not None:
                await self._wire.drop()
                self._wire = None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)

    def _end(self, fault: str) -> None:
        self.faults.append(fault)
        self._moved.set()

    async def _begin(self, wire: Wire) -> None:
        if self._token is not None:
            _must(await wire.ask("auth", token=self._token))
        if self._wanted is not None:
            since: dict[str, Any] = {}
            if not self._waits_for_snap:
                since = {"since": {"ep": self.book.epoch, "seq": self.book.seq}}
            ok = _must(await wire.ask("subscribe", **self._wanted.fields, **since))
            self._count_resume(since, ok)
            self._waits_for_snap, self._chains_from = not ok["recovered"], None
            if ok["recovered"]:
                if ok["ep"] != self.book.epoch or ok["seq"] < self.book.seq or ok["ch"] != self.book.channel:
                    raise Disagreement(f"at {self.book.seq} of {self.book.epoch}, then {ok}")
                if ok["seq"] > self.book.seq:
                    self._chains_from = self.book.seq
        if self.own is not None:
            since = {"since": {"ep": self.own.epoch, "seq": self.own.seq}} if self.own.epoch else {}
            ok = _must(await wire.ask("subscribe", ch="me", **since))
            self._count_resume(since, ok)
            if not ok["recovered"]:
                self.own.begin(ok)
            elif ok["ep"] != self.own.epoch or ok["seq"] < self.own.seq:
                raise Disagreement(f"me at {self.own.seq} of {self.own.epoch}, then {ok}")

    def _count_resume(self, since: dict[str, Any], ok: Message) -> None:
        if since:
            self.counts["recovered" if ok["recovered"] else "not recovered"] += 1
        elif ok["recovered"]:
            raise Disagreement("recovered without a since")

    async def _listen(self, wire: Wire) -> None:
        while True:
            message = await wire.next("snap", "upd", "gate", "cleared", "hb", "me", "bye", "err", within_s=_SILENCE_S)
            self.counts[message["t"]] += 1
            if message["t"] == "err":
                raise Disagreement(f"an error for no reason: {message}")
            if message["t"] == "me":
                if self.own is None:
                    raise Disagreement("me without a subscription")
                self.own.apply(message)
            elif message["t"] != "bye" and self._is_of_book(message):
                await self._take(wire, message)
            self._moved.set()

    def _is_of_book(self, message: Message) -> bool:
        if self._waits_for_snap and message["t"] != "snap":
            return False
        return message["t"] != "hb" or self.book.channel in message["at"]

    async def _take(self, wire: Wire, message: Message) -> None:
        try:
            at = self._chains_from
            if at is not None and message["t"] in ("upd", "gate", "cleared"):
                self._chains_from = None
                if message["prev"] != at:
                    raise Disagreement(f"resumed at {at}, then {message['prev']}..{message['seq']}")
            self.book.apply(message)
            self._waits_for_snap = False
        except (Gap, Disagreement) as fault:
            self.faults.append(f"{type(fault).__name__}: {fault}")
            self.counts["resyncs"] += 1
            self._waits_for_snap = True
            await wire.send("resync", ch=message.get("ch", self.book.channel))


def _must(answer: Message) -> Message:
    if answer["t"] == "err":
        if answer["temporary"]:
            raise _Unavailable(answer["msg"])
        raise Disagreement(f"refused: {answer}")
    return answer


def assert_flawless(clients: Sequence[FeedClient]) -> None:
    """No gap, no disagreement, no resync, nothing refused."""
    for client in clients:
        assert client.faults == [], (client.faults[:5], client.counts)
        assert client.counts["resyncs"] == 0
