"""Recovery: restarts operations whose orchestration is lost or stuck, so that none stays open for ever."""

import logging

from shared.application.ports.clock import Clock
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.operations import Operation
from shared.errors import BerthError
from shared.events import log_event
from shared.settings import RecoverySettings

logger = logging.getLogger(__name__)


class Recovery:
    """Finds open operations without a recent heartbeat."""

    def __init__(self, *, tenants: TenantRepository, clock: Clock, settings: RecoverySettings) -> None:
        self._tenants = tenants
        self._clock = clock
        self._settings = settings

    async def restart_lost(self, workflows: Workflows) -> int:
        """Start the orchestration of every open operation that has none, and return how many those were.

        An orchestration is lost when the request that recorded its operation died before starting it, or when the
        task hub was replaced. One that exists but has written no heartbeat for long is terminated, and started
        again by the next run. The activities continue from what is recorded, so starting again is always safe.

        Raises Transient when the tables do not respond; the next run tries again.
        """
        now = self._clock.now()
        restarted = 0
        async for tenant in self._tenants.with_open_operation():
            operation = tenant.value.operation
            age = operation.heartbeat_age(now)
            if age < self._settings.restart_after:
                continue
            try:
                if not await workflows.is_running(operation.id):
                    self._log("orchestration lost: starting it again", operation, age)
                    await workflows.start(operation)
                    restarted += 1
                elif age > self._settings.stuck_after:
                    self._log("orchestration stuck: ending it", operation, age)
                    await workflows.terminate(operation.id)
            except BerthError as error:  # continue with the other operations
                self._log("recovery failed", operation, age, cause=str(error))
        return restarted

    def _log(self, event: str, operation: Operation, age: float, **fields: str) -> None:
        log_event(
            logger,
            event,
            level=logging.WARNING,
            tenant=operation.slug,
            operation=operation.id,
            kind=operation.kind,
            heartbeat_age=age,
            **fields,
        )
