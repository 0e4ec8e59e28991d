"""The repository of latency rows."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from shared.domain.latency import LatencyKind, Sample


class LatencyRepository(Protocol):
    """How long each ended operation took."""

    async def record(self, sample: Sample, *, now: datetime) -> bool:
        """Keep how long an ended operation took, and return whether it was not kept yet; the first row stays.

        If it ended on an earlier day than `now`, that day is marked to be rolled up once more.
        """
        ...

    async def of_day(self, kind: LatencyKind, day: date) -> Sequence[Sample]:
        """Return all operations of a kind that ended on a day in UTC; a row that cannot be read is skipped."""
        ...
