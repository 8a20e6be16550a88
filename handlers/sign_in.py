"""Limits on guessing passwords, which slow a stranger without locking the owner out.

What lives here: counting sign-ins that fail. What must not: checking the password.
"""

import contextlib
import hashlib
from dataclasses import dataclass

from aiohttp import web

from handlers.context import CLIENT_ADDRESS, CODES, IDENTITY
from handlers.requests import QUARTER_OF_AN_HOUR_S, take
from storage.codes import Codes, Limit
from storage.errors import RedisUnavailable

# An address that signed in to an account is known there for this long.
_KNOWN_FOR_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class SignIn:
    """A try that was counted as failed when it began, so that many at once cannot pass the limit together."""

    codes: Codes
    counted: tuple[Limit, ...]
    known_key: str

    async def succeed(self) -> None:
        """The password was right: the count is taken back and the address is known from now on."""
        await self.codes.give_back(self.counted)
        await self.codes.remember(self.known_key, _KNOWN_FOR_S)


async def begin_sign_in(request: web.Request, subject: str) -> SignIn:
    """Begin a sign-in to `subject` ("prosumer:+911234567890"), whether or not such an account exists.

    Failures count for the account and the address, for the account over all addresses, and for the address over all
    accounts. Only the first binds an address that signed in to the account before: no failures of others keep its owner
    out, neither those made elsewhere nor those of a neighbour who shares the address. Raises TooManyRequests,
    RedisUnavailable.
    """
    rules, codes, address = request.app[IDENTITY], request.app[CODES], request[CLIENT_ADDRESS]
    name = _name(subject)
    known_key = _known_key(name, address)
    limits = [Limit(f"signin:{name}:{address}", rules.signin_failures, QUARTER_OF_AN_HOUR_S)]
    if not await codes.remembers(known_key):
        limits += (
            Limit(f"signin:{name}", rules.signin_failures, QUARTER_OF_AN_HOUR_S),
            Limit(f"signin-address:{address}", rules.signin_failures_address, QUARTER_OF_AN_HOUR_S),
        )
    await take(request, limits)
    return SignIn(codes, tuple(limits), known_key)


async def know_address(request: web.Request, subject: str) -> None:
    """The address has just made the account. Only a convenience: without Redis the sign-up stands all the same."""
    with contextlib.suppress(RedisUnavailable):
        await request.app[CODES].remember(_known_key(_name(subject), request[CLIENT_ADDRESS]), _KNOWN_FOR_S)


def _name(subject: str) -> str:
    # Subjects hold what users typed; a digest keeps keys short and numbers out of Redis' own logs.
    return hashlib.sha256(subject.encode()).hexdigest()[:32]


def _known_key(name: str, address: str) -> str:
    return f"signin-known:{name}:{address}"
