"""Time budgets: shared by all within, not extended by one inside another, unless that is a fresh one."""

import asyncio
import gc
import math

import pytest

from shared.errors import Transient
from shared.single_flight import SingleFlight
from shared.time_budget import fresh_time_budget, time_budget, time_left
from tests.support.instant_loop import run_instantly


def test_a_budget_ends_and_is_never_extended_by_one_within() -> None:
    async def nested() -> list[float]:
        found = [time_left()]
        with time_budget(30):
            await asyncio.sleep(10)
            with time_budget(100):
                found.append(time_left())
            with time_budget(5):
                await asyncio.sleep(7)
                found.append(time_left())
            found.append(time_left())
        return [*found, time_left()]

    assert run_instantly(nested()) == [math.inf, 20, 0, 13, math.inf]


def test_a_fresh_budget_counts_when_none_is_left() -> None:
    async def nested() -> list[float]:
        with time_budget(10):
            await asyncio.sleep(20)
            found = [time_left()]
            with fresh_time_budget(30):
                await asyncio.sleep(5)
                found.append(time_left())
            return [*found, time_left()]

    assert run_instantly(nested()) == [0, 25, 0]


def test_concurrent_calls_share_a_budget() -> None:
    async def late() -> float:
        await asyncio.sleep(4)
        return time_left()

    async def both() -> list[float]:
        with time_budget(10):
            return list(await asyncio.gather(late(), late()))

    assert run_instantly(both()) == [6, 6]


def test_a_shared_call_has_the_budget_of_no_caller() -> None:
    async def left() -> float:
        return time_left()

    shared = SingleFlight(left)

    async def ask(seconds: float) -> float:
        with time_budget(seconds):
            return await shared()

    async def both() -> tuple[float, float]:
        first, second = await asyncio.gather(ask(1), ask(30))
        return first, second

    assert run_instantly(both()) == (math.inf, math.inf)


def test_a_shared_call_is_awaited_within_each_budget() -> None:
    async def late() -> float:
        await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    shared = SingleFlight(late)

    async def ask(seconds: float) -> float:
        began = asyncio.get_running_loop().time()
        with time_budget(seconds):
            try:
                return await shared() - began
            except Transient:
                return -(asyncio.get_running_loop().time() - began)

    async def both() -> tuple[float, float]:
        first, second = await asyncio.gather(ask(1), ask(30))
        return first, second

    assert run_instantly(both()) == (-1, 10)


def test_an_error_for_which_nobody_waits_is_not_lost() -> None:
    lost: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(10)
        raise Transient("it does not respond")

    async def stop_waiting() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(str(context["message"])))
        shared = SingleFlight(fail)
        with time_budget(1), pytest.raises(Transient, match="no response in time"):
            await shared()
        await asyncio.sleep(20)
        del shared
        gc.collect()

    run_instantly(stop_waiting())
    assert not lost
