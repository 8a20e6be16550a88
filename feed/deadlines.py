"""What time does to a connection: pings, the wait for authentication, the end of a token, patience with slow readers.

What lives here: each deadline and what happens at it; feed protocol, rules 6 to 8. What must not: timers of single
connections: one look a second at all of them costs less.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from feed import messages
from feed.connection import CloseCode, Connection
from feed.frames import PING
from feed.hub import Hub
from feed.own import OwnFeed
from feed.registry import Registry
from feed.requests import OWN_CHANNEL
from feed.rules import FeedRules
from storage.background import end_task
from storage.sessions import Session

log = structlog.get_logger("shakti.feed")
_LONGEST_LOOK_S: Final = 1.0
_SHORTEST_LOOK_S: Final = 0.05


class Deadlines:
    """Looks at every connection again and again. `clock` tells the time, aware."""

    def __init__(
        self, registry: Registry, hub: Hub, own: OwnFeed, rules: FeedRules, clock: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._hub = hub
        self._own = own
        self._rules = rules
        self._clock = clock
        shortest = min(rules.ping_s, rules.pong_timeout_s, rules.auth_timeout_s, rules.slow_close_s)
        # Often enough that a deadline is at most a tenth late, also where settings make them short.
        self._look_s = max(_SHORTEST_LOOK_S, min(_LONGEST_LOOK_S, shortest / 10))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start looking; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="feed-deadlines")

    async def close(self) -> None:
        """Stop looking."""
        await end_task(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            now = time.monotonic()
            for connection in self._registry.connections:
                # Of thousands only a few have anything due.
                if now >= connection.due_at:
                    try:
                        self._look_at(connection, now)
                    except Exception as fault:
                        log.error("a connection's deadlines failed", exc_info=fault)

    def _look_at(self, connection: Connection, now: float) -> None:
        """Do what is due, and note when the next thing may be."""
        rules = self._rules
        connection.due_at = now + min(rules.ping_s, rules.pong_timeout_s, rules.auth_timeout_s)
        if connection.slow_since is not None:
            self._be_patient(connection, now)
        if connection.pinged_at is not None:
            self._await_pong(connection, connection.pinged_at, now)
        elif now - connection.heard_at > rules.ping_s:
            # A ping that finds no room is behind data that say as much about whether the client reads.
            connection.send(PING)
            connection.pinged_at = now
            self._note(connection, now + rules.pong_timeout_s)
        else:
            self._note(connection, connection.heard_at + rules.ping_s)
        if connection.session is not None:
            self._watch_token(connection, connection.session, now)
        elif not self._is_spectator(connection):
            self._await_auth(connection, now)

    def _note(self, connection: Connection, due_at: float) -> None:
        """That a connection is to be looked at by then."""
        connection.due_at = min(connection.due_at, due_at)

    def _await_pong(self, connection: Connection, pinged_at: float, now: float) -> None:
        if now - pinged_at > self._rules.pong_timeout_s:
            connection.cut(CloseCode.NO_PONG, "no pong")
        else:
            self._note(connection, pinged_at + self._rules.pong_timeout_s)

    def _await_auth(self, connection: Connection, now: float) -> None:
        if now - connection.opened_at > self._rules.auth_timeout_s:
            connection.cut(CloseCode.NO_AUTH_IN_TIME, "no authentication in time")
        else:
            self._note(connection, connection.opened_at + self._rules.auth_timeout_s)

    def _be_patient(self, connection: Connection, now: float) -> None:
        if not connection.unsent_bytes():
            connection.slow_since = None
        elif connection.slow_since is not None and now - connection.slow_since > self._rules.slow_close_s:
            connection.cut(CloseCode.SLOW, "too slow")
        else:
            # It may recover at any moment, and then begins anew.
            self._note(connection, now)

    def _is_spectator(self, connection: Connection) -> bool:
        return self._rules.is_book_public and self._hub.count(connection) > 0

    def _watch_token(self, connection: Connection, session: Session, now: float) -> None:
        """Warn before the token ends; after it the own data end first, then the connection."""
        rules, expires_at_s = self._rules, session.claims.expires_at.timestamp()
        steps_s = (-rules.expiry_warning_s, rules.expiry_grace_s, rules.expiry_grace_s + rules.expiry_close_s)
        since_s = self._clock().timestamp() - expires_at_s
        if connection.expiry_step == 0 and since_s >= steps_s[0]:
            connection.expiry_step = 1
            connection.send(messages.token_expiring(int(expires_at_s)))
        if connection.expiry_step == 1 and since_s >= steps_s[1]:
            connection.expiry_step = 2
            if self._own.unsubscribe(connection, session.account_id):
                connection.send(messages.unsubscribed(OWN_CHANNEL, CloseCode.TOKEN_EXPIRED, "token expired"))
        if connection.expiry_step == 2 and since_s >= steps_s[2]:
            connection.cut(CloseCode.TOKEN_EXPIRED, "token expired")
        else:
            self._note(connection, now + steps_s[connection.expiry_step] - since_s)
