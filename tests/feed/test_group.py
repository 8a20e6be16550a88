"""A group of subscribers: what happens to one of them in the middle of a tick, and the ways that bytes take."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feed import messages
from feed.connection import NO_WAY, Connection
from feed.group import Group
from handlers.context import FEED
from tests.conftest import Client
from tests.factories import bid, place, sign_up
from tests.feed_wire import Wire

SUBSCRIBERS = 5


async def subscribers(client: Client, token: str) -> list[Wire]:
    wires = [await Wire.open(client, token=token) for _ in range(SUBSCRIBERS)]
    for wire in wires:
        await wire.subscribe("book")
    return wires


def members(client: Client) -> list[Connection]:
    """Those of the only group, in the order in which they came."""
    (group,) = client.app[FEED]._hub._groups.values()
    return list(group.members)


def one_by_one(monkeypatch: pytest.MonkeyPatch, between: Callable[[int], None]) -> None:
    """Each subscriber is a chunk of its own; `between` is called with the number of those told, in each tick that
    changes the book."""
    monkeypatch.setattr("feed.group._CHUNK", 1)
    tell = Group.tell

    def tell_and_look(self: Group, frames: bytes, told: int) -> Iterator[None]:
        for done, _ in enumerate(tell(self, frames, told), start=1):
            if b'"upd"' in frames:
                between(done)
            yield

    monkeypatch.setattr(Group, "tell", tell_and_look)


async def test_what_is_told_to_who_left_in_the_middle_of_a_tick_reaches_nobody_else(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household = await sign_up(client)
    wires = await subscribers(client, household.token)
    # The last one goes while the first is told, and its descriptor is somebody else's by the time of its turn.
    leaver = members(client)[-1]
    descriptor = leaver.way
    ours, theirs = socket.socketpair()
    taken: list[int] = []

    def between(done: int) -> None:
        if done == 1:
            leaver._transport.abort()
        elif not taken and not Path(f"/proc/self/fd/{descriptor}").exists():
            taken.append(os.dup2(ours.fileno(), descriptor))

    one_by_one(monkeypatch, between)
    await place(client, household, bid())
    for wire in wires[:-1]:
        assert (await wire.next("upd"))["seq"] == 1
    assert taken == [descriptor]
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    os.close(descriptor)
    for end in (ours, theirs):
        end.close()


async def test_what_is_held_back_in_the_middle_of_a_tick_goes_out_first(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household = await sign_up(client)
    wires = await subscribers(client, household.token)
    held = members(client)[-1]

    def between(done: int) -> None:
        if done == SUBSCRIBERS - 1:
            held.hold(messages.token_expiring(1))

    one_by_one(monkeypatch, between)
    for seq in (1, 2):
        await place(client, household, bid())
        for wire in wires:
            told = [await wire.next()] if wire is not wires[-1] else [await wire.next(), await wire.next()]
            assert [message["t"] for message in told] == ["token_expiring", "upd"][-len(told) :]
            assert told[-1]["seq"] == seq


async def test_who_joins_in_the_middle_of_a_tick_is_told_once_where_the_book_stands(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household = await sign_up(client)
    wires = await subscribers(client, household.token)
    moved = members(client)[0]
    (group,) = client.app[FEED]._hub._groups.values()

    def between(done: int) -> None:
        if done == 2:
            group.put(moved, is_told=True)

    one_by_one(monkeypatch, between)
    await place(client, household, bid())
    for wire in wires:
        assert (await wire.next("upd"))["seq"] == 1
        await wire.quiet()


async def test_without_a_way_of_their_own_subscribers_are_served_through_the_transport(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    household = await sign_up(client)
    told = await Wire.open(client, token=household.token)
    await told.subscribe("book")
    ways = [connection.way for connection in members(client)]
    monkeypatch.setattr(Connection, "_open_way", lambda _: None)
    other = await Wire.open(client, token=household.token)
    await other.subscribe("book")
    assert NO_WAY not in ways
    assert [connection.way for connection in members(client)] == [*ways, NO_WAY]
    for seq in (1, 2):
        await place(client, household, bid())
        for wire in (told, other):
            assert (await wire.next("upd"))["seq"] == seq


async def test_descriptors_are_given_back(client: Client) -> None:
    household = await sign_up(client)
    feed = client.app[FEED]

    async def come_and_go(leave: str) -> None:
        wires = await subscribers(client, household.token)
        assert len(members(client)) == SUBSCRIBERS
        connections = members(client)
        for wire in wires:
            await (wire.close() if leave == "in order" else wire.drop())
        for connection in connections:
            await connection.closed()
        assert not feed._hub._groups

    await come_and_go("in order")
    before = len(os.listdir("/proc/self/fd"))
    for leave in ("in order", "without a word"):
        await come_and_go(leave)
    assert len(os.listdir("/proc/self/fd")) <= before
