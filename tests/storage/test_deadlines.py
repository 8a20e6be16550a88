"""One timer for many deadlines, and the time limit of a request that is kept on it."""

import asyncio

import pytest

from server.time_limit import TimeLimit, time_limits
from storage.deadlines import Deadlines


async def test_each_item_is_overdue_in_its_turn_and_those_removed_never() -> None:
    overdue: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[str] = Deadlines(0.05, overdue.put_nowait)
    for item in ("first", "removed", "second"):
        deadlines.add(item)
    deadlines.remove("removed")
    deadlines.remove("unknown")
    assert [await overdue.get(), await overdue.get()] == ["first", "second"]
    # The timer stood still in between, and goes on.
    deadlines.add("later")
    assert await overdue.get() == "later"
    assert overdue.empty()


async def test_an_item_has_its_whole_time_though_the_timer_was_set_for_another() -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[float] = asyncio.Queue()
    deadlines: Deadlines[int] = Deadlines(0.2, lambda _: ended.put_nowait(loop.time()))
    deadlines.add(1)
    await asyncio.sleep(0.1)
    deadlines.remove(1)
    began = loop.time()
    deadlines.add(2)
    assert await ended.get() - began >= 0.195


async def test_work_beyond_its_time_is_cut_and_others_go_on() -> None:
    limits = time_limits(0.1)

    async def work(blocker: asyncio.Event) -> str:
        with TimeLimit(limits):
            await blocker.wait()
            return "done"

    hung, free = asyncio.Event(), asyncio.Event()
    free.set()
    answers = await asyncio.gather(work(hung), work(free), return_exceptions=True)
    assert [type(answer) for answer in answers] == [TimeoutError, str]


async def test_who_is_cancelled_by_others_stays_cancelled() -> None:
    limits = time_limits(0.05)

    async def work() -> None:
        with TimeLimit(limits):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task = asyncio.create_task(work())
    with pytest.raises(TimeoutError):
        await task
    assert task.cancelling() == 0
