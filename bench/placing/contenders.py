"""Who places: the server and its peers, each a process with a database of its own in the shared PostgreSQL.

What lives here: starting them, and tokens that they accept. What must not: what is asked of them.
"""

import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import jwt

from bench.ground import Ground
from bench.options import Options
from bench.processes import Child, free_port
from bench.shakti import Shakti
from bench.tools import node, node_app, python_venv

_HERE = Path(__file__).parent
_ACCOUNTS = 64
# Connections to PostgreSQL, for each peer the best of 10, 20, 32 and 48: more of them share a flush of the log.
_POOL_OF_FASTIFY = 48
_POOL_OF_FASTAPI = 20
_POOL_OF_PRISMA = 20


@dataclass(frozen=True, slots=True)
class Contender:
    """Where it listens, the process whose descendants it consists of, and whose bids it takes."""

    port: int
    pid: int
    tokens: Sequence[str]


Starting = Coroutine[Any, Any, Contender]


async def shakti(stack: AsyncExitStack, options: Options, ground: Ground, *, workers: int) -> Contender:  # noqa: ARG001
    """The server as `run.py serve` starts it; accounts sign up through its API, with a cheap hash."""
    server = Shakti(ground, f"shakti_{workers}", workers=workers, environ={"SHAKTI_AUTH_BCRYPT_COST": "4"})
    await stack.enter_async_context(server)
    accounts = await server.sign_up(_ACCOUNTS)
    return Contender(server.port, server.pid, [account.token for account in accounts])


async def fastify(stack: AsyncExitStack, options: Options, ground: Ground) -> Contender:  # noqa: ARG001
    """Fastify + pg."""
    app = node_app(_HERE / "peers" / "fastify")
    return await _peer(stack, ground, "fastify", [node(), app / "server.js"], pool_size=_POOL_OF_FASTIFY)


async def express_prisma(stack: AsyncExitStack, options: Options, ground: Ground) -> Contender:  # noqa: ARG001
    """Express + Prisma. Its client is generated into the copy that is run."""
    app = node_app(_HERE / "peers" / "express_prisma")
    return await _peer(stack, ground, "express_prisma", [node(), app / "server.js"], pool_size=_POOL_OF_PRISMA)


async def fastapi(stack: AsyncExitStack, options: Options, ground: Ground) -> Contender:  # noqa: ARG001
    """FastAPI + asyncpg under uvicorn: one process, uvloop, httptools."""
    port = free_port()
    flags = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    command: list[str | Path] = [
        *(python_venv(_HERE / "requirements.txt"), "-m", "uvicorn", "app:app"),
        *("--app-dir", _HERE / "peers" / "fastapi", "--port", str(port), *flags),
    ]
    return await _peer(stack, ground, "fastapi", command, pool_size=_POOL_OF_FASTAPI, port=port)


async def _peer(
    stack: AsyncExitStack,
    ground: Ground,
    name: str,
    command: Sequence[str | Path],
    *,
    pool_size: int,
    port: int | None = None,
) -> Contender:
    port = port or free_port()
    secret = secrets.token_hex(32)
    await peer_database(ground, name)
    child = Child(
        command,
        log=ground.directory / f"{name}.log",
        environ={
            **ground.environment(name),
            "NODE_ENV": "production",
            "PORT": str(port),
            "POOL_SIZE": str(pool_size),
            "SECRET_KEY": secret,
        },
    )
    stack.callback(child.stop)
    await child.wait_until_listening(port)
    return Contender(port, child.pid, [_token(secret, account) for account in range(1, _ACCOUNTS + 1)])


async def peer_database(ground: Ground, name: str) -> None:
    """A database with the peers' tables."""
    connection = await asyncpg.connect(await ground.new_database(name))
    try:
        await connection.execute((_HERE / "peers" / "tables.sql").read_text(encoding="utf-8"))
    finally:
        await connection.close()


def _token(secret: str, account: int) -> str:
    """As the server's own, but for the side, which peers read out of it."""
    now = int(time.time())
    claims = {
        "iss": "shakti",
        "aud": "shakti:account",
        "sub": str(account),
        "accountType": "prosumer",
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + 12 * 3600,
    }
    return jwt.encode(claims, secret, algorithm="HS256")
