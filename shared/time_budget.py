"""Time budgets: how long a piece of work may take with all that it calls, however often these retry."""

import asyncio
import contextlib
import math
from collections.abc import Generator
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("time_budget", default=math.inf)  # in the event loop's time


@contextlib.contextmanager
def time_budget(seconds: float) -> Generator[None]:
    """Let everything within this context share so many seconds, or what is left of the budget around it if less."""
    token = _end.set(min(_end.get(), asyncio.get_running_loop().time() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def time_left() -> float:
    """Return the seconds that are left of the budget, infinity without one."""
    return max(0.0, _end.get() - asyncio.get_running_loop().time())
