"""The roll-up of latency: from the rows of the operations that ended on a day, what reports read of that day.

A day's roll-ups are a function of its rows, and rows are only added. So a run may come late, twice or in two workers at
once: it reads what is stored, then the rows, and writes on the ETags of what it has read. Whoever read fewer rows
conflicts, and reads again.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, timedelta

from shared.application.ports.clock import Clock
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.latency_rollups import LatencyRollupRepository
from shared.application.ports.stored import Stored
from shared.domain.latency import LatencyKind
from shared.domain.latency_rollup import RollupProgress, roll_up
from shared.errors import Conflict, Transient
from shared.events import log_event
from shared.settings import RetentionSettings

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # of one run; the Functions host ends a function after 600, by host.json
MAX_TRIES = 10  # at one day, against others who roll it up at the same moment
DAY = timedelta(days=1)


class RollUpLatency:
    """Rolls up today, yesterday, the days since the last run, and each for which an operation was recorded late."""

    def __init__(
        self,
        *,
        latency: LatencyRepository,
        rollups: LatencyRollupRepository,
        clock: Clock,
        settings: RetentionSettings,
    ) -> None:
        self._latency = latency
        self._rollups = rollups
        self._clock = clock
        # A day whose rows may be deleted by now must not be rolled up again: nothing would be left of it.
        self._kept = timedelta(days=min(settings.latency_days, settings.latency_rollup_days))

    async def run(self) -> None:
        """Roll up all days that may have changed, for at most `MAX_SECONDS`; the next run continues.

        An operation may be recorded long after its end, if its worker died in between. Then its day is marked after its
        row was written, and rolled up once more.

        Raises Transient when the tables do not respond, or others write the same rows all the time.
        """
        deadline, now = self._clock.monotonic() + MAX_SECONDS, self._clock.now()
        today = now.astimezone(UTC).date()
        oldest, progress = today - self._kept, await self._rollups.progress()
        for each in await self._rollups.late_days():
            if oldest <= each.value <= today:
                await self._roll_up(each.value)
            if each.value <= today:
                await self._rollups.forget_late(each)
        days = list(_since(progress, oldest, today))
        final, count = days[0] - DAY, 0
        for each in days:
            if self._clock.monotonic() > deadline:
                log_event(logger, "not all rolled up", level=logging.WARNING, left=len(days) - count)
                break
            await self._roll_up(each)
            count += 1
            if each < today - DAY:  # today and yesterday are rolled up by the next run again
                final = each
        etag = progress.etag if progress else ""
        with suppress(Conflict):  # another worker does the same
            await self._rollups.save_progress(Stored(RollupProgress(final, now), etag))
        log_event(logger, "latency rolled up", days=count)

    async def _roll_up(self, day: date) -> None:
        await asyncio.gather(*(self._roll_up_kind(kind, day) for kind in LatencyKind))

    async def _roll_up_kind(self, kind: LatencyKind, day: date) -> None:
        for _ in range(MAX_TRIES):
            before = await self._rollups.of_day(kind, day)  # first: then its ETags are no newer than the rows
            rollups = roll_up(kind, day, await self._latency.of_day(kind, day))
            with suppress(Conflict):
                await self._rollups.replace(before, rollups)
                return
        raise Transient(f"the roll-ups of {day} are written by others all the time")


def _since(progress: Stored[RollupProgress] | None, oldest: date, today: date) -> Iterator[date]:
    """Yield the days after the last one that is final, today included; all that are kept if that is not known."""
    # One that is not over yet was written with a clock that was wrong.
    final = None if progress is None or progress.value.final >= today else progress.value.final
    day = oldest if final is None else max(oldest, min(final + DAY, today - DAY))
    while day <= today:
        yield day
        day += DAY
