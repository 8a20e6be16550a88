"""One-time passwords: making them, and the digest that is kept instead of them.

What lives here: the shape and the digest. What must not: keeping, counting tries or sending (storage/codes.py,
handlers/otp.py).
"""

import hashlib
import hmac
import re
import secrets
from enum import StrEnum

_SHAPE = re.compile(r"[0-9]{6}")


class OtpPurpose(StrEnum):
    """What an OTP was asked for; it proves nothing else."""

    SIGNUP = "signup"
    RESET = "reset"
    PARTNER = "partner"


def make_otp() -> str:
    """Six random digits."""
    return f"{secrets.randbelow(1_000_000):06}"


def is_otp(text: str) -> bool:
    """Whether the text has the shape of an OTP; one that has not is wrong without costing a look-up."""
    return _SHAPE.fullmatch(text) is not None


class OtpDigests:
    """Digests of OTPs, keyed so that six digits cannot be found by trying them all against what is kept."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"shakti otp pepper", "sha256")

    def digest(self, purpose: OtpPurpose, phone: str, otp: str) -> str:
        """The digest of an OTP for one purpose and number (E.164), as hexadecimal text."""
        return hmac.new(self._key, f"{purpose}|{phone}|{otp}".encode(), hashlib.sha256).hexdigest()
