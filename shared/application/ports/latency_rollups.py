"""The repository of the daily roll-ups of latency."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from shared.application.ports.stored import Stored
from shared.domain.latency import LatencyKind
from shared.domain.latency_rollup import Rollup, RollupKey, RollupProgress


@dataclass(frozen=True, slots=True)
class RolledDay:
    """What is stored of one kind and day. A roll-up that this version cannot read is None; it is not written over."""

    kind: LatencyKind
    day: date
    rollups: Mapping[RollupKey, Stored[Rollup] | None]


class LatencyRollupRepository(Protocol):
    """One roll-up for each kind, day, outcome, cluster and plan."""

    async def of_day(self, kind: LatencyKind, day: date) -> RolledDay:
        """Return what is stored of a kind and day."""
        ...

    async def replace(self, before: RolledDay, rollups: Sequence[Rollup]) -> None:
        """Store the roll-ups of a day in place of those that were read before; what is the same is not written.

        Raises Conflict when somebody else has changed one since; some may be written then.
        """
        ...

    def between(self, kind: LatencyKind, start: date, end: date) -> AsyncIterator[Rollup]:
        """Yield the roll-ups of a kind from one day to another, both inclusive, by day."""
        ...

    async def progress(self) -> Stored[RollupProgress] | None:
        """Return how far the roll-ups have come, or None before the first."""
        ...

    async def save_progress(self, progress: Stored[RollupProgress]) -> None:
        """Replace it; raises Conflict if somebody changed it since."""
        ...

    async def late_days(self) -> Sequence[Stored[date]]:
        """Return the days for which an operation was recorded later than on that day, in order."""
        ...

    async def forget_late(self, day: Stored[date]) -> None:
        """Forget that a day is to be rolled up once more, unless it was marked again since it was read."""
        ...
