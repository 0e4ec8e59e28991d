"""Nothing is pending for ever: an operation whose orchestration is not there is started again."""

import logging
from datetime import timedelta

from shared.application.ports import TenantRecords, Workflows
from shared.clock import Clock
from shared.settings import Settings

logger = logging.getLogger(__name__)


class Reaper:
    """Looks after operations that nobody works on."""

    def __init__(self, records: TenantRecords, clock: Clock, settings: Settings) -> None:
        self._records = records
        self._clock = clock
        self._settings = settings

    async def resume_lost(self, workflows: Workflows) -> int:
        """Start the orchestration of every open operation that has none, and return how many those were.

        An orchestration is lost when the request that recorded its operation died before starting it, or when the
        task hub was replaced. The activities go on from what is recorded, so that starting again is always safe.
        """
        quiet_since = self._clock.now() - timedelta(seconds=self._settings.provisioning.resume_after)
        resumed = 0
        async for tenant in self._records.with_open_operation():
            operation = tenant.value.operation
            if operation.heartbeat_at > quiet_since or await workflows.is_running(operation.id):
                continue
            logger.warning("operation %s has no orchestration: starting it again", operation.id)
            await workflows.start(operation)
            resumed += 1
        return resumed
