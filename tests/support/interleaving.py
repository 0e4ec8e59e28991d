"""Two things that workers do at the same time, in an order of their calls that a test chooses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, repeat
from random import Random
from typing import Any

from tests.support.faults import Faults

type Schedule = tuple[int, ...]
"""Who makes the next call, 0 or 1; after its end the first one goes on, and then the second."""


class Turns:
    """Holds the calls of one worker, and lets them go one at a time."""

    def __init__(self, faults: Faults) -> None:
        self.calls = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._arrived = asyncio.Event()
        faults.turn = self._wait

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._arrived.set()
        await turn

    async def take(self, task: asyncio.Task[Any]) -> None:
        """Let the next call go, and return when the one after it waits or the task has ended."""
        await self._next(task)
        if self._waiting:
            self.calls += 1
            self._waiting.pop(0).set_result(None)
            await self._next(task)

    async def _next(self, task: asyncio.Task[Any]) -> None:
        if not self._waiting and not task.done():
            self._arrived.clear()
            arrived = asyncio.create_task(self._arrived.wait())
            await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
            arrived.cancel()


async def interleaved(
    works: Sequence[Callable[[], Awaitable[Any]]], faults: Sequence[Faults], schedule: Schedule
) -> tuple[list[Any], tuple[int, int]]:
    """Do two things, each by its own worker, in the order of a schedule; return their results and numbers of calls.

    A result can be an exception.
    """

    async def done(work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()

    turns = [Turns(each) for each in faults]
    tasks = [asyncio.create_task(done(work)) for work in works]
    for number in chain(schedule, repeat(0)):
        if tasks[number].done():
            number = 1 - number
        if tasks[number].done():
            break
        await turns[number].take(tasks[number])
    for each in faults:
        each.turn = None
    return list(await asyncio.gather(*tasks, return_exceptions=True)), (turns[0].calls, turns[1].calls)


def schedules(calls: tuple[int, int], *, count: int, seed: str) -> Sequence[Schedule]:
    """Return orders of so many calls: those in which one is interrupted once by all of the other, and random ones.

    Args:
        calls: How many calls each makes without the other.
        count: How many orders at most; one in five is a random one.
        seed: Of the random numbers.
    """
    one, two = calls
    source = Random(seed)
    interrupted = [(0,) * number + (1,) * two for number in range(one + 1)]
    interrupted += [(1,) * number + (0,) * one for number in range(1, two)]
    if len(interrupted) > count * 4 // 5:
        interrupted = source.sample(interrupted, count * 4 // 5)
    mixed = [0] * one + [1] * two
    return [*interrupted, *(tuple(source.sample(mixed, len(mixed))) for _ in range(count // 5))]
