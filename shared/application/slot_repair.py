"""Slot repair: the safety net of admission, for whatever a worker left half done when it stopped."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from shared.application.admission import Admission
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.tenants import OpenOperation, TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.clusters import Cluster
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import OperationId, age, slug_of
from shared.domain.placement import Reservation, ReservationState
from shared.errors import BerthError, NotFound
from shared.events import log_event
from shared.settings import ProvisioningSettings
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0  # in which a reservation that was just made gets its tenant


class SlotRepair:
    """Compares the reservations that wait or start with the open operations: a timer's work."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        admission: Admission,
        clock: Clock,
        settings: ProvisioningSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations
        self._admission = admission
        self._clock = clock
        self._settings = settings

    async def run(self, open_operations: Sequence[OpenOperation], workflows: Workflows) -> None:
        """Release what nobody needs any more, move away what waits for a dead cluster, and start who can start.

        Raises Transient when the tables do not respond; the next run tries again.
        """
        open_by_id = {each.operation_id: each for each in open_operations}
        for cluster in await self._clusters.registered():
            try:
                await self._repair(cluster, open_by_id, workflows)
            except BerthError as error:  # continue with the other clusters
                log_event(logger, "slots not repaired", level=logging.WARNING, cluster=cluster.name, cause=str(error))

    async def _repair(
        self, cluster: Cluster, open_by_id: Mapping[OperationId, OpenOperation], workflows: Workflows
    ) -> None:
        pending = await self._reservations.pending(cluster.name)
        self._record(cluster, pending)
        for reservation in pending:
            known = open_by_id.get(reservation.operation_id)
            in_use = known is not None and known.instance == reservation.instance and known.cluster == cluster.name
            try:
                if not in_use and age(reservation.since, self._clock.now()) > GRACE_SECONDS:
                    await self._release(cluster, reservation, workflows)
                elif in_use and reservation.state is ReservationState.WAITING and cluster.breaker is not None:
                    await self._move(cluster, reservation, workflows)
            except BerthError as error:  # continue with the others
                self._log("reservation not repaired", cluster, reservation, cause=str(error))
        await self._admission.start_next(cluster.name, workflows, fresh=True)

    def _record(self, cluster: Cluster, pending: Sequence[Reservation]) -> None:
        counts = Counter(each.state for each in pending)
        waiting, waking = counts[ReservationState.WAITING], counts[ReservationState.WAKING]
        record(metrics.QUEUE_LENGTH, waiting, cluster=cluster.name, kind=OperationKind.PROVISION)
        record(metrics.QUEUE_LENGTH, waking, cluster=cluster.name, kind=OperationKind.WAKE)
        record(metrics.SLOTS_USED, counts[ReservationState.STARTING], cluster=cluster.name)
        record(metrics.SLOTS_LIMIT, self._settings.max_concurrent, cluster=cluster.name)

    async def _release(self, cluster: Cluster, reservation: Reservation, workflows: Workflows) -> None:
        """Release a reservation, or its slot only if its tenant is active by now, or its share if that sleeps."""
        try:
            tenant = (await self._tenants.get(slug_of(reservation.operation_id))).value
        except NotFound:
            tenant = None
        name, instance = cluster.name, reservation.instance
        if tenant is not None and tenant.is_on(name, instance):
            if tenant.operation.is_open:  # it was not when the open operations were read
                return
            if tenant.state is TenantState.ACTIVE or tenant.has_lost_instance:
                self._log("slot released: its tenant does not start", cluster, reservation)
                await self._admission.release_slot(name, instance, reservation.operation_id, workflows)
                return
            if tenant.state is TenantState.HIBERNATED:
                self._log("share released: its tenant sleeps", cluster, reservation)
                await self._admission.settle_reservation(tenant, workflows)
                return
        self._log("reservation released: nobody needs it", cluster, reservation)
        await self._admission.release(name, instance, workflows, unless_changed=reservation)
        await self._restore(cluster, reservation)

    async def _restore(self, cluster: Cluster, released: Reservation) -> None:
        """Make a reservation again whose tenant was recorded after it had been looked for, however full it is there."""
        with suppress(NotFound):
            tenant = (await self._tenants.get(slug_of(released.operation_id))).value
            if not tenant.is_on(cluster.name, released.instance) or tenant.state is TenantState.DELETING:
                return
            self._log("reservation restored: its tenant came late", cluster, released)
            state = ReservationState.HELD if tenant.state is TenantState.ACTIVE else released.state
            await self._reservations.replace(cluster.name, None, replace(released, state=state))

    async def _move(self, cluster: Cluster, reservation: Reservation, workflows: Workflows) -> None:
        """Move a tenant that waits for a cluster which does not respond to another one."""
        tenant = await self._tenants.get(slug_of(reservation.operation_id))
        operation = tenant.value.operation
        if (
            operation.id != reservation.operation_id
            or not operation.is_open
            or operation.is_aborting
            or not tenant.value.is_on(cluster.name, reservation.instance)
            # Read after the tenant: if it still waits, whatever starts it later finds the tenant changed.
            or await self._reservations.find(cluster.name, reservation.instance) != reservation
        ):
            return
        moved, has_slot = await self._admission.move(tenant, workflows, away_from=cluster.name)
        if has_slot:
            await workflows.start(moved.value.operation)

    def _log(self, event: str, cluster: Cluster, reservation: Reservation, **fields: str) -> None:
        log_event(
            logger,
            event,
            level=logging.WARNING,
            cluster=cluster.name,
            operation=reservation.operation_id,
            instance=reservation.instance,
            **fields,
        )
