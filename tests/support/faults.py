"""Faults of single calls: fail, lose the response, or stall. One counter for all that a worker calls."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BerthError


@dataclass(slots=True)
class Stall:
    """A call that waits. `reached` is set when it does; `release` lets it go on."""

    after: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let the call go on."""
        self._released.set()

    async def reached_or_done(self, task: asyncio.Task[Any]) -> None:
        """Return when the call waits, or when the task that was to make it has ended without."""
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()

    async def wait(self) -> None:
        """Wait until somebody releases it."""
        self.reached.set()
        await self._released.wait()


class Faults:
    """What happens to calls, by their number from 1.

    Attributes:
        calls: The names of all calls so far, such as `get tenants` or `apply`.
        away: Says of each call's name with which error it fails, or None.
        turn: Waits until a call may be made.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all faults and count from 1 again."""
        self.calls: list[str] = []
        self.away: Callable[[str], BerthError | None] = lambda _: None
        self.turn: Callable[[], Awaitable[None]] | None = None
        self._stalls: dict[int, Stall] = {}
        self._named: dict[str, Stall] = {}
        self._nth: Stall | None = None
        self._matching: tuple[Callable[[str], bool], int] = (lambda _: False), 0
        self._errors: dict[int, BerthError] = {}
        self._lost: set[int] = set()

    def stall(self, number: int, *, after: bool = False) -> Stall:
        """Let a call wait before it is done, or after."""
        self._stalls[number] = Stall(after)
        return self._stalls[number]

    def stall_next(self, name: str, *, after: bool = False) -> Stall:
        """Let the next call of a name wait before it is done, or after."""
        self._named[name] = Stall(after)
        return self._named[name]

    def stall_nth(self, matches: Callable[[str], bool], number: int, *, after: bool = False) -> Stall:
        """Let the n-th call whose name matches wait before it is done, or after."""
        self._matching = matches, number
        self._nth = Stall(after)
        return self._nth

    def fail(self, number: int, error: BerthError) -> None:
        """Let a call fail without being done."""
        self._errors[number] = error

    def lose(self, number: int) -> None:
        """Let a call be done and its response be lost, after which the adapter makes it once more.

        With a stall after the same call, that is when it waits.
        """
        self._lost.add(number)

    async def call[T](self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make a call with the faults that are meant for it."""
        if self.turn is not None:
            await self.turn()
        self.calls.append(name)
        number = len(self.calls)
        stall = self._stalls.get(number) or self._named.pop(name, None) or self._matched(name)
        if stall is not None and not stall.after:
            await stall.wait()
        error = self._errors.get(number) or self.away(name)
        if error is not None:
            raise error
        if number in self._lost:
            await attempt()
            if stall is not None and stall.after:
                await stall.wait()  # others have their time before the second attempt
                stall = None
        try:
            return await attempt()
        finally:
            if stall is not None and stall.after:
                await stall.wait()

    def _matched(self, name: str) -> Stall | None:
        matches, left = self._matching
        if not matches(name):
            return None
        self._matching = matches, left - 1
        return self._nth if left == 1 else None
