"""Retrying what failed for a moment, within a total timeout."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shared.errors import ANSWERS, BerthError, Transient, Unreachable
from shared.events import log_span_event
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER = 60.0  # seconds that another service may ask to wait
_RANDOM = random.Random()  # noqa: S311 - jitter is not a secret


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to retry.

    `total_timeout` bounds the whole call with its retries, in seconds (30: kubespawner's
    `k8s_api_request_retry_timeout`). After `response_timeout`, only what got no response is retried: whoever called
    has to know what the response says. There are at most `max_attempts`. The n-th pause is drawn evenly between 0 and
    `first_pause * 2**n`, at most `max_pause` ("full jitter", Exponential Backoff And Jitter, AWS Architecture Blog
    2015), but never shorter than the Retry-After of the response.
    """

    total_timeout: float = 30.0
    response_timeout: float = math.inf
    max_attempts: float = math.inf
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
    answers: tuple[type[BerthError], ...] = ANSWERS,
    source: random.Random = _RANDOM,
) -> T:
    """Await `call()` until it does not raise Transient, or until the time is over; then raise the last error.

    An attempt that runs when the time is over is cancelled; if there was no error before it, that is Unreachable.

    Args:
        call: Makes one attempt.
        policy: How long to retry.
        dependency: What is called, for the log.
        answers: The errors that are an answer and no failure of it, for the metric.
        source: Where the jitter comes from.
    """
    loop = asyncio.get_running_loop()
    began, outcome = loop.time(), "failed"
    try:
        result = await _retried(call, policy, dependency, source)
        outcome = "ok"
    except answers:
        outcome = "ok"
        raise
    except asyncio.CancelledError:  # nobody waits for it any more
        outcome = "cancelled"
        raise
    else:
        return result
    finally:
        record(metrics.CALL_DURATION, loop.time() - began, dependency=dependency, outcome=outcome)


async def _retried[T](
    call: Callable[[], Awaitable[T]], policy: RetryPolicy, dependency: str, source: random.Random
) -> T:
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + policy.total_timeout
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
                raise Unreachable(f"{dependency} did not respond within {policy.total_timeout:.3g} s") from error
            raise last from last.__cause__
        except Transient as error:
            last = error
            if error.retry_after is not None:
                record(metrics.THROTTLES, dependency=dependency)
            ceiling = min(policy.max_pause, policy.first_pause * 2**attempt)
            pause = max(source.uniform(0, ceiling), error.retry_after or 0)
            limit = policy.total_timeout if isinstance(error, Unreachable) else policy.response_timeout
            attempt += 1
            if attempt >= policy.max_attempts or loop.time() + pause >= min(deadline, began + limit):
                raise
            _log_retry(dependency, attempt, pause, error)
        await asyncio.sleep(pause)


def _log_retry(dependency: str, attempt: int, pause: float, error: Transient) -> None:
    """Tell of one retry; all retries are told of here."""
    event = "retry" if error.retry_after is None else "retry: throttled"
    record(metrics.RETRIES, dependency=dependency)
    log_span_event(logger, event, dependency=dependency, attempt=attempt, pause=pause, cause=str(error))
