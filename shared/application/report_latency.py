"""Reports of latency over a range of days, from the daily roll-ups alone."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime

from shared.application.ports.latency_rollups import LatencyRollupRepository
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Grouping, LatencyReport, Line


class ReportLatency:
    """Reads one roll-up for each day and combination of kind, outcome, cluster and plan; never the operations' rows."""

    def __init__(self, rollups: LatencyRollupRepository) -> None:
        self._rollups = rollups

    async def lines(self, kinds: Sequence[LatencyKind], start: date, end: date, by: Grouping) -> Sequence[Line]:
        """Return what is known of operations that ended from one day to another, both inclusive."""
        report = LatencyReport(by)

        async def read(kind: LatencyKind) -> None:
            async for each in self._rollups.between(kind, start, end):
                report.add(each)

        await asyncio.gather(*(read(kind) for kind in kinds))
        return report.lines()

    async def rolled_at(self) -> datetime | None:
        """Return when the last roll-up began, or None: what ended since may be missing."""
        progress = await self._rollups.progress()
        return None if progress is None else progress.value.rolled_at
