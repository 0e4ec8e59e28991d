"""Repeating what failed for a moment, within a budget."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shared.errors import Transient

LONGEST_WAIT = 60.0  # seconds that another side may ask to wait


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How long to go on.

    `seconds` bounds the whole call with its repeats (30 s: kubespawner's `k8s_api_request_retry_timeout`); the n-th
    pause is drawn evenly between 0 and `first_pause * 2**n`, at most `longest_pause` ("full jitter", Exponential
    Backoff And Jitter, AWS Architecture Blog 2015), but never shorter than the Retry-After that the other side sent.
    """

    seconds: float = 30.0
    first_pause: float = 0.1
    longest_pause: float = 5.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, at most a minute, or None if it does not say."""
    value = headers.get("Retry-After", "")
    return min(LONGEST_WAIT, float(value)) if value.isdecimal() else None


async def with_retry[T](
    call: Callable[[], Awaitable[T]], budget: RetryBudget, *, source: random.Random | None = None
) -> T:
    """Await `call()` until it does not raise Transient, or until the budget is spent; then raise the last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + budget.seconds
    attempt = 0
    while True:
        try:
            return await call()
        except Transient as error:
            ceiling = min(budget.longest_pause, budget.first_pause * 2**attempt)
            pause = max((source or _RANDOM).uniform(0, ceiling), error.retry_after or 0)
            if loop.time() + pause >= deadline:
                raise
        attempt += 1
        await asyncio.sleep(pause)


_RANDOM = random.Random()  # noqa: S311 - jitter is not a secret
