"""Who may start now: a set number of provisionings at once, the others in the order of their signup.

Started ones are counted in the clusters' own rows. Only when all places to start are taken does anybody look at who
waits; that look is shared by all who ask within a second.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from shared.application.ports import ClusterRecords, Stored, TenantRecords
from shared.clock import Clock
from shared.domain.clusters import Placement, candidates
from shared.domain.operations import OperationKind, StepName
from shared.domain.plans import PLANS
from shared.domain.tenants import Tenant
from shared.errors import Busy, NoRoom
from shared.settings import Settings

LOOK_SECONDS = 1.0
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between two looks of one waiting tenant
TYPICAL_SECONDS = 5.0  # that a provisioning holds its place to start; only the waits are derived from it


@dataclass(frozen=True, slots=True)
class Waiting:
    """A tenant that has to wait, its place in the queue, from 1, and the seconds after which to ask again."""

    tenant: Stored[Tenant]
    place: int
    wait: float


class Admission:
    """Lets tenants in, and finds each a cluster."""

    def __init__(self, records: TenantRecords, clusters: ClusterRecords, clock: Clock, settings: Settings) -> None:
        self._records = records
        self._clusters = clusters
        self._clock = clock
        self._limits = settings.provisioning
        self._turn = asyncio.Lock()
        self._queue: list[str] = []  # operation ids of all open provisionings, the oldest first
        self._looked_at = float("-inf")
        self._arriving = 0  # signups that are being saved
        self._arrived = 0  # those that were saved since the look began, and may not be in the queue
        self._crowded = False

    @asynccontextmanager
    async def signup(self) -> AsyncGenerator[None]:
        """Hold a place for one more signup while it is saved; raises Busy if too many are waiting already."""
        if self._crowded or self._arriving + self._arrived >= self._limits.at_once:
            await self._look()
            if len(self._queue) + self._arriving + self._arrived >= self._limits.at_once + self._limits.waiting:
                # Not all at the same moment: who came together shall not come back together.
                again = self._limits.retry_after * random.uniform(1, 2)  # noqa: S311 - not a secret
                raise Busy("too many signups are waiting already", again)
        self._arriving += 1
        try:
            yield
            self._arrived += 1
        finally:
            self._arriving -= 1

    async def place(self, tenant: Stored[Tenant]) -> Stored[Tenant] | Waiting:
        """Reserve a place for a tenant and record it, or say how long to wait. A tenant with a place keeps it.

        The choice is recorded before the place is taken, so that whatever was taken can be found and given back.

        Raises:
            NoRoom: No cluster of the region has room.
            Conflict: Somebody else changed the tenant.
        """
        value = tenant.value
        if value.cluster and await self._clusters.has_place(value.cluster, value.slug):
            return tenant
        async with self._turn:
            if self._crowded:
                waiting = await self._waiting(tenant)
                if waiting is not None:
                    return waiting
            return await self._reserve(tenant)

    async def _reserve(self, tenant: Stored[Tenant]) -> Stored[Tenant] | Waiting:
        value = tenant.value
        weight = PLANS[value.plan].weight
        clusters = await self._clusters.list()
        chosen = candidates(clusters, region=value.region, weight=weight)
        placing = value.operation.begin(StepName.PLACE, self._clock.now())
        busy = sum(cluster.starting for cluster in clusters) >= self._limits.at_once
        for cluster in [] if busy else chosen:
            if cluster.starting >= self._limits.at_once_per_cluster:
                busy = True
                continue
            message = f"applying the tenant's objects on {cluster.name}"
            applying = replace(placing.begin(StepName.APPLY, self._clock.now(), message), cluster=cluster.name)
            tenant = await self._records.save(
                tenant.with_value(replace(value, cluster=cluster.name, operation=applying))
            )
            match await self._clusters.reserve(cluster, value.slug, weight, self._limits.at_once_per_cluster):
                case Placement.PLACED:
                    return tenant
                case Placement.BUSY:
                    busy = True
                case Placement.FULL:
                    pass
        if not busy:
            raise NoRoom(f"region {value.region} is full: the last free place was just taken")
        self._crowded = True
        if tenant.value.cluster:  # chosen in vain
            tenant = await self._records.save(tenant.with_value(replace(value, cluster="", operation=placing)))
        return await self._waiting(tenant) or Waiting(tenant, 1, SHORTEST_WAIT)

    async def _waiting(self, tenant: Stored[Tenant]) -> Waiting | None:
        """Return a tenant's place in the queue, or None if it is among those who may start."""
        await self._look()
        operation_id = tenant.value.operation.id
        ahead = self._queue.index(operation_id) if operation_id in self._queue else len(self._queue)
        place = ahead - self._limits.at_once + 1
        if place <= 0:
            return None
        wait = TYPICAL_SECONDS * place / self._limits.at_once
        return Waiting(tenant, place, min(LONGEST_WAIT, max(SHORTEST_WAIT, wait)))

    async def _look(self) -> None:
        """Read who is open, unless that was done a moment ago."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at, arrived = now, self._arrived
        operations = [
            tenant.value.operation
            async for tenant in self._records.with_open_operation()
            if tenant.value.operation.kind is OperationKind.PROVISION and not tenant.value.operation.is_giving_up
        ]
        self._queue = [each.id for each in sorted(operations, key=lambda each: (each.created_at, each.id))]
        self._arrived -= arrived
        self._crowded = len(self._queue) > self._limits.at_once
