"""Passwords: what is accepted, hashing and checking with bcrypt.

What lives here: the rules and the threads that hash. What must not: where hashes are kept, or whose they are.
"""

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

MIN_CHARACTERS = 8
# bcrypt reads no further; a longer password would be cut in silence.
MAX_BYTES = 72
T = TypeVar("T")


def password_fault(password: str) -> str | None:
    """Why the text cannot be a password, as a clause that follows the field's name, or None when it can."""
    if len(password) < MIN_CHARACTERS:
        return f"must have at least {MIN_CHARACTERS} characters"
    if len(password.encode()) > MAX_BYTES:
        return f"must not be longer than {MAX_BYTES} bytes in UTF-8"
    if "\0" in password:
        return "must not contain a NUL character"
    return None


class Passwords:
    """Hashes and checks passwords off the event loop, in as many threads as there are cores."""

    def __init__(self, cost: int, threads: int | None = None) -> None:
        self._cost = cost
        self._pool = ThreadPoolExecutor(
            max_workers=threads or os.cpu_count() or 1,
            thread_name_prefix="bcrypt",
            initializer=_yield_to_others,
        )
        # Checked for accounts that do not exist, so that they take as long as those that do.
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16).hex().encode(), bcrypt.gensalt(cost)).decode()

    async def hash(self, password: str) -> str:
        """The bcrypt hash of a password that `password_fault` has accepted."""
        return await self._run(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._cost)).decode())

    async def check(self, password: str, hashed: str | None) -> bool:
        """Whether the password is that of `hashed`. With None (no such account) it does the same work and says no."""
        candidate = password.encode()
        # What cannot be a password is checked in its place as something that never matches: same work, same time.
        if len(candidate) > MAX_BYTES or b"\0" in candidate:
            candidate, hashed = b"x", None
        matches = await self._run(lambda: bcrypt.checkpw(candidate, (hashed or self._nobody).encode()))
        return matches and hashed is not None

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Stop the threads; hashing under way is finished, hashing that waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _yield_to_others() -> None:
    """Lower this thread's priority: the event loop answers everybody, a hash only one. Linux knows priorities of
    threads; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
