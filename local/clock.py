"""A clock that can be moved: the time of day of the processes that follow it, by means of libfaketime.

Such a process reads the file of the clock at each look at the time, so that a move reaches all of them at once. Their
monotonic clocks stay real: pauses and timeouts take as long as ever.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

LONGEST_SLEEP = 60.0  # seconds: somebody may set the machine's clock
LONGEST_SLEEP_MOVABLE = 0.2
_FILE = "FAKETIME_TIMESTAMP_FILE"


class ClockError(Exception):
    """The clock cannot be moved as it was asked."""


@dataclass(frozen=True, slots=True)
class MovableClock:
    """The clock of all processes that were started with its `environment`.

    Attributes:
        file: Holds by how many seconds it is ahead of the machine's clock.
    """

    file: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of a process that follows it."""
        return {
            "LD_PRELOAD": str(_library()),
            _FILE: str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            # libfaketime subtracts the time of day from when a wait by the monotonic clock ends. So each would be over
            # at once, and Python's threads would use up a core while they wait for each other. With these it takes
            # 5 ms: so long does Python wait, and whoever wants to wait longer looks at the time and waits again.
            "FAKETIME_WAIT_MS": "5",
            "FAKETIME_FORCE_MONOTONIC_FIX": "1",
        }

    @property
    def ahead(self) -> timedelta:
        """By how much it is ahead of the machine's clock."""
        return timedelta(seconds=float(self.file.read_text(encoding="ascii")))

    def now(self) -> datetime:
        """Return its time in UTC."""
        return datetime.now(UTC) + self.ahead

    def move(self, to: datetime | timedelta) -> None:
        """Move it forward, to a time or by so much. All processes that follow it see that at once.

        Raises ClockError if that is backward: what has happened would lie in the future.
        """
        by = to if isinstance(to, timedelta) else to - self.now()
        if by < timedelta():
            raise ClockError(
                "the clock only moves forward: what the stack has recorded would lie in the future; it is "
                f"{self.now():%Y-%m-%dT%H:%M:%SZ}"
            )
        self.step(self.ahead + by)

    def step(self, ahead: timedelta) -> None:
        """Set by how much it is ahead, in either direction, as the clock of a machine that is wrong."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{ahead.total_seconds():+.6f}", encoding="ascii")
        new.rename(self.file)

    def is_followed_by(self, process: int) -> bool:
        """Whether a process that was started with `environment` has loaded libfaketime."""
        return _library().name in Path(f"/proc/{process}/maps").read_text(encoding="utf-8", errors="replace")


def new_clock(file: Path) -> MovableClock:
    """Return a clock with the machine's time."""
    clock = MovableClock(file)
    clock.step(timedelta())
    return clock


def longest_sleep() -> float:
    """Return for how many seconds this process may wait for a time of day before it looks at its clock again."""
    return LONGEST_SLEEP_MOVABLE if _FILE in os.environ else LONGEST_SLEEP


def _library() -> Path:
    package = importlib.util.find_spec("libfaketime")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
