"""Retention: deletes the records that are older than they have to be."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from shared.application.ports.clock import Clock
from shared.application.ports.retention import OldRecords
from shared.application.ports.workflows import Workflows
from shared.errors import BerthError
from shared.events import log_event
from shared.settings import RetentionSettings

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # of one run; the Functions host ends a function after 600, by host.json


class Retention:
    """Deletes old records, of all kinds at the same time, each independently of the others."""

    def __init__(self, *, records: OldRecords, clock: Clock, settings: RetentionSettings) -> None:
        self._records = records
        self._clock = clock
        self._settings = settings

    async def purge(self, workflows: Workflows) -> None:
        """Delete what is old, for at most `MAX_SECONDS`, and log the number of records of each kind.

        What could not be deleted, because the time was over or a service did not respond, is deleted by a later run.
        It is safe to run twice, and in two workers at the same time.

        Raises:
            ExceptionGroup: Errors that nobody expects; all other kinds of record were purged nevertheless.
        """
        now, keep, records = self._clock.now(), self._settings, self._records
        ended = await asyncio.gather(
            self._run("idempotency keys", records.purge_idempotency_keys(now=now)),
            self._run("latency rows", records.purge_latency(before=now - timedelta(days=keep.latency_days))),
            self._run(
                "latency roll-ups",
                records.purge_latency_rollups(before=now - timedelta(days=keep.latency_rollup_days)),
            ),
            self._run("operations", records.purge_operations(before=now - timedelta(days=keep.operation_days))),
            self._run("audit entries", records.purge_audit(before=now - timedelta(days=keep.audit_days))),
            self._run("activity", records.purge_activity(before=now - timedelta(days=keep.activity_days))),
            self._run("findings", records.purge_findings(before=now - timedelta(days=keep.finding_days))),
            self._run("costs", records.purge_costs(before=now - timedelta(days=keep.cost_days))),
            self._run("sweeps", records.purge_sweeps(before=now - timedelta(days=keep.sweep_days))),
            self._run("orchestrations", self._orchestrations(workflows)),
            return_exceptions=True,
        )
        unexpected = [each for each in ended if isinstance(each, Exception)]
        if unexpected:
            raise ExceptionGroup("some records were not purged", unexpected)

    async def _run(self, kind: str, deletions: AsyncIterator[int]) -> None:
        count, cause = 0, ""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                async for deleted in deletions:
                    count += deleted
        except TimeoutError:
            cause = "the time is over"
        except BerthError as error:
            cause = str(error)
        if cause:
            log_event(logger, "not all purged", level=logging.WARNING, kind=kind, count=count, cause=cause)
        else:
            log_event(logger, "purged", kind=kind, count=count)

    async def _orchestrations(self, workflows: Workflows) -> AsyncIterator[int]:
        before = self._clock.now() - timedelta(days=self._settings.orchestration_days)
        yield await workflows.purge(before=before, timeout=MAX_SECONDS / 2)
