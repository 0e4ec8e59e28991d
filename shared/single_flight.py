"""One call shared by all who ask for it before it begins."""

import asyncio
from collections.abc import Awaitable, Callable


class SingleFlight[T]:
    """Calls a function for many: those who ask while a call is running share the next one, which begins after it.

    So nobody gets a result that is older than the question, and there is never more than one call at a time.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the result of a call that begins now or later."""
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)  # the others still want it when this caller is gone

    async def _run(self) -> T:
        async with self._lock:
            self._next = None
            return await self._call()
