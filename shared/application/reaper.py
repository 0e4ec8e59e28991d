"""Nothing is pending for ever: an operation that nobody works on is taken up again."""

import logging

from shared.application.ports import TenantRecords, Workflows
from shared.clock import Clock
from shared.errors import BerthError
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
        task hub was replaced. One that is there but has given no sign of life for long is terminated, and started
        again the next time. The activities go on from what is recorded, so starting again is always safe.
        """
        now = self._clock.now()
        limits = self._settings.provisioning
        resumed = 0
        async for tenant in self._records.with_open_operation():
            operation = tenant.value.operation
            silence = operation.silence(now)
            if silence < limits.resume_after:
                continue
            try:
                if not await workflows.is_running(operation.id):
                    logger.warning("operation %s has no orchestration: starting it again", operation.id)
                    await workflows.start(operation)
                    resumed += 1
                elif silence > limits.stuck_after:
                    logger.warning("operation %s is silent for %d s: ending it", operation.id, silence)
                    await workflows.terminate(operation.id)
            except BerthError as error:  # the others are not to wait for it
                logger.warning("operation %s could not be looked after: %s", operation.id, error)
        return resumed
