"""Websocket frames as bytes (RFC 6455, section 5.2): built once, written to any number of sockets.

What lives here: complete, unmasked, unfragmented, uncompressed frames from a server. What must not: what a message says
(messages.py), or writing it (connection.py). Why frames are built here at all: docs/adr/0006.
"""

from typing import Final

PING: Final = b"\x89\x00"
_TEXT: Final = 0x81
_PONG: Final = 0x8A
# Control frames carry no more than this (RFC 6455, section 5.5).
_MAX_CONTROL_BYTES: Final = 125


def text_frame(payload: bytes) -> bytes:
    """A whole text message; `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping; `payload` is what the ping carried."""
    if len(payload) > _MAX_CONTROL_BYTES:
        raise ValueError("a pong carries at most 125 bytes")
    return bytes((_PONG, len(payload))) + payload
