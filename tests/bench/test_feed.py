"""What the feed's bench counts with: its client against servers whose every byte is known, its payload and its bids."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.feed.bids import bids
from bench.feed.client import Client, Target, client_program
from bench.feed.contenders import FLOOR, peers
from bench.feed.payload import update
from bench.options import Options
from bench.rounds import NotMeasured

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="the bench's client has to be compiled")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[int]:
    """The port of a server that accepts the handshake and then follows a script."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


def frame(payload: bytes, opcode: int = 1) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((length,))
    elif length < 65_536:
        head = b"\x7e" + length.to_bytes(2, "big")
    else:
        head = b"\x7f" + length.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + head + payload


def upd(seq: int, length: int = 0, ts_ms: int | None = None) -> bytes:
    ts_ms = time.time_ns() // 1_000_000 if ts_ms is None else ts_ms
    text = f'{{"t":"upd","ch":"book:2026-11-23","prev":{seq - 1},"seq":{seq},"ts":{ts_ms}}}'
    return text.encode().ljust(length)


async def unmasked(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """A short frame from a client: opcode and payload."""
    head = await reader.readexactly(2)
    assert head[1] & 0x80, "a client masks"
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(head[1] & 0x7F)
    return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@needs_compiler
@pytest.mark.parametrize("piece", [1, 7, 1000, 1_000_000])
async def test_the_client_counts_updates_however_their_frames_are_cut(piece: int) -> None:
    lengths = (90, 125, 126, 900, 65_535, 65_536, 100_000)
    stream = b"".join(frame(upd(seq, length)) for seq, length in enumerate(lengths, start=1))
    if piece < 1000:
        stream = stream[: sum(len(frame(upd(1, length))) for length in lengths[:4])]
    expected = lengths if piece >= 1000 else lengths[:4]
    is_sent = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(stream), piece):
            writer.write(stream[start : start + piece])
            await writer.drain()
            await asyncio.sleep(0)
        # What the client reads before this is answered, it has read in order.
        writer.write(frame(b"done", opcode=9))
        assert await unmasked(reader) == (10, b"done")
        is_sent.set()
        await reader.read()

    async with server(script) as port, Client(client_program(Options()), Target(port), 1) as client:
        await is_sent.wait()
        report = await client.report()
    assert (report["updates"], report["bytes"]) == (len(expected), sum(expected))
    assert report["last_seq"] == len(expected)
    assert report["closed"] == 0


@needs_compiler
async def test_a_subscriber_is_ready_when_its_subscription_is_confirmed() -> None:
    confirmed = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal confirmed
        writer.write(frame(b'{"t":"hello"}'))
        assert await unmasked(reader) == (1, b'{"op":"subscribe"}')
        confirmed += 1
        writer.write(frame(b'{"t":"ok"}') + frame(b'{"t":"snap","lv":[]}') + frame(upd(7)))
        await reader.read()

    async with server(script) as port:
        target = Target(port, subscribe='{"op":"subscribe"}', ready='{"t":"snap"')
        async with Client(client_program(Options()), target, 3) as client:
            assert confirmed == 3
            report = await client.report()
    assert (report["updates"], report["others"]) == (3, 9)


@needs_compiler
async def test_the_client_times_updates_and_tells_when_all_have_one() -> None:
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(frame(upd(5, ts_ms=time.time_ns() // 1_000_000 - 500)))
        await reader.read()

    async with server(script) as port, Client(client_program(Options()), Target(port), 4) as client:
        await client.reset()
        await client.mark()
        go.set()
        heard = await client.told("all")
        report = await client.report()
    assert heard["seq_low"] == heard["seq_high"] == 5
    assert heard["first_us"] <= heard["last_us"] <= time.time_ns() // 1000
    assert report["updates"] == 4
    for figure in ("p50_us", "p99_us", "max_us"):
        assert 499_000 <= report[figure] < 5_000_000


@needs_compiler
async def test_a_refused_handshake_is_not_measured() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(NotMeasured, match="not answered with 101"):
            async with Client(client_program(Options()), Target(port), 1):
                pass


@needs_compiler
async def test_a_cut_connection_shows_in_the_report() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)

    async with server(script) as port:
        target = Target(port, subscribe="x")
        async with Client(client_program(Options()), target, 2) as client:
            async with asyncio.timeout(10):
                while (await client.report())["closed"] < 2:  # noqa: ASYNC110 - the client tells when asked only
                    await asyncio.sleep(0.01)


@needs_compiler
async def test_the_floor_sends_the_payload_to_everybody_every_tick() -> None:
    options = Options()
    async with (
        peers(options, update(1100))[FLOOR]() as serving,
        Client(client_program(options), serving.target, 20) as client,
    ):
        await serving.go()
        for _ in range(3):
            await client.mark()
            await client.told("all")
        report = await client.report()
    assert report["updates"] >= 60
    assert report["updates"] % 20 == 0
    assert report["bytes"] == report["updates"] * 1100
    assert report["max_us"] < 5_000_000


@pytest.mark.parametrize("length", [80, 500, 1100, 4000])
def test_a_payload_has_the_length_asked_for_and_is_an_update(length: int) -> None:
    length = max(length, len(update(0)))
    text = update(length)
    message = json.loads(text)
    assert len(text.encode()) == length
    assert message["t"] == "upd"
    assert text.index('"ts":') + 18 < 160, "the client looks for the stamp at the beginning"
    assert len(text.rstrip("}")) - len(text.rstrip("}").rstrip()) < 60, "mostly levels, not spaces"


@pytest.mark.parametrize("count", [1, 30, 400])
def test_the_bids_of_a_placement_are_at_levels_of_their_own(count: int) -> None:
    for number in range(200):
        made = bids(number, count)
        assert len({(bid["timeslot"], bid["price"]) for bid in made}) == count
