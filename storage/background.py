"""Tasks that run beside requests: ending them.

What lives here: that every owner ends its task the same way. What must not: what any task does.
"""

import asyncio
from typing import Final

_PATIENCE_S: Final = 1.0


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, if there is one, and return once it has ended."""
    while task is not None and not task.done():
        # Again, should something have taken the cancellation for a fault of its own.
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE_S)
    if task is not None and not task.cancelled():
        task.result()
