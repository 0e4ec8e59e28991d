"""Recovery: restarts operations whose orchestration is lost or stuck, so that none stays open for ever."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.tenants import OpenOperation, TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import OperationId, age
from shared.domain.placement import Reservation
from shared.errors import BerthError
from shared.events import log_event
from shared.settings import RecoverySettings
from shared.telemetry import metrics
from shared.telemetry.metrics import record
from shared.telemetry.recorder import Metric

logger = logging.getLogger(__name__)


class Recovery:
    """Finds open operations without a recent heartbeat."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        clock: Clock,
        settings: RecoverySettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations
        self._clock = clock
        self._settings = settings

    async def restart_lost(self, open_operations: Sequence[OpenOperation], workflows: Workflows) -> int:
        """Start the orchestration of each open operation that has none, and return how many those were.

        An orchestration is lost when the request that recorded its operation died before starting it, or when the
        task hub was replaced. One that has written no heartbeat for long is ended, and another one takes its place.
        The activities continue from what is recorded, so starting again is always safe. An operation that waits for a
        slot has no orchestration, and needs none.

        Raises Transient when the tables do not respond; the next run tries again.
        """
        now = self._clock.now()
        silent = [each for each in open_operations if each.heartbeat_age(now) >= self._settings.restart_after]
        pending = await self._pending() if silent else dict[tuple[OperationId, InstanceId], Reservation]()
        waiting = {key for key, each in pending.items() if each.state.is_waiting}
        stuck = [each for each in silent if each.heartbeat_age(now) >= self._settings.stuck_after]
        _record(metrics.OPEN_OPERATIONS, open_operations)
        _record(metrics.STUCK_OPERATIONS, [each for each in stuck if (each.operation_id, each.instance) not in waiting])
        restarted = 0
        for each in silent:
            try:
                restarted += await self._restart(each, pending.get((each.operation_id, each.instance)), workflows)
            except BerthError as error:  # continue with the other operations
                self._log("recovery failed", each, cause=str(error))
        return restarted

    async def _pending(self) -> Mapping[tuple[OperationId, InstanceId], Reservation]:
        """Return the reservations that wait or start. An operation that was moved may have one of before, too."""
        found: dict[tuple[OperationId, InstanceId], Reservation] = {}
        for cluster in await self._clusters.registered():
            pending = await self._reservations.pending(cluster.name)
            found |= {(each.operation_id, each.instance): each for each in pending}
        return found

    async def _restart(self, silent: OpenOperation, reservation: Reservation | None, workflows: Workflows) -> bool:
        """Start an operation's orchestration under another id, unless it is running and not stuck."""
        now = self._clock.now()
        is_waiting = reservation is not None and reservation.state.is_waiting
        if is_waiting and not silent.is_aborting:  # one that was cancelled needs no slot to end
            return False
        stored = await self._tenants.get(silent.slug)
        operation = stored.value.operation
        if operation.id != silent.operation_id or not operation.is_open:
            return False
        is_running = await workflows.is_running(operation)
        silence = operation.heartbeat_age(now)
        if reservation is not None and not is_waiting:  # it may have got its slot a moment ago
            silence = min(silence, age(reservation.since, now))
        if silence < (self._settings.stuck_after if is_running else self._settings.restart_after):
            return False
        if operation.restarts >= self._settings.max_restarts:
            self._log("orchestration not restarted: it needs an operator", silent, level=logging.ERROR)
            record(metrics.RECOVERY_EXHAUSTED, kind=silent.kind)
            return False
        self._log("orchestration stuck" if is_running else "orchestration lost", silent)
        if is_running:
            await workflows.terminate(operation)
        # Started before it is recorded: a start that was not recorded is found running by the next run, which starts
        # the same one again.
        again = replace(operation, restarts=operation.restarts + 1, heartbeat_at=now)
        await workflows.start(again)
        await self._tenants.save(stored.with_value(replace(stored.value, operation=again)))
        record(metrics.RECOVERY_RESTARTS, kind=silent.kind)
        return True

    def _log(self, event: str, silent: OpenOperation, level: int = logging.WARNING, **fields: str) -> None:
        log_event(
            logger,
            event,
            level=level,
            tenant=silent.slug,
            operation=silent.operation_id,
            kind=silent.kind,
            heartbeat_age=silent.heartbeat_age(self._clock.now()),
            **fields,
        )


def _record(metric: Metric, operations: Sequence[OpenOperation]) -> None:
    counts = Counter(each.kind for each in operations)
    for kind in OperationKind:  # those without any, too: else a chart never comes down again
        record(metric, counts[kind], kind=kind)
