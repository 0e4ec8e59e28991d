"""An event loop that never waits: where others would wait, its time moves."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class _InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run_instantly[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but time, on a loop whose time starts at 0."""
    with instant_runner() as runner:
        return runner.run(work)


def instant_runner() -> asyncio.Runner:
    """Return what runs one coroutine after another on such a loop."""
    return asyncio.Runner(loop_factory=_InstantLoop)
