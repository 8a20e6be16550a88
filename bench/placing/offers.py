"""What is placed: the same bids for every contender.

What lives here: bodies and headers of the requests. What must not: sending them.
"""

import json
import random
from collections.abc import Sequence

from bench.http_load import Request

_PATH = "/placebid/dayahead"
_SLOTS = 96
# Requests before bodies repeat; every sending has an idempotency key of its own all the same.
_BODIES_PER_TOKEN = 4


def bids_of(tokens: Sequence[str], size: int) -> list[Request]:
    """Requests of `size` bids each by the owners of the tokens in turn; the same ones in every run."""
    chance = random.Random(size)
    return [
        Request(
            "POST",
            _PATH,
            {"Authorization": f"Bearer {token}"},
            json.dumps({"arr": _bids(chance, size)}, separators=(",", ":")).encode(),
            has_key=True,
        )
        for _ in range(_BODIES_PER_TOKEN)
        for token in tokens
    ]


def _bids(chance: random.Random, size: int) -> list[dict[str, str]]:
    slots = range(_SLOTS) if size == _SLOTS else [chance.randrange(_SLOTS) for _ in range(size)]
    return [
        {
            "timeslot": f"{_time(slot)}-{_time((slot + 1) % _SLOTS)}",
            "volume": f"{chance.randint(1, 9999) / 1000:.3f}",
            "price": f"{chance.randint(300, 700) / 100:.2f}",
        }
        for slot in slots
    ]


def _time(slot: int) -> str:
    return f"{slot // 4:02}:{slot % 4 * 15:02}"
