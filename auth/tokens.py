"""Signed tokens: what they say, making and checking them (RFC 7519, RFC 8725).

What lives here: the claims and every check that needs no storage. What must not: revocation, which is kept (see
storage/sessions.py).
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import jwt

ISSUER = "shakti"
# Ours have about 300 characters; a megabyte is not worth a signature.
_MAX_CHARACTERS = 2048
# Identity keys are bigint; PostgreSQL would refuse a larger number as a fault of ours.
_MAX_SUBJECT = 2**63 - 1
# Three parts of base64url without padding, and nothing else that a lenient decoder would pass.
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Purpose(StrEnum):
    """What a token is for: its `aud`. A token of one purpose is worth nothing for another."""

    ACCOUNT = "shakti:account"
    SHIPPER = "shakti:shipper"
    TRANSPORTER = "shakti:transporter"
    OPERATOR = "shakti:operator"
    EMAIL_LINK = "shakti:email-link"


class TokenError(Exception):
    """The token is malformed, forged, expired, not yet valid or of another purpose."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked token says. `generation` is that of its subject when it was made."""

    purpose: Purpose
    subject: int
    generation: int
    jti: str
    expires_at: datetime


class Tokens:
    """Makes and checks tokens with one secret. Any process with the same secret accepts them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._jwt = jwt.PyJWT({"enforce_minimum_key_length": True})

    def issue(
        self,
        purpose: Purpose,
        subject: int,
        generation: int,
        lifetime: timedelta,
        now: datetime | None = None,
    ) -> tuple[str, Claims]:
        """A new token of a subject (the id of an account, partner or operator), and what it says."""
        made = now or datetime.now(UTC)
        claims = Claims(purpose, subject, generation, secrets.token_urlsafe(16), made + lifetime)
        payload = {
            "iss": ISSUER,
            "aud": purpose.value,
            "sub": str(subject),
            "gen": generation,
            "jti": claims.jti,
            "iat": made,
            "exp": claims.expires_at,
        }
        return self._jwt.encode(payload, self._secret, algorithm="HS256"), claims

    def verify(self, token: str, *purposes: Purpose) -> Claims:
        """The claims of a token made for one of `purposes`; TokenError for every other text."""
        if len(token) > _MAX_CHARACTERS or not _SHAPE.fullmatch(token):
            raise TokenError("malformed")
        try:
            payload = self._jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=[purpose.value for purpose in purposes],
                issuer=ISSUER,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
            )
            subject = int(payload["sub"])
            if not 0 < subject <= _MAX_SUBJECT:
                raise ValueError("no such subject")
            return Claims(
                purpose=Purpose(payload["aud"]),
                subject=subject,
                generation=int(payload["gen"]),
                jti=payload["jti"],
                expires_at=datetime.fromtimestamp(payload["exp"], UTC),
            )
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, OverflowError) as fault:
            raise TokenError(type(fault).__name__) from fault
