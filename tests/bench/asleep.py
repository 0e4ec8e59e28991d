"""Tenants that sleep, made directly: their rows in the tables, and their objects on the API server."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce

from local.stack import Stack
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.tables import reservation_rows, tenants
from shared.adapters.tables.reservation_rows import partition, replacing
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.rows import with_schema
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.adapters.tables.tenants import TableTenantRepository
from shared.adapters.templates import YamlTenantTemplates
from shared.application.ports.stored import Stored
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import new_operation
from shared.domain.placement import Reservation, ReservationState
from shared.domain.tenants import Tenant
from shared.domain.workloads import KIND, with_replicas
from tests.bench.bulk import write_rows
from tests.bench.counted import CollectedRows
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS, new_slug, new_tenant

DAY = timedelta(days=1)
WEIGHT = 1  # of a trial
AT_ONCE = 24
NEEDED = ("Namespace", KIND)  # of the objects of a tenant that only sleeps; a wake makes the others


@dataclass(frozen=True, slots=True)
class Asleep:
    """Adds tenants that sleep to a stack on which nothing else happens.

    Attributes:
        stack: The stack.
        tables: Its tables.
        cluster: Its cluster, as berth.
    """

    stack: Stack
    tables: TableStorage
    cluster: KubernetesApiCluster

    async def add(self, count: int, *, complete: bool) -> Sequence[Tenant]:
        """Add tenants, with all their objects or only with a namespace and a StatefulSet, and return them."""
        added = [_asleep() for _ in range(count)]
        slots = asyncio.Semaphore(AT_ONCE)

        async def apply(tenant: Tenant) -> None:
            objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(tenant, LOCAL)
            stopped = with_replicas(objects, dict.fromkeys(tenant.replicas, 0))
            async with slots:
                await self.cluster.apply([each for each in stopped if complete or each["kind"] in NEEDED])

        await self._record(added)
        async with asyncio.TaskGroup() as group:
            for each in added:
                group.create_task(apply(each))
        return added

    async def _record(self, added: Sequence[Tenant]) -> None:
        """Write the rows of the tenants, of their reservations, and of the sums of these."""
        await TableTenantRepository(self.tables).open_operations()  # which makes the table
        collected = CollectedRows()
        repository = TableTenantRepository(collected)
        for each in added:
            await repository.save(Stored(each))
        endpoint = self.stack.azurite.endpoint
        await write_rows(endpoint, tenants.TABLE, [write.row for write in collected.writes])
        reservations = [
            Reservation(each.instance, each.operation.id, WEIGHT, ReservationState.ASLEEP, each.changed_at)
            for each in added
        ]
        rows = [write.row for each in reservations for write in replacing(LOCAL.name, None, each)]
        await write_rows(endpoint, reservation_rows.TABLE, rows)
        before = await TableReservationRepository(self.tables, SystemClock()).sums(LOCAL.name)
        sums = asdict(reduce(lambda total, each: total.plus(each), reservations, before))
        row = {"PartitionKey": partition(LOCAL.name), "RowKey": "allocation", **sums, "write_id": "asleep"}
        await self.tables.transact(reservation_rows.TABLE, [Upsert(with_schema(row))])


def _asleep() -> Tenant:
    """Return a tenant that was active, and was put to sleep a day ago."""
    began = datetime.now(UTC) - 30 * DAY
    active = new_tenant(new_slug(), cluster=LOCAL.name, created_at=began).succeed(began, quarantine=DAY)
    now = datetime.now(UTC) - DAY
    hibernating = active.begin(new_operation(OperationKind.HIBERNATE, active.slug, actor="bench", now=now), now)
    replicas = {each.name: each.replicas for each in PRODUCT}
    return replace(hibernating, replicas=replicas).succeed(now, quarantine=DAY)
