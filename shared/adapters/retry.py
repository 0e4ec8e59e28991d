"""Retrying what failed for a moment, within a total timeout."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shared.errors import Transient
from shared.events import log_event

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER = 60.0  # seconds that another service may ask to wait
_RANDOM = random.Random()  # noqa: S311 - jitter is not a secret


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to retry.

    `total_timeout` bounds the whole call with its retries, in seconds (30: kubespawner's
    `k8s_api_request_retry_timeout`). The n-th pause is drawn evenly between 0 and `first_pause * 2**n`, at most
    `max_pause` ("full jitter", Exponential Backoff And Jitter, AWS Architecture Blog 2015), but never shorter than the
    Retry-After of the response.
    """

    total_timeout: float = 30.0
    first_pause: float = 0.1
    max_pause: float = 5.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a response asks to wait, at most a minute, or None if it does not say."""
    value = headers.get("Retry-After", "")
    return min(MAX_RETRY_AFTER, float(value)) if value.isdecimal() else None


async def with_retry[T](
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    dependency: str,
    source: random.Random = _RANDOM,
) -> T:
    """Await `call()` until it does not raise Transient, or until the time is over; then raise the last error.

    An attempt that runs when the time is over is cancelled; if there was no error before it, that is Transient too.

    Args:
        call: Makes one attempt.
        policy: How long to retry.
        dependency: What is called, for the log.
        source: Where the jitter comes from.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + policy.total_timeout
    attempt = 0
    last: Transient | None = None
    while True:
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                return await call()
        except TimeoutError as error:
            if not scope.expired():
                raise
            if last is None:
                raise Transient(f"{dependency} did not respond within {policy.total_timeout:g} s") from error
            raise last from last.__cause__
        except Transient as error:
            last = error
            ceiling = min(policy.max_pause, policy.first_pause * 2**attempt)
            pause = max(source.uniform(0, ceiling), error.retry_after or 0)
            if loop.time() + pause >= deadline:
                raise
            attempt += 1
            _log_retry(dependency, attempt, pause, error)
        await asyncio.sleep(pause)


def _log_retry(dependency: str, attempt: int, pause: float, error: Transient) -> None:
    """Log one retry; all retries are logged here."""
    event = "retry" if error.retry_after is None else "retry: throttled"
    log_event(logger, event, dependency=dependency, attempt=attempt, pause=pause, cause=str(error))
