"""What one client may ask of the feed: messages, bytes, subscriptions, connections, silence (rules 9 and 10)."""

import asyncio
import time

import pytest
from aiohttp import WSMsgType

from tests.conftest import Client, MakeClient
from tests.factories import bid, place, sign_up
from tests.feed_sources import channel
from tests.feed_wire import Closed, Wire
from tests.handlers.test_live_messages import assert_err
from tests.raw_websocket import CLOSE, PING, PONG, TEXT, RawWebSocket, frame


async def test_a_burst_is_answered_and_a_flood_closes(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    for _ in range(20):
        await wire.send("ping")
    for _ in range(20):
        assert (await wire.next())["t"] == "ok"
    flooding, other = [await Wire.open(client, header=household.token) for _ in range(2)]
    for _ in range(40):
        await flooding.send("ping")
    assert await flooding.close_code() == 4013
    assert 20 <= sum(text.startswith('{"t":"ok"') for text in flooding.texts) <= 25
    assert (await other.ask("ping"))["t"] == "ok", "a flood is one socket's own"


async def test_messages_come_back_in_time(make_client: MakeClient) -> None:
    client = await make_client(feed={"messages_per_s": 10.0, "message_burst": 3})
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    for _ in range(3):
        await wire.ask("ping")
    await asyncio.sleep(0.25)  # two more are granted by then, and it is time that is tested
    for _ in range(2):
        await wire.ask("ping")
    for _ in range(20):
        await wire.send("ping")
    assert await wire.close_code() == 4013


@pytest.mark.parametrize("what", ["pings", "unknown", "no JSON", "before auth"])
async def test_every_message_counts_for_the_limit(client: Client, what: str) -> None:
    """Faults, and what comes before authentication, cost the server as much."""
    household = await sign_up(client)
    wire = await Wire.open(client, header=None if what == "before auth" else household.token)
    for _ in range(60):
        if what == "no JSON":
            await wire.socket.send_str("x")
        else:
            await wire.send("ping" if what != "unknown" else "x")
    assert await wire.close_code() in ({4013, 4501} if what in ("unknown", "no JSON") else {4013})


async def test_four_kilobytes_are_enough_for_a_message(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    text = '{"op":"ping","id":"big"}'
    await wire.socket.send_str(text + " " * (4096 - len(text)))
    answer = await wire.next()
    assert (answer["t"], answer["id"]) == ("ok", "big")
    await wire.socket.send_str(text + " " * (4097 - len(text)))
    assert await wire.close_code() == 1009


async def test_a_message_in_pieces_is_measured_as_a_whole(client: Client) -> None:
    household = await sign_up(client)
    raw = await RawWebSocket.open(client.port or 0, headers=household.headers)
    assert (await raw.read()).opcode == TEXT
    await raw.send(frame(b'{"op":', is_last=False) + frame(b'"ping","id":1}', 0))
    assert b'"ok"' in (await raw.read()).payload
    await raw.send(b"".join(frame(b" " * 1000, TEXT if not turn else 0, is_last=False) for turn in range(5)))
    closing = await raw.read()
    assert (closing.opcode, closing.close_code) == (CLOSE, 1009)
    raw.close()


async def test_a_frame_that_only_promises_to_be_huge_is_refused_at_once(client: Client) -> None:
    """Before its bytes come: whoever may send them may fill the memory with them."""
    household = await sign_up(client)
    for claimed in (5000, 2**20, 2**40, 2**62):
        raw = await RawWebSocket.open(client.port or 0, headers=household.headers)
        assert (await raw.read()).opcode == TEXT
        await raw.send(frame(b"x" * 100, length=claimed, length_bytes=8))
        closing = await raw.read(2)
        assert (closing.opcode, closing.close_code) == (CLOSE, 1009), claimed
        raw.close()


async def test_binary_messages_are_refused(client: Client) -> None:
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    await wire.socket.send_bytes(b'{"op":"ping"}')
    assert await wire.close_code() == 1003


async def test_repeated_errors_close(make_client: MakeClient) -> None:
    client = await make_client(feed={"messages_per_s": 1e6, "message_burst": 10**6})
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    for number in range(10):
        await wire.send("nonsense")
        if number < 9:
            assert_err(await wire.next(), 1400)
            assert (await wire.ask("ping"))["t"] == "ok", "nine are forgiven, whatever comes between"
    assert await wire.close_code() == 4501


async def test_subscriptions_are_counted(make_client: MakeClient) -> None:
    client = await make_client(feed={"max_subscriptions": 2})
    household = await sign_up(client)
    wire = await Wire.open(client, header=household.token)
    await wire.subscribe(channel(1))
    await wire.subscribe(channel(2))
    for named in (channel(3), "me"):
        assert_err(await wire.ask("subscribe", ch=named), 1429)
    await wire.subscribe(channel(2), slots=[1])
    assert (await wire.ask("unsubscribe", ch=channel(1)))["t"] == "ok"
    assert (await wire.ask("subscribe", ch="me"))["t"] == "ok"
    assert_err(await wire.ask("subscribe", ch=channel(3)), 1429)
    await place(client, household, bid())
    assert (await wire.next())["t"] == "me"


async def test_connections_of_an_account_are_counted(make_client: MakeClient) -> None:
    client = await make_client(feed={"connections_per_account": 2})
    household, stranger = await sign_up(client), await sign_up(client)
    kept = [await Wire.open(client, header=household.token), await Wire.open(client, token=household.token)]
    in_band = await Wire.open(client)
    await in_band.send("auth", id=1, token=household.token)
    assert await in_band.close_code() == 4504
    by_header = await client.ws_connect("/ws", headers=household.headers)
    async with asyncio.timeout(5):
        while (await by_header.receive()).type is WSMsgType.TEXT:
            pass
    assert by_header.close_code == 4504
    await Wire.open(client, token=stranger.token)
    assert (await kept[0].ask("auth", token=household.token))["t"] == "ok", "a refresh is no new connection"
    await kept[0].close()
    again = await Wire.open(client, token=household.token)
    kept[1].cut()
    async with asyncio.timeout(5):
        while True:
            try:
                third = await Wire.open(client, token=household.token)
                break
            except Closed as closed:
                # The server has not noticed yet that one was cut.
                if closed.code != 4504:
                    raise
    for wire in (again, third):
        assert (await wire.ask("ping"))["t"] == "ok"


async def test_connections_of_an_address_are_counted(make_client: MakeClient) -> None:
    client = await make_client(feed={"connections_per_address": 2}, server={"trusted_proxies": ("127.0.0.0/8",)})
    household = await sign_up(client)
    here, there = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}
    kept = [await Wire.open(client, headers=here), await Wire.open(client, headers=here, token=household.token)]
    with pytest.raises(Closed) as closed:
        await (await Wire.open(client, headers=here)).next()
    assert closed.value.code == 4504
    assert (await Wire.open(client, headers=there)).hello["v"] == 1
    await kept[0].close()
    assert (await Wire.open(client, headers=here)).hello["v"] == 1


async def test_whoever_answers_no_ping_is_let_go(make_client: MakeClient) -> None:
    client = await make_client(feed={"ping_s": 0.4, "pong_timeout_s": 0.4})
    household = await sign_up(client)
    answering = await Wire.open(client, header=household.token)
    silent = await Wire.open(client, header=household.token, autoping=False)
    # Pings are answered while somebody waits for a message.
    waiting = asyncio.create_task(answering.next("never", within_s=60))
    began, pings = time.monotonic(), 0
    async with asyncio.timeout(5):
        while (received := await silent.socket.receive()).type is not WSMsgType.CLOSE:
            pings += received.type is WSMsgType.PING
    assert silent.socket.close_code == 4012
    assert pings >= 1
    assert 0.6 < time.monotonic() - began < 3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 1.5)
    assert not answering.socket.closed


async def test_whoever_is_gone_without_a_word_is_let_go(make_client: MakeClient) -> None:
    """A connection whose other end has lost its network costs no more than two timeouts."""
    client = await make_client(feed={"ping_s": 0.3, "pong_timeout_s": 0.3})
    household = await sign_up(client)
    raw = await RawWebSocket.open(client.port or 0, headers=household.headers)
    while (got := await raw.read(5)).opcode != CLOSE:
        pass
    assert got.close_code == 4012
    # Nobody answers the closing either, and the server does not wait for it.
    with pytest.raises((EOFError, ConnectionError)):
        await raw.read(5)
    raw.close()


async def test_a_clients_own_pings_are_answered(client: Client) -> None:
    household = await sign_up(client)
    raw = await RawWebSocket.open(client.port or 0, headers=household.headers)
    assert (await raw.read()).opcode == TEXT
    await raw.send(frame(b"are you there", PING) + frame(b"", PONG) + frame(b'{"op":"ping","id":1}'))
    got = [await raw.read(), await raw.read()]
    assert (PONG, b"are you there") in got
    assert sorted(one.opcode for one in got) == [TEXT, PONG]
    await raw.send(frame(b"\x03\xe8bye", CLOSE))
    closing = await raw.read()
    assert (closing.opcode, closing.close_code) == (CLOSE, 1000)
    raw.close()
