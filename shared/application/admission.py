"""Admission: a bounded number of provisionings at once, the others queued in the order of their signup.

Slots in use are counted in the clusters' own rows. Only when all slots are in use is the queue read from the tables;
that poll is shared by all who ask within a second.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.domain.clusters import NO_CLUSTER
from shared.domain.lifecycle import OperationKind, StepName
from shared.domain.operations import OperationId
from shared.domain.placement import ReservationResult, candidates
from shared.domain.plans import PLANS
from shared.domain.tenants import Tenant
from shared.errors import Conflict, NoRoom, QueueFull
from shared.events import log_event
from shared.settings import ProvisioningSettings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # the queue is read from the tables no more often than this
MIN_WAIT, MAX_WAIT = 1.0, 30.0  # seconds between two polls of one queued tenant
TYPICAL_SECONDS = 5.0  # that a provisioning holds its slot; only the waits are derived from it


@dataclass(frozen=True, slots=True)
class Queued:
    """A tenant that has to wait, its position in the queue, from 1, and the seconds after which to ask again."""

    tenant: Stored[Tenant]
    position: int
    wait: float


class Admission:
    """Lets tenants start, and finds each a cluster."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        clock: Clock,
        settings: ProvisioningSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._clock = clock
        self._settings = settings
        self._lock = asyncio.Lock()
        self._queue: list[OperationId] = []  # all open provisionings, the oldest first
        self._polled_at = float("-inf")
        self._arriving = 0  # signups that are being saved
        self._arrived = 0  # those that were saved since the last poll began, and may not be in the queue
        self._slots_in_use = False  # all of them

    @asynccontextmanager
    async def arriving(self) -> AsyncGenerator[None]:
        """Count one more signup while it is saved; raises QueueFull if too many are queued already."""
        limit = self._settings.max_concurrent
        if self._slots_in_use or self._arriving + self._arrived >= limit:
            await self._poll()
            if len(self._queue) + self._arriving + self._arrived >= limit + self._settings.max_queued:
                # A random time, so that the signups of one burst are not all sent again at the same moment.
                wait = self._settings.retry_after * random.uniform(1, 2)  # noqa: S311 - not a secret
                log_event(logger, "signup refused: the queue is full", queued=len(self._queue), retry_after=wait)
                raise QueueFull("too many signups are queued already", wait)
        self._arriving += 1
        try:
            yield
            self._arrived += 1
        finally:
            self._arriving -= 1

    async def place(self, tenant: Stored[Tenant]) -> Stored[Tenant] | Queued:
        """Reserve room and a slot for a tenant and record it, or return its position in the queue.

        A tenant with a reservation keeps it. The choice of a cluster is recorded before anything is reserved there, so
        that every reservation can be found and released.

        Raises:
            NoRoom: No cluster of the region has room.
            Conflict: Somebody else changed the tenant.
        """
        value = tenant.value
        if value.cluster and await self._clusters.has_reservation(value.cluster, value.instance):
            return await self._start_applying(tenant)
        async with self._lock:
            if self._slots_in_use:
                queued = await self._queued(tenant)
                if queued is not None:
                    return queued
            placed = await self._reserve(tenant)
        return placed if isinstance(placed, Queued) else await self._keep_reservation(placed)

    async def _reserve(self, tenant: Stored[Tenant]) -> Stored[Tenant] | Queued:
        value = tenant.value
        weight = PLANS[value.plan].weight
        clusters = await self._clusters.list()
        chosen = candidates(clusters, region=value.region, weight=weight)
        placing = value.operation.start_step(StepName.PLACE, self._clock.now(), "reserving room on a cluster")
        no_slot = sum(cluster.starting for cluster in clusters) >= self._settings.max_concurrent
        per_cluster = self._settings.max_concurrent_per_cluster
        for cluster in [] if no_slot else chosen:
            if cluster.starting >= per_cluster:
                no_slot = True
                continue
            on_cluster = replace(value, cluster=cluster.name, operation=replace(placing, cluster=cluster.name))
            tenant = await self._tenants.save(tenant.with_value(on_cluster))
            result = await self._clusters.reserve(cluster, value.instance, weight=weight, max_starting=per_cluster)
            log_event(logger, "reservation asked for", cluster=cluster.name, weight=weight, result=result)
            match result:
                case ReservationResult.RESERVED:
                    return tenant
                case ReservationResult.NO_SLOT:
                    no_slot = True
                case ReservationResult.FULL:
                    pass
        if not no_slot:
            raise NoRoom(f"region {value.region} is full: the last free room was just taken")
        self._slots_in_use = True
        if tenant.value.cluster:  # nothing was reserved on it
            tenant = await self._tenants.save(tenant.with_value(replace(value, cluster=NO_CLUSTER, operation=placing)))
        return await self._queued(tenant) or Queued(tenant, 1, MIN_WAIT)

    async def _keep_reservation(self, tenant: Stored[Tenant]) -> Stored[Tenant]:
        """Record a reservation that was just made, and release it if it is not wanted any more.

        Between the choice of the cluster and the reservation another worker may have ended the operation, or have made
        a reservation elsewhere for this instance; neither of them could see this one.
        """
        try:
            return await self._start_applying(tenant)
        except Conflict:
            value = tenant.value
            fresh = (await self._tenants.get(value.slug)).value
            if fresh.is_done_with(value.instance) or fresh.cluster != value.cluster:
                log_event(logger, "reservation released: its operation ended", cluster=value.cluster)
                await self._clusters.release(value.cluster, value.instance)
            raise

    async def _start_applying(self, tenant: Stored[Tenant]) -> Stored[Tenant]:
        """Record that the place step is done, so that its seconds include the reservation."""
        value = tenant.value
        message = f"applying the tenant's objects on {value.cluster}"
        operation = value.operation.start_step(StepName.APPLY, self._clock.now(), message)
        return await self._tenants.save(tenant.with_value(replace(value, operation=operation)))

    async def _queued(self, tenant: Stored[Tenant]) -> Queued | None:
        """Return a tenant's position in the queue, or None if it is among those that may start."""
        await self._poll()
        operation_id = tenant.value.operation.id
        limit = self._settings.max_concurrent
        ahead = self._queue.index(operation_id) if operation_id in self._queue else len(self._queue)
        position = ahead - limit + 1
        if position <= 0:
            return None
        wait = TYPICAL_SECONDS * position / limit
        return Queued(tenant, position, min(MAX_WAIT, max(MIN_WAIT, wait)))

    async def _poll(self) -> None:
        """Read the open provisionings from the tables, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if now - self._polled_at < POLL_SECONDS:
            return
        self._polled_at, arrived = now, self._arrived
        operations = [
            tenant.value.operation
            async for tenant in self._tenants.with_open_operation()
            if tenant.value.operation.kind is OperationKind.PROVISION and not tenant.value.operation.is_aborting
        ]
        self._queue = [each.id for each in sorted(operations, key=lambda each: (each.created_at, each.id))]
        self._arrived -= arrived
        self._slots_in_use = len(self._queue) > self._settings.max_concurrent
