"""Wrong websocket frames and wrong messages, drawn at random, each with what a server may say to it.

What lives here: making them. What must not: a socket.
"""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, frame

BAD_UTF8 = (
    b"\xff",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b'{"op":"ping","id":"\xff"}',
    b'{"op":"\xe2\x28\xa1"}',
    b"\x80" * 40,
)
OPS = ("auth", "subscribe", "unsubscribe", "resync", "ping", "publish", "", "AUTH", "__class__", "eval", "hello")
CHANNELS = (
    "book",
    "me",
    "book:",
    "book:2026-99-99",
    "book:0001-01-01",
    "../../etc",
    "book:\x00",
    "*",
    "book:" + "9" * 50,
)


@dataclass(frozen=True, slots=True)
class Attack:
    """Bytes to send on an open websocket. `codes` are the close codes that answer them; `is_cut` means that they end
    within a frame, so that the server can only wait for more."""

    name: str
    data: bytes
    codes: frozenset[int]
    is_cut: bool = False


def attacks(chance: random.Random) -> Iterator[Attack]:
    """Wrong frames without end."""
    makers: tuple[Callable[[random.Random], Attack], ...] = (
        _unknown_opcode,
        _reserved_bits,
        _control_in_pieces,
        _long_control,
        _continuation_of_nothing,
        _new_text_within_another,
        _huge_length,
        _too_long,
        _too_long_in_pieces,
        _bad_utf8,
        _bad_utf8_in_pieces,
        _binary,
        _bad_close,
        _noise,
        _cut_short,
        _control_flood,
    )
    while True:
        for maker in makers:
            yield maker(chance)


def _attack(name: str, data: bytes, *codes: int, is_cut: bool = False) -> Attack:
    return Attack(name, data, frozenset(codes), is_cut)


def _bytes(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randint(0, most))


def _unknown_opcode(chance: random.Random) -> Attack:
    return _attack("opcode", frame(_bytes(chance, 100), chance.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))), 1002)


def _reserved_bits(chance: random.Random) -> Attack:
    data = frame(b'{"op":"ping"}', chance.choice((TEXT, BINARY, PING)), reserved=chance.randint(1, 7))
    return _attack("reserved bits", data, 1002)


def _control_in_pieces(chance: random.Random) -> Attack:
    return _attack("control in pieces", frame(b"x", chance.choice((CLOSE, PING, PONG)), is_last=False), 1002)


def _long_control(chance: random.Random) -> Attack:
    return _attack("long control", frame(b"x" * chance.randint(126, 3000), chance.choice((CLOSE, PING, PONG))), 1002)


def _continuation_of_nothing(chance: random.Random) -> Attack:
    return _attack("continuation", frame(_bytes(chance, 50), 0, is_last=chance.random() < 0.5), 1002)


def _new_text_within_another(chance: random.Random) -> Attack:
    second = frame(b"y", chance.choice((TEXT, BINARY)), is_last=chance.random() < 0.5)
    return _attack("text within text", frame(b"x", is_last=False) + second, 1002)


def _huge_length(chance: random.Random) -> Attack:
    claimed = chance.choice((2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1))
    return _attack("huge length", frame(_bytes(chance, 200), length=claimed, length_bytes=8), 1002, 1009)


def _too_long(chance: random.Random) -> Attack:
    return _attack("too long", frame(b" " * chance.randint(4097, 20_000)), 1009)


def _too_long_in_pieces(chance: random.Random) -> Attack:
    pieces = [frame(b" " * 1500, TEXT if not turn else 0, is_last=turn == 3) for turn in range(4)]
    return _attack("too long in pieces", b"".join(pieces), 1009)


def _bad_utf8(chance: random.Random) -> Attack:
    return _attack("bad UTF-8", frame(chance.choice(BAD_UTF8)), 1007)


def _bad_utf8_in_pieces(chance: random.Random) -> Attack:
    text = chance.choice(BAD_UTF8)
    return _attack("bad UTF-8 in pieces", frame(b'"', is_last=False) + frame(text, 0), 1007)


def _binary(chance: random.Random) -> Attack:
    return _attack("binary", frame(_bytes(chance, 300), BINARY), 1003)


def _bad_close(chance: random.Random) -> Attack:
    payload = chance.choice(
        (b"\x03", *(struct.pack(">H", code) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 2999)), b"\x03\xe8\xff")
    )
    # 1000, where a code that nobody may send is taken for none.
    return _attack("bad close", frame(payload, CLOSE), 1000, 1002, 1007)


def _noise(chance: random.Random) -> Attack:
    # Whatever it means, the connection ends with it.
    return _attack("noise", chance.randbytes(chance.randint(2, 400)), 1000, 1002, 1003, 1007, 1009, 4501, is_cut=True)


def _cut_short(chance: random.Random) -> Attack:
    whole = frame(b'{"op":"ping","id":"' + b"x" * chance.randint(1, 300) + b'"}')
    return _attack("cut short", whole[: chance.randint(1, len(whole) - 1)], 1000, 1002, is_cut=True)


def _control_flood(chance: random.Random) -> Attack:
    pings = b"".join(frame(chance.randbytes(100), chance.choice((PING, PONG))) for _ in range(100))
    return _attack("control flood", pings + frame(b"", 3), 1002, 4013)


def messages(chance: random.Random) -> Iterator[bytes]:
    """Whole texts, some of them JSON, hardly any of them messages, without end."""
    while True:
        kind = chance.randrange(8)
        if kind == 0:
            yield _text(chance).encode("utf-8", "replace")
        elif kind == 1:
            depth = chance.randint(5, 2000)
            yield (b"[" * depth + b"]" * depth) if chance.random() < 0.5 else b'{"op":' * (depth // 3)
        elif kind == 2:
            yield b'{"op":"ping","id":%s}' % chance.choice(
                (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1" * 400, b"-0", b'"\\ud800"', b'"\\u0000"', b"01", b"0x1")
            )
        elif kind == 3:
            yield orjson.dumps(_value(chance, 4))
        elif kind == 4:
            yield b'{"op":"ping","op":"nonsense","id":1,"id":[]}'
        else:
            fields: dict[str, Any] = {"op": chance.choice(OPS), "ch": chance.choice(CHANNELS)}
            for name in ("id", "rate", "slots", "since", "token", "ch", "op", "x"):
                if chance.random() < 0.25:
                    fields[name] = _value(chance, 2)
            yield orjson.dumps(fields)


def _text(chance: random.Random) -> str:
    letters = (chr(chance.choice((chance.randrange(128), chance.randrange(0xD800), 0x202E, 0xFEFF))) for _ in range(40))
    return "".join(letters)


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(9 if depth else 6)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return chance.choice((0, -1, 1, 41, 97, 100, 1000, 2**31, 2**53, 2**63 - 1, -(2**63)))
    if kind == 2:
        return chance.choice((0.1, -0.0, 1e300, 41.0))
    if kind in (3, 4):
        return chance.choice((_text(chance), "", "book", "me", "x" * 70))
    if kind == 5:
        return chance.choice(([], {}))
    if kind in (6, 7):
        return [_value(chance, depth - 1) for _ in range(chance.randint(1, 5))]
    return {chance.choice(("ep", "seq", "op", "x")): _value(chance, depth - 1) for _ in range(3)}
