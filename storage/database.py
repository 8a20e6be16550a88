"""The pool of PostgreSQL connections, and what becomes of its errors.

What lives here: opening and closing the pool, deadlines, riding through a restart of the server. What must not: SQL,
or what any statement means.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import asyncpg
import asyncpg.pool
import asyncpg.transaction
from asyncpg import Record

from storage.errors import DatabaseUnavailable
from storage.sql import QUERIES

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | asyncpg.Connection[asyncpg.Record]"
T = TypeVar("T")

# What a connection raises that the server, or the way to it, has cut. InternalClientError is neither a PostgresError
# nor an OSError, and is what a connection that went stale between two statements may raise.
_DISCONNECTED: tuple[type[BaseException], ...] = (
    OSError,
    EOFError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
)
# The server lives and cannot do it now: the disk is full, memory or connections have run out.
_EXHAUSTED: tuple[type[BaseException], ...] = (
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.PostgresSystemError,
)
RETRY_PAUSE_S = 0.05


class UnsafeDatabase(Exception):
    """The server is set up so that it may lose what it acknowledged; the text says which setting."""


async def _send_at_once(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Else uvloop sends a statement when all that is ready has had its turn: under load dozens of requests are, and
    meanwhile the server would have nothing to do."""
    connection._transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]  # and no public way to it


async def _keep_as_it_is(_connection: object) -> None:
    """No statement of ours leaves a trace in its session, so none has to be wiped out after each use."""


@contextlib.asynccontextmanager
async def committed(connection: AnyConnection, transaction: asyncpg.transaction.Transaction) -> AsyncIterator[None]:
    """A transaction that was started: committed when the block ends, rolled back when it raises. When it is cancelled
    the connection is closed: asyncpg's own way rolls back on a connection that may be in the middle of a statement, and
    what that raises would take the place of the cancellation."""
    async with _cut_short(connection):
        try:
            yield
        except asyncio.CancelledError:
            # There will be nothing left to roll back on.
            raise
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()


@contextlib.asynccontextmanager
async def _cut_short(connection: AnyConnection) -> AsyncIterator[None]:
    """Have a connection that is given up in the middle of a statement closed at once: else whoever gives it back waits
    for the server to tell that the statement was cancelled, as long again as it had waited for its answer."""
    try:
        yield
    except asyncio.CancelledError:
        connection.terminate()
        raise


def is_disconnect(fault: BaseException) -> bool:
    """Whether `fault` says that the connection is gone, so that another one may do better."""
    # asyncpg's complaint about an argument is an InterfaceError too; it is our fault and no connection's.
    return isinstance(fault, _DISCONNECTED) and not isinstance(fault, ValueError)


@contextlib.contextmanager
def as_unavailable() -> Iterator[None]:
    """Have what the server, or the way to it, cannot do now come out as DatabaseUnavailable."""
    try:
        yield
    except TimeoutError as fault:
        raise DatabaseUnavailable from fault
    except Exception as fault:
        if is_disconnect(fault) or isinstance(fault, _EXHAUSTED):
            raise DatabaseUnavailable from fault
        raise


class Database:
    """All use of PostgreSQL by one process. Every method is answered or raises DatabaseUnavailable within `timeout_s`
    seconds, whatever state the server is in."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", dsn: str, timeout_s: float) -> None:
        self._pool = pool
        self.dsn = dsn
        self.timeout_s = timeout_s

    @classmethod
    async def open(cls, dsn: str, *, pool_size: int, timeout_s: float) -> "Database":
        """Connect and check that the server keeps what it acknowledges. Raises DatabaseUnavailable, UnsafeDatabase."""
        try:
            async with asyncio.timeout(max(timeout_s, 10.0)):
                pool = await asyncpg.create_pool(
                    dsn,
                    min_size=min(2, pool_size),
                    max_size=pool_size,
                    timeout=timeout_s,
                    command_timeout=timeout_s,
                    init=_send_at_once,
                    reset=_keep_as_it_is,
                    server_settings={
                        "application_name": "shakti",
                        "timezone": "UTC",
                        # What is read after a lock was waited for must be seen as it is then.
                        "default_transaction_isolation": "read committed",
                        "jit": "off",
                        "plan_cache_mode": "force_generic_plan",
                        # A connection keeps its plans. One made while a table was nearly empty would read the whole
                        # table for every look-up, until the statistics are renewed.
                        "enable_seqscan": "off",
                        # A process that stops in a transaction must not hold a delivery day's lock for long.
                        "idle_in_transaction_session_timeout": f"{int(timeout_s * 1000) + 1000}ms",
                        "statement_timeout": f"{int(timeout_s * 1000) + 1000}ms",
                    },
                )
        except (*_DISCONNECTED, *_EXHAUSTED) as fault:
            raise DatabaseUnavailable from fault
        database = cls(pool, dsn, timeout_s)
        off = [row["name"] for row in await database.fetch("health/durability")]
        if off:
            await database.close()
            raise UnsafeDatabase(
                f"PostgreSQL runs with {', '.join(off)} = off and may lose bids it acknowledged; switch it on"
            )
        return database

    async def close(self) -> None:
        """Close every connection; those in use after five seconds are cut."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, query: str, *args: object) -> list[Record]:
        """The rows of a query file that only reads. Tried again on another connection when one is cut."""
        return await self._repeat(lambda connection: connection.fetch(QUERIES[query], *args))

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        """The first row, or None, of a query file that only reads or whose repetition changes nothing."""
        return await self._repeat(lambda connection: connection.fetchrow(QUERIES[query], *args))

    async def call(self, query: str, *args: object) -> Any:
        """The only value of a query file that writes, in a transaction of its own: committed when it is returned.

        Raises DatabaseUnavailable when no answer came: then it was done, or was not, or will be when the server reads
        what was sent.
        """
        async with self._in_time(), self._pool.acquire() as connection, _cut_short(connection):
            return await connection.fetchval(QUERIES[query], *args)

    async def _repeat(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self.timeout_s):
                while True:
                    try:
                        async with self._pool.acquire() as connection, _cut_short(connection):
                            return await work(connection)
                    except Exception as fault:
                        if isinstance(fault, _EXHAUSTED):
                            raise DatabaseUnavailable from fault
                        if not is_disconnect(fault):
                            raise
                        await self._renew()
        except TimeoutError as fault:
            raise DatabaseUnavailable from fault

    async def _renew(self) -> None:
        """Have the pool replace its connections, and give the server a moment."""
        await self._pool.expire_connections()
        await asyncio.sleep(RETRY_PAUSE_S)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One read-committed transaction: committed when the block ends, rolled back when it raises.

        A connection found dead before the block began is replaced. One cut within it raises DatabaseUnavailable; then
        it is not known here whether a commit arrived (storage/writer.py looks into the log).
        """
        async with self._in_time(), contextlib.AsyncExitStack() as stack:
            connection, transaction = await self._begin(stack)
            async with committed(connection, transaction):
                yield connection

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Whatever is done inside ends in time, and raises DatabaseUnavailable when it is cut."""
        with as_unavailable():
            async with asyncio.timeout(self.timeout_s):
                yield

    async def _begin(self, stack: contextlib.AsyncExitStack) -> "tuple[Connection, asyncpg.transaction.Transaction]":
        while True:
            attempt = contextlib.AsyncExitStack()
            try:
                connection = await attempt.enter_async_context(self._pool.acquire())
                transaction = connection.transaction()
                async with _cut_short(connection):
                    await transaction.start()
            except Exception as fault:
                await attempt.aclose()
                if not is_disconnect(fault):
                    raise
                await self._renew()
            except BaseException:
                await attempt.aclose()
                raise
            else:
                stack.push_async_exit(attempt.pop_all())
                return connection, transaction
