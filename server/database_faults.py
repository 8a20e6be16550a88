"""What it means to an operator that the database cannot be used, as sentences that say what to do.

What lives here: the words. What must not: the use of any database; what a request is answered (handlers/errors.py).
"""

from urllib.parse import urlsplit

import asyncpg

from server.config import Config

# What opening and migrating a database may raise. ValueError: the URL cannot be read.
DATABASE_FAULTS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


def describe_fault(fault: BaseException, config: Config, *, is_embedded: bool) -> str:
    """Why the database of `config` cannot be used. Never shows its URL, which holds a password."""
    if is_embedded:
        log = config.server.data_dir / "postgres.log"
        return f"The embedded PostgreSQL does not do what it should: {_reason(fault)}. More is in {log}"
    if isinstance(fault, ValueError):
        return (
            "DATABASE_URL cannot be read. It must look like postgresql://user:password@host:5432/name; in a password, "
            "write %40 for @, %2F for /, %3A for :, %23 for # and %25 for %"
        )
    if isinstance(fault, asyncpg.InvalidCatalogNameError):
        return f"The database server has no such database: {fault}. Create it, or correct DATABASE_URL"
    if isinstance(fault, asyncpg.InvalidAuthorizationSpecificationError):
        return f"The database server does not let Shakti in: {fault}. Correct user and password in DATABASE_URL"
    if isinstance(fault, asyncpg.InsufficientPrivilegeError):
        return (
            f"The database refuses: {fault}. The user in DATABASE_URL must be allowed to create tables; making it the "
            "owner of the database is enough"
        )
    if isinstance(fault, asyncpg.PostgresError):
        return f"The database server refuses: {fault}. Is DATABASE_URL right?"
    return (
        f"The database server{_host(config.database.url)} cannot be reached: {_reason(fault)}. Is it running, and is "
        "DATABASE_URL right?"
    )


def _reason(fault: BaseException) -> str:
    if isinstance(fault, TimeoutError):
        return "it did not answer in time"
    text = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return text.strip().rstrip(".") or type(fault).__name__


def _host(url: str) -> str:
    """Only where the URL says it beyond doubt: what stands there instead may be half a password."""
    try:
        host = urlsplit(url).hostname if url.count("@") == 1 else None
    except ValueError:
        host = None
    return f" at {host}" if host else ""
