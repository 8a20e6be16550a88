"""A verified copy of the open day-ahead book: SHAKTI_TOKEN=eyJ... python book.py http://127.0.0.1:8080"""

import asyncio
import os
import random
import sys
from struct import pack
from typing import Any
from zlib import crc32

import aiohttp


class Book:
    """Levels as of event `seq` of history `ep` ("": wait for a snapshot): {slot: {(side, price): (volume, bids)}}."""

    def __init__(self) -> None:
        self.ep, self.seq, self.levels = "", 0, dict[int, dict[tuple[str, int], tuple[int, int]]]()

    def slot_crc(self, slot: int) -> int:
        levels = sorted(self.levels[slot].items())
        return crc32("".join(f"{side},{price},{volume},{bids};" for (side, price), (volume, bids) in levels).encode())

    def crc(self) -> int:
        return crc32(pack(">96I", *map(self.slot_crc, self.levels)))

    def apply(self, message: dict[str, Any]) -> bool:
        """Take in a message about the book. False: something is missing or differs, so resync."""
        if message["t"] == "snap":
            self.ep, self.levels = message["ep"], {slot: {} for slot in range(1, 97)}
        elif not self.ep:
            return True
        elif message["t"] == "hb":
            [(ep, seq, crc)] = message["at"].values()
            return bool(ep == self.ep and (seq < self.seq or (seq == self.seq and crc == self.crc())))
        elif not message["prev"] <= self.seq < message["seq"]:
            return bool(message["seq"] <= self.seq)
        self.seq = message["seq"]
        for slot, side, price, volume, bids in message.get("lv", []):
            self.levels[slot][side, price] = volume, bids
            if volume == 0:
                del self.levels[slot][side, price]
        checked = all(self.slot_crc(int(slot)) == crc for slot, crc in message.get("cs", {}).items())
        return checked and message.get("crc") in (None, self.crc())


async def follow(session: aiohttp.ClientSession, token: str, book: Book) -> tuple[int, list[int], str]:
    """One connection: its close code, the milliseconds within which to come back, and the token to go on with."""
    retry_ms = [0, 3000]
    async with session.ws_connect("/ws", timeout=aiohttp.ClientWSTimeout(ws_receive=10)) as ws:
        since = {"ep": book.ep, "seq": book.seq} if book.ep else None
        subscribe = {"op": "subscribe", "id": "subscribe", "ch": "book", "since": since}
        await ws.send_json({"op": "auth", "id": "auth", "token": token} if token else subscribe)
        while (frame := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
            match message := frame.json():
                case {"t": "ok", "id": "auth"}:
                    await ws.send_json(subscribe)
                case {"t": "token_expiring"}:
                    async with session.post("/token/refresh", headers={"Authorization": f"Bearer {token}"}) as answer:
                        token = (await answer.json()).get("token", token)
                    await ws.send_json({"op": "auth", "id": "refresh", "token": token})
                case {"t": "bye"}:
                    retry_ms = message["retry_ms"]
                case {"t": "err"}:
                    print(message, file=sys.stderr)
                case {"t": "snap" | "upd" | "gate" | "cleared" | "hb" as kind}:
                    if not book.apply(message):
                        book.ep = ""
                        await ws.send_json({"op": "resync", "id": "resync", "ch": "book"})
                    elif book.ep and kind != "hb":
                        count = sum(map(len, book.levels.values()))
                        print(message["ch"], "seq", book.seq, "levels", count, "crc", book.crc(), flush=True)
        return ws.close_code or 1006, retry_ms, token


async def main(url: str, token: str) -> None:
    book, code, retry_ms = Book(), 1006, [0, 0]
    async with aiohttp.ClientSession(url) as session:
        while code < 4500 and code not in (1002, 1003, 1007, 1009):
            await asyncio.sleep(random.uniform(*retry_ms) / 1000)  # noqa: S311 - spreads clients
            try:
                code, retry_ms, token = await follow(session, token, book)
            except (aiohttp.ClientError, TimeoutError):
                code, retry_ms = 1006, [0, min(30_000, 1000 + 2 * retry_ms[1])]
    sys.exit(f"closed for good: {code}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], os.environ.get("SHAKTI_TOKEN", "")))
