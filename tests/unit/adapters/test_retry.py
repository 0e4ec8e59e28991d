"""Retrying: how long, with which pauses, what is not retried, and what is logged."""

import asyncio
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.retry import RetryPolicy, retry_after, with_retry
from shared.errors import BerthError, Conflict, Invalid, NotFound, Permanent, Transient, Unreachable
from tests.support.instant_loop import run_instantly

POLICY = RetryPolicy(total_timeout=30, first_pause=0.1, max_pause=5)


class Calls:
    """A dependency that fails with each of some errors in turn, the last one for ever.

    Attributes:
        times: The loop's time at each call.
        ended: The loop's time at the end.
    """

    def __init__(self, *errors: BerthError | None, seconds: float = 0.0) -> None:
        self.times: list[float] = []
        self.ended = 0.0
        self._errors = errors
        self._seconds = seconds

    async def __call__(self) -> str:
        self.times.append(asyncio.get_running_loop().time())
        error = self._errors[min(len(self.times), len(self._errors)) - 1]
        await asyncio.sleep(self._seconds)
        if error is not None:
            raise error
        return "found"

    def run(self, policy: RetryPolicy = POLICY, *, seed: int = 1) -> str:
        async def timed() -> str:
            try:
                return await with_retry(self, policy, dependency="tables", source=random.Random(seed))
            finally:
                self.ended = asyncio.get_running_loop().time()

        return run_instantly(timed())

    @property
    def pauses(self) -> Iterator[float]:
        return (later - earlier for earlier, later in pairwise(self.times))


def test_what_succeeds_is_called_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    calls = Calls(None)
    assert (calls.run(), len(calls.times), caplog.records) == ("found", 1, [])


def test_what_fails_for_a_moment_is_retried() -> None:
    calls = Calls(Transient("away"), Transient("away"), None)
    assert (calls.run(), len(calls.times)) == ("found", 3)


@pytest.mark.parametrize("error", [Permanent("no"), NotFound("no"), Conflict("no"), Invalid(("/a", "no"))])
def test_other_errors_are_not_retried(error: BerthError, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    calls = Calls(error)
    with pytest.raises(type(error)) as raised:
        calls.run()
    assert raised.value is error
    assert (len(calls.times), calls.ended, caplog.records) == (1, 0, [])


def test_an_error_of_the_call_is_not_the_timeout() -> None:
    async def call() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        run_instantly(with_retry(call, POLICY, dependency="tables"))


def test_an_error_after_a_retry_ends_the_retries() -> None:
    calls = Calls(Transient("away"), Conflict("changed"))
    with pytest.raises(Conflict):
        calls.run()
    assert len(calls.times) == 2


def test_the_last_error_is_raised_when_the_time_is_over() -> None:
    calls = Calls(*(Transient(str(number)) for number in range(1000)))
    with pytest.raises(Transient) as raised:
        calls.run()
    assert str(raised.value) == str(len(calls.times) - 1)
    assert POLICY.total_timeout - POLICY.max_pause <= calls.ended <= POLICY.total_timeout


WAITS = st.none() | st.floats(0, 60)


@given(
    st.lists(WAITS.map(lambda wait: Transient("away", wait)), min_size=1, max_size=5),
    st.floats(0, 40),
    st.floats(0.05, 60),
    st.integers(0, 99),
)
def test_the_total_timeout_is_never_exceeded(errors: list[Transient], seconds: float, total: float, seed: int) -> None:
    calls = Calls(*errors, seconds=seconds)
    with pytest.raises(Transient):
        calls.run(RetryPolicy(total_timeout=total), seed=seed)
    assert calls.ended <= total + 1e-6


def test_a_call_that_never_ends_is_transient() -> None:
    calls = Calls(None, seconds=3600)
    with pytest.raises(Unreachable, match="tables did not respond within 30 s"):
        calls.run()
    assert calls.ended == 30


def test_an_attempt_that_is_cut_off_keeps_the_error_before() -> None:
    busy = Transient("busy")
    busy.__cause__ = Permanent("forbidden")
    calls = Calls(busy, None, seconds=20)
    with pytest.raises(Transient) as raised:
        calls.run()
    assert (raised.value, str(raised.value.__cause__), calls.ended) == (busy, "forbidden", 30)


def test_a_response_that_repeats_is_raised_early() -> None:
    policy = RetryPolicy(total_timeout=30, response_timeout=4, max_pause=1)
    calls = Calls(Transient("busy"))
    with pytest.raises(Transient, match="busy"):
        calls.run(policy)
    assert 3 <= calls.ended <= 4
    silent = Calls(Unreachable("refused"))
    with pytest.raises(Unreachable):
        silent.run(policy)
    assert 29 <= silent.ended <= 30


def test_a_response_after_a_long_silence_is_raised_at_once() -> None:
    calls = Calls(Unreachable("no response"), Transient("the webhook says no"), seconds=3)
    with pytest.raises(Transient, match="the webhook says no"):
        calls.run(RetryPolicy(response_timeout=4))
    assert (len(calls.times), calls.ended < 7) == (2, True)


def test_there_are_no_more_attempts_than_allowed() -> None:
    calls = Calls(Unreachable("refused"))
    with pytest.raises(Unreachable):
        calls.run(RetryPolicy(max_attempts=2))
    assert len(calls.times) == 2


def test_jitter_is_full_and_bounded() -> None:
    pauses: list[list[float]] = []
    for seed in range(200):
        calls = Calls(*[Transient("away")] * 9, None)
        calls.run(RetryPolicy(total_timeout=1000, first_pause=0.1, max_pause=5), seed=seed)
        pauses.append(list(calls.pauses))
    ceilings = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5)
    for ceiling, drawn in zip(ceilings, zip(*pauses, strict=True), strict=True):
        assert 0 <= min(drawn) < ceiling * 0.1
        assert ceiling * 0.9 < max(drawn) <= ceiling + 1e-9


def test_a_pause_is_never_shorter_than_retry_after() -> None:
    calls = Calls(Transient("busy", 3.0), Transient("busy", 0.0), None)
    calls.run()
    first, second = calls.pauses
    assert first == pytest.approx(3)
    assert second <= 0.2


def test_a_retry_after_beyond_the_time_fails_at_once() -> None:
    calls = Calls(Transient("busy", 30.0))
    with pytest.raises(Transient, match="busy"):
        calls.run()
    assert (len(calls.times), calls.ended) == (1, 0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "60"}, 60),
        ({"Retry-After": "61"}, 60),
        ({"Retry-After": "9" * 400}, 60),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "Sat, 28 Feb 2026 12:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_at_most_a_minute(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_every_retry_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    calls = Calls(Transient("it is away"), Transient("busy", 2.0), None)
    calls.run()
    first, _ = calls.pauses
    shown = f"{first:.3f}".rstrip("0").rstrip(".")
    assert caplog.messages == [
        f'retry dependency=tables attempt=1 pause={shown} cause="it is away"',
        "retry: throttled dependency=tables attempt=2 pause=2 cause=busy",
    ]
