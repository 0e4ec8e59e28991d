"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 2, 28, 12, tzinfo=UTC)


class FakeClock:
    """Implements `shared.application.ports.clock.Clock`."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the time of day, as an operator or NTP does; no time passes."""
        self._now += timedelta(seconds=seconds)


class WorkerClock:
    """The clock of one worker: another one, which it may be ahead of.

    Implements `shared.application.ports.clock.Clock`.

    Attributes:
        ahead: By how much.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.ahead = timedelta()
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now() + self.ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()
