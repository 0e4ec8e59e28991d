"""Waiting for what takes minutes on Azure: roles, parts of a cluster, the app."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class NotYetError(Exception):
    """Something is not there yet. The message says what, and what to do if it never comes."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait.

    Attributes:
        seconds: For each thing.
        pause: Between two looks.
        say: Gets a line when there is something new to say.
    """

    seconds: float = 600.0
    pause: float = 10.0
    say: Callable[[str], None] = print

    async def until[R](self, look: Callable[[], Awaitable[R]]) -> R:
        """Return what a look returns as soon as it does not raise NotYetError; raise the last one at the deadline."""
        deadline, said = time.monotonic() + self.seconds, ""
        while True:
            try:
                return await look()
            except NotYetError as error:
                if time.monotonic() + self.pause > deadline:
                    raise
                if str(error) != said:
                    said = str(error)
                    self.say(f"waiting, up to {self.seconds:g} s: {said}")
            await asyncio.sleep(self.pause)
