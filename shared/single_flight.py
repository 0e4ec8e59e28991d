"""One call shared by all who ask for it before it begins."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextvars import Context

from shared.errors import Transient
from shared.time_budget import time_left


class SingleFlight[T]:
    """Calls a function for many: those who ask while a call is running share the next one, which begins after it.

    So nobody gets a result that is older than the question, and there is never more than one call at a time. It runs in
    a context of its own: neither the time budget nor the log lines of who came first are those of the others.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the result of a call that begins now or later; raises Transient when the caller's time budget ends."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(), context=Context())
            self._next.add_done_callback(_retrieve_exception)
        left = time_left()
        scope = asyncio.timeout(left if left < math.inf else None)
        try:
            async with scope:
                return await asyncio.shield(self._next)  # the others still want it when this caller is gone
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise Transient("there was no response in time") from error

    async def _run(self) -> T:
        async with self._lock:
            self._next = None
            return await self._call()


def _retrieve_exception(task: asyncio.Task[object]) -> None:
    """Keep asyncio from logging an error as lost, of a call for which nobody waits any more."""
    if not task.cancelled():
        task.exception()
