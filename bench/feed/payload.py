"""The update that peers send: what ours sends in a tick, of the same kind and length.

What lives here: making it up. What must not: sending it.
"""

import json

_SLOTS = tuple(range(31, 43))
_MOST_LEVELS = 200


def update(length: int) -> str:
    """An `upd` with as many levels as fit into `length` bytes, spaces filling it up. `"ts":` is
    followed by 13 digits that the sender replaces with its time in milliseconds; `seq` stays, since no peer counts."""
    text = max((_text(levels) for levels in range(_MOST_LEVELS)), key=lambda text: (len(text) <= length, len(text)))
    return f"{text[:-1]}{' ' * (length - len(text))}}}"


def _text(levels: int) -> str:
    message = {
        "t": "upd",
        "ch": "book:2026-11-23",
        "prev": 48_230,
        "seq": 48_260,
        "ts": 1_700_000_000_000,
        "lv": sorted(
            [_SLOTS[number % len(_SLOTS)], "SB"[number % 2], 420 + 7 * number % 61, 61_000 + 997 * number, number % 7]
            for number in range(levels)
        ),
        "ind": [[slot, 431, 98_000 + slot] for slot in _SLOTS[:levels]],
        "cs": {str(slot): 2_811_220_000 + 9_973 * slot for slot in _SLOTS[:levels]},
    }
    return json.dumps(message, separators=(",", ":"))
