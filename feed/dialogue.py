"""What clients ask for, done.

What lives here: authentication, subscribing, and the answers. What must not: parsing (requests.py), or anything that
happens without being asked for.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog

from auth.tokens import Purpose, TokenError
from feed import messages
from feed.connection import CloseCode, Connection, Conversation
from feed.day_book import DayBook
from feed.follower import Follower
from feed.hub import Hub
from feed.own import OwnFeed
from feed.registry import Registry
from feed.requests import (
    OPEN_BOOK_CHANNEL,
    OWN_CHANNEL,
    Auth,
    ErrorCode,
    Ping,
    Request,
    RequestError,
    RequestId,
    Resync,
    Subscribe,
    Unsubscribe,
    channel_day,
    parse,
)
from feed.rules import FeedRules
from storage.errors import AccountGone, Unavailable
from storage.sessions import Session, Sessions

log = structlog.get_logger("shakti.feed")
PURPOSES: Final = (Purpose.ACCOUNT, Purpose.OPERATOR)
# Recognised, and of no use here.
FOREIGN: Final = (Purpose.SHIPPER, Purpose.TRANSPORTER)
_MAX_ERRORS: Final = 10


class Dialogue(Conversation):
    """Serves the requests of all connections, those of each one after another. `clock` tells the time, aware."""

    def __init__(
        self,
        *,
        follower: Follower,
        hub: Hub,
        own: OwnFeed,
        registry: Registry,
        sessions: Sessions,
        rules: FeedRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._follower = follower
        self._hub = hub
        self._own = own
        self._registry = registry
        self._sessions = sessions
        self._rules = rules
        self._clock = clock

    async def handle(self, connection: Connection, text: str) -> None:
        """Do what one message asks for, and answer."""
        request_id: RequestId = None
        try:
            request = parse(text)
            request_id = request.id
            await self._do(connection, request)
        except RequestError as fault:
            named = request_id if fault.request_id is None else fault.request_id
            self._refuse(connection, named, fault.code, fault.text)
        except Unavailable:
            refusal = messages.error(request_id, ErrorCode.UNAVAILABLE, "the database is unavailable; try again")
            connection.reply(refusal)

    def end(self, connection: Connection) -> None:
        """The connection is over: nothing is sent to it any more, and it does not count any more."""
        self._hub.remove(connection)
        if connection.session is not None:
            self._own.unsubscribe(connection, connection.session.account_id)
        self._registry.remove(connection)

    def _refuse(self, connection: Connection, request_id: RequestId, code: ErrorCode, text: str) -> None:
        connection.reply(messages.error(request_id, code, text))
        connection.errors += 1
        if connection.errors >= _MAX_ERRORS:
            connection.cut(CloseCode.BAD_REQUEST, "too many requests that were refused")

    async def _do(self, connection: Connection, request: Request) -> None:
        if isinstance(request, Auth):
            await self._authenticate(connection, request)
        elif isinstance(request, Ping):
            self._answer(connection, request.id, {"ts": int(self._clock().timestamp() * 1000)})
        elif connection.session is None and not self._rules.is_book_public:
            raise RequestError(ErrorCode.NOT_AUTHENTICATED, "authenticate first, with op auth and a token")
        elif isinstance(request, Subscribe):
            await self._subscribe(connection, request)
        elif isinstance(request, Unsubscribe):
            self._unsubscribe(connection, request)
        else:
            self._resync(connection, request)

    async def _authenticate(self, connection: Connection, request: Auth) -> None:
        try:
            session = await self._sessions.check(request.token, *PURPOSES, *FOREIGN)
        except TokenError:
            connection.cut(CloseCode.INVALID_TOKEN, "invalid token")
            return
        if session.claims.purpose in FOREIGN:
            connection.cut(CloseCode.FORBIDDEN, "the token of a partner opens no feed")
            return
        known = connection.session
        if known is not None and _speaker(known) != _speaker(session):
            raise RequestError(ErrorCode.FORBIDDEN, "the account must stay the same; open another connection")
        if not self._registry.identify(connection, session):
            connection.cut(CloseCode.TOO_MANY_CONNECTIONS, "too many connections of this account")
            return
        connection.expiry_step = 0
        self._answer(connection, request.id, messages.identity(session))

    async def _subscribe(self, connection: Connection, request: Subscribe) -> None:
        if request.channel == OWN_CHANNEL:
            await self._subscribe_own(connection, request)
            return
        if request.channel == OPEN_BOOK_CHANNEL:
            day = self._rules.calendar.open_day(self._clock())
        else:
            day = self._day_of(request.channel)
        self._check_room(connection, request.channel)
        day_book = await self._follower.fresh_book(day)
        since = request.since
        if since is not None and since.epoch == day_book.epoch and since.seq > day_book.book.seq:
            # Another process has told it what has not come here yet; the book as it is known here would set it back.
            day_book = await self._follower.catch_up(day)

        def answer(is_recovered: bool, seq: int) -> bytes:
            return messages.ok(request.id, _position(day_book, seq, is_recovered))

        self._hub.subscribe(
            connection,
            request.channel,
            day_book,
            rate_ms=request.rate_ms,
            slots=request.slots,
            is_open_book=request.channel == OPEN_BOOK_CHANNEL,
            since=since,
            answer=answer,
        )

    async def _subscribe_own(self, connection: Connection, request: Subscribe) -> None:
        session = self._session(connection)
        if not self._own.has(connection, session.account_id):
            self._check_room(connection, request.channel)
        try:
            own_epoch, seq, is_recovered = await self._own.subscribe(connection, session.account_id, request.since)
        except AccountGone:
            connection.cut(CloseCode.FORBIDDEN, "the account is gone")
            return
        self._answer(
            connection,
            request.id,
            {
                "ch": OWN_CHANNEL,
                "ep": own_epoch,
                "seq": seq,
                "recovered": is_recovered,
                "ticks": self._rules.ticks,
            },
        )

    def _unsubscribe(self, connection: Connection, request: Unsubscribe) -> None:
        if request.channel == OWN_CHANNEL:
            session = connection.session
            is_done = session is not None and self._own.unsubscribe(connection, session.account_id)
        else:
            is_done = self._hub.unsubscribe(connection, request.channel)
        if not is_done:
            raise _not_subscribed(request.channel)
        self._answer(connection, request.id, {"ch": request.channel})

    def _resync(self, connection: Connection, request: Resync) -> None:
        def answer(day_book: DayBook) -> bytes:
            return messages.ok(request.id, _position(day_book, day_book.book.seq, False))

        if request.channel == OWN_CHANNEL:
            raise RequestError(
                ErrorCode.BAD_REQUEST, "me has no snapshot; subscribe with since, or read GET /bids/dayahead"
            )
        if not self._hub.resync(connection, request.channel, answer):
            raise _not_subscribed(request.channel)

    def _session(self, connection: Connection) -> Session:
        """The account that the connection speaks for. Raises RequestError."""
        session = connection.session
        if session is None:
            raise RequestError(ErrorCode.NOT_AUTHENTICATED, "authenticate first, with op auth and a token")
        if session.claims.purpose is not Purpose.ACCOUNT:
            raise RequestError(ErrorCode.FORBIDDEN, "only the account of a household has data of its own")
        if session.claims.expires_at <= self._clock():
            raise RequestError(ErrorCode.NOT_AUTHENTICATED, "the token has expired; authenticate with a fresh one")
        return session

    def _day_of(self, channel: str) -> date:
        day, rules = channel_day(channel), self._rules
        today = rules.calendar.today(self._clock())
        if day is None:
            raise RequestError(ErrorCode.UNKNOWN_CHANNEL, "unknown channel; there are book, book:<date> and me")
        first, last = today - timedelta(days=rules.days_back), today + timedelta(days=rules.days_ahead)
        if not first <= day <= last:
            text = f"unknown channel: there are books from {first.isoformat()} to {last.isoformat()}"
            raise RequestError(ErrorCode.UNKNOWN_CHANNEL, text)
        return day

    def _check_room(self, connection: Connection, channel: str) -> None:
        session = connection.session
        has_own = session is not None and self._own.has(connection, session.account_id)
        count = self._hub.count(connection, besides=channel) + has_own
        if count >= self._rules.max_subscriptions:
            text = f"at most {self._rules.max_subscriptions} subscriptions; end one first"
            raise RequestError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, text)

    def _answer(self, connection: Connection, request_id: RequestId, more: dict[str, Any]) -> None:
        connection.reply(messages.ok(request_id, more))


def _speaker(session: Session) -> tuple[Purpose, int]:
    return session.claims.purpose, session.claims.subject


def _position(day_book: DayBook, seq: int, is_recovered: bool) -> dict[str, Any]:
    return {"ch": day_book.channel, "ep": day_book.epoch, "seq": seq, "recovered": is_recovered}


def _not_subscribed(channel: str) -> RequestError:
    return RequestError(ErrorCode.UNKNOWN_CHANNEL, f"not subscribed to {channel}")
