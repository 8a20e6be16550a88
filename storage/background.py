"""Tasks that run beside requests: ending them.

What lives here: that every owner ends its task the same way. What must not: what any task does.
"""

import asyncio
import contextlib


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, if there is one, and return once it has ended."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
