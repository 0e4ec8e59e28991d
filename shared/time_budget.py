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
    with fresh_time_budget(min(seconds, time_left())):
        yield


@contextlib.contextmanager
def fresh_time_budget(seconds: float) -> Generator[None]:
    """Let everything within this context share so many seconds, whatever is left of the budget around it.

    It is for what has to be done after all, such as undoing a change that came late.
    """
    token = _end.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def time_left() -> float:
    """Return the seconds that are left of the budget, infinity without one."""
    return max(0.0, _end.get() - asyncio.get_running_loop().time())
