"""Waiting in tests: poll with a deadline, never sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable

LEAST_SECONDS = 0.05  # between two polls


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20.0) -> None:
    """Poll until a condition holds; fail after the deadline.

    What is expensive to find out is asked less often, so that polling leaves the machine to what is waited for.
    """
    async with asyncio.timeout(seconds):
        while True:
            began = time.monotonic()
            if await condition():
                return
            await asyncio.sleep(max(LEAST_SECONDS, 2 * (time.monotonic() - began)))
