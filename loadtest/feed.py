"""One subscriber of the feed in a greenlet of its own.

What lives here: the socket, and reporting what it brings. What must not: what makes a message wrong (mirror.py).
"""

import json
import time
from collections.abc import Callable
from typing import Any

import gevent
import websocket

from loadtest.mirror import BookMirror, FeedFault, OwnMirror

# Kind of message, its age in milliseconds, its size in bytes, and what was wrong.
Report = Callable[[str, float, int, Exception | None], None]
# A heartbeat is due every second.
_SILENCE_S = 15.0
_FAULTS = (FeedFault, OSError, ValueError, KeyError, websocket.WebSocketException)


class Feed:
    """Follows a book and the account's own events. After the first fault it follows no more, and `fault` says why.

    The age of an update is by this machine's clock and the server's.
    """

    def __init__(self, url: str, token: str, channel: str, report: Report) -> None:
        """Connect and subscribe; returns once both stand. Raises FeedFault, OSError, websocket.WebSocketException."""
        self.book = BookMirror()
        self.fault: Exception | None = None
        self._report = report
        # Partly without types.
        self._socket: Any = websocket.WebSocket()
        self._socket.connect(url, timeout=_SILENCE_S, subprotocols=["bidbook.v1"], suppress_origin=True)
        self._ask({"op": "auth", "id": "auth", "token": token})
        self.own = OwnMirror(self._ask({"op": "subscribe", "id": "own", "ch": "me"})["seq"])
        self._ask({"op": "subscribe", "id": "book", "ch": channel})
        self._greenlet = gevent.spawn(self._listen)

    def close(self) -> None:
        """End it."""
        self._greenlet.kill()
        self._socket.close()

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        """Send a request; the `ok` that answers it."""
        self._socket.send(json.dumps(request))
        while (message := self._receive()).get("id") != request["id"]:
            if message["t"] != "hello":
                raise FeedFault(f"{message} instead of an answer to {request['op']}")
        if message["t"] != "ok":
            raise FeedFault(f"{request['op']} was refused: {message}")
        return message

    def _listen(self) -> None:
        try:
            while True:
                self._take(self._receive())
        except _FAULTS as fault:
            self.fault = fault
            self._report("fault", 0.0, 0, fault)

    def _take(self, message: dict[str, Any]) -> None:
        kind, age_ms = message["t"], 0.0
        if kind == "me":
            self.own.apply(message)
        elif kind in ("snap", "upd", "gate", "cleared", "hb"):
            self.book.apply(message)
        else:
            raise FeedFault(f"unexpected: {message}")
        if kind == "upd":
            age_ms = max(0.0, time.time() * 1000 - message["ts"])
        self._report(kind, age_ms, self._size, None)

    def _receive(self) -> dict[str, Any]:
        opcode, data = self._socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise FeedFault(f"the server closed with {int.from_bytes(data[:2], 'big')}: {data[2:].decode()}")
        self._size = len(data)
        message: dict[str, Any] = json.loads(data)
        return message
