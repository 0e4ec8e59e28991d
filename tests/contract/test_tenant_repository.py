"""The records on the real table service: conditions, atomicity, paging, lost answers."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import pytest

from functions.container import Container
from local.table_server import Azurite, connection_string
from shared.adapters.clock import SystemClock
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.tenants import TableTenantRepository
from shared.application.cluster_registry import ClusterRegistry
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantFilter
from shared.domain.clusters import Cluster, ClusterName, ClusterState, KubeconfigAccess
from shared.domain.lifecycle import OperationKind, StepName, TenantState
from shared.domain.operations import new_operation
from shared.domain.placement import ReservationResult
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Observed, Tenant
from shared.errors import Conflict, NotFound, Transient
from shared.settings import load_settings

NOW = datetime(2026, 2, 28, 12, 0, 0, 123000, tzinfo=UTC)


def tenant(slug: Slug, *, plan: str = "trial") -> Tenant:
    return Tenant(
        slug=slug,
        state=TenantState.PROVISIONING,
        plan=plan,
        region="westeurope",
        version="1.0",
        email="someone@example.com",
        display_name="Ünïcode 🚀 name",
        created_at=NOW,
        changed_at=NOW,
        operation=new_operation(OperationKind.PROVISION, slug, actor="portal", now=NOW),
    )


def audit_entry(value: Tenant, before: str, *, reason: str) -> AuditEntry:
    operation = value.operation
    return AuditEntry(
        value.slug, value.changed_at, operation.actor, operation.kind, reason, before, value.state, operation.id
    )


@pytest.fixture
def records(tables: AzureTableStorage) -> TableTenantRepository:
    return TableTenantRepository(tables)


@pytest.fixture
async def cluster(tables: AzureTableStorage) -> Cluster:
    registered = Cluster(
        ClusterName("c" + token_hex(4)), "westeurope", 10, ClusterState.OPEN, KubeconfigAccess("local")
    )
    return await TableClusterRepository(tables, SystemClock()).register(registered)


def new_slug() -> Slug:
    return Slug("t" + token_hex(6))


async def test_a_tenant_comes_back_as_it_was_saved(records: TableTenantRepository) -> None:
    value = tenant(new_slug())
    operation = value.operation.start_step(StepName.PLACE, NOW, "placing").start_step(
        StepName.APPLY, NOW + timedelta(seconds=1)
    )
    value = replace(value, operation=operation, observed=Observed(ready=False, message="pulling", at=NOW))
    await records.save(Stored(value), audit=audit_entry(value, "none", reason="requested"))
    assert (await records.get(value.slug)).value == value
    assert await records.get_operation(operation.id) == operation


async def test_a_slug_is_taken_once(records: TableTenantRepository) -> None:
    slug = new_slug()
    tries = await asyncio.gather(*(records.save(Stored(tenant(slug))) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, Stored) for result in tries) == 1
    assert sum(isinstance(result, Conflict) for result in tries) == 19


async def test_a_stale_write_changes_nothing_not_even_the_audit_trail(records: TableTenantRepository) -> None:
    stale = await records.save(Stored(tenant(new_slug())))
    fresh = await records.save(stale.with_value(replace(stale.value, cluster="one")))
    ended = stale.value.fail(NOW)
    with pytest.raises(Conflict):
        await records.save(stale.with_value(ended), audit=audit_entry(ended, "provisioning", reason="too late"))
    assert await records.get(stale.value.slug) == fresh
    assert (await records.audit(stale.value.slug, limit=10, token="")).items == ()


async def test_an_ended_operation_is_kept_when_the_next_one_begins(records: TableTenantRepository) -> None:
    stored = await records.save(Stored(tenant(new_slug())))
    first = stored.value.succeed(NOW, quarantine=timedelta(0))
    stored = await records.save(stored.with_value(first), audit=audit_entry(first, "provisioning", reason="ready"))
    deletion = new_operation(OperationKind.DELETE, first.slug, actor="portal", now=NOW)
    await records.save(stored.with_value(first.begin(deletion, NOW)))
    assert await records.get_operation(first.operation.id) == first.operation
    assert await records.get_operation(deletion.id) == deletion


@pytest.mark.parametrize("operation_id", ["nonsense", "acme.00000000000000000000", "a/b", "x.y'z"])
async def test_an_operation_that_is_not_there(records: TableTenantRepository, operation_id: str) -> None:
    with pytest.raises(NotFound):
        await records.get_operation(operation_id)


async def test_lists_page_through_all_tenants_once_and_filter(records: TableTenantRepository) -> None:
    plan = "plan-" + token_hex(4)
    slugs = {new_slug() for _ in range(25)}
    await asyncio.gather(*(records.save(Stored(tenant(slug, plan=plan))) for slug in slugs))
    seen: list[str] = []
    token = ""
    while True:
        page = await records.list(TenantFilter(plan=plan), limit=4, token=token)
        assert len(page.items) <= 4
        seen += [each.slug for each in page.items]
        token = page.next_token
        if not token:
            break
    assert sorted(seen) == sorted(slugs)
    hostile = await records.list(TenantFilter(plan="x' or PartitionKey ne '"), limit=4, token="")
    assert hostile.items == ()


@pytest.mark.parametrize("token", ["%%%", "Z", "zzzz", "ünï"])
async def test_a_foreign_token_is_refused(records: TableTenantRepository, token: str) -> None:
    with pytest.raises(ValueError, match="not the `next` of a list"):
        await records.list(TenantFilter(), limit=4, token=token)


async def test_only_open_operations_are_looked_after(records: TableTenantRepository) -> None:
    open_one = await records.save(Stored(tenant(new_slug())))
    ended = await records.save(Stored(tenant(new_slug()).fail(NOW)))
    found = {stored.value.slug async for stored in records.with_open_operation()}
    assert open_one.value.slug in found
    assert ended.value.slug not in found


async def test_the_audit_trail_is_newest_first_and_pages(records: TableTenantRepository) -> None:
    stored = await records.save(Stored(tenant(new_slug())))
    for second in range(5):
        value = replace(stored.value, changed_at=NOW + timedelta(seconds=second))
        stored = await records.save(stored.with_value(value), audit=audit_entry(value, "none", reason=str(second)))
    first = await records.audit(stored.value.slug, limit=3, token="")
    rest = await records.audit(stored.value.slug, limit=3, token=first.next_token)
    assert [entry.reason for entry in first.items + rest.items] == ["4", "3", "2", "1", "0"]
    assert rest.next_token == ""


async def test_a_write_whose_answer_was_lost_counts_as_done(
    tables: AzureTableStorage, records: TableTenantRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tables.transact
    answers = 0

    async def lossy(table: str, writes: Any) -> list[str]:
        nonlocal answers
        answers += 1
        await real(table, writes)
        return await real(table, writes)  # what a repeat after a lost answer comes to

    monkeypatch.setattr(tables, "transact", lossy)
    stored = await records.save(Stored(tenant(new_slug())))
    monkeypatch.undo()
    assert answers == 1
    assert await records.get(stored.value.slug) == stored


async def test_an_account_that_does_not_answer_is_transient(dead_tables: AzureTableStorage) -> None:
    with pytest.raises(Transient):
        await TableTenantRepository(dead_tables).get(Slug("acme"))


async def test_placements_never_overbook_and_add_up(tables: AzureTableStorage, cluster: Cluster) -> None:
    workers = [TableClusterRepository(tables, SystemClock()) for _ in range(3)]
    slugs = [new_slug() for _ in range(15)]
    placed = await asyncio.gather(
        *(workers[i % 3].reserve(cluster, slug, weight=1, max_starting=99) for i, slug in enumerate(slugs))
    )
    assert placed.count(ReservationResult.RESERVED) == cluster.capacity
    again = await asyncio.gather(*(workers[0].reserve(cluster, slug, weight=1, max_starting=99) for slug in slugs))
    assert list(again) == list(placed)
    for _ in range(2):
        await asyncio.gather(*(workers[i % 3].release(cluster.name, slug) for i, slug in enumerate(slugs)))
    assert {each.name: each.allocated for each in await workers[0].list()}[cluster.name] == 0


async def test_no_more_start_at_once_than_may(tables: AzureTableStorage, cluster: Cluster) -> None:
    workers = [TableClusterRepository(tables, SystemClock()) for _ in range(3)]
    slugs = [new_slug() for _ in range(6)]
    said = await asyncio.gather(
        *(workers[i % 3].reserve(cluster, slug, weight=1, max_starting=2) for i, slug in enumerate(slugs))
    )
    assert (said.count(ReservationResult.RESERVED), said.count(ReservationResult.NO_SLOT)) == (2, 4)
    first = slugs[said.index(ReservationResult.RESERVED)]
    for _ in range(2):
        await workers[0].release_slot(cluster.name, first)
    assert (
        await workers[1].reserve(cluster, slugs[said.index(ReservationResult.NO_SLOT)], weight=1, max_starting=2)
        is ReservationResult.RESERVED
    )
    for slug in slugs:
        await workers[2].release(cluster.name, slug)
    assert {(each.allocated, each.starting) for each in await workers[0].list() if each.name == cluster.name} == {
        (0, 0)
    }


async def test_registering_again_keeps_the_allocation(tables: AzureTableStorage, cluster: Cluster) -> None:
    clusters = TableClusterRepository(tables, SystemClock())
    assert await clusters.reserve(cluster, Slug("acme"), weight=4, max_starting=99) is ReservationResult.RESERVED
    changed = await clusters.register(replace(cluster, state=ClusterState.CORDONED))
    assert (changed.allocated, changed.free, changed.state) == (4, 6, ClusterState.CORDONED)


async def test_a_registration_that_was_changed_since_is_not_written_over(
    tables: AzureTableStorage, cluster: Cluster
) -> None:
    clusters = TableClusterRepository(tables, SystemClock())
    stale = await clusters.get(cluster.name)
    await clusters.save(stale.with_value(replace(stale.value, capacity=20)))
    with pytest.raises(Conflict, match="changed by somebody else"):
        await clusters.save(stale.with_value(replace(stale.value, state=ClusterState.CORDONED)))
    assert (await clusters.get(cluster.name)).value == replace(cluster, capacity=20)
    with pytest.raises(NotFound, match="no cluster nobody's is registered"):
        await clusters.get(ClusterName("nobody's"))


async def test_operators_never_undo_each_other(tables: AzureTableStorage, cluster: Cluster) -> None:
    workers = [TableClusterRepository(tables, SystemClock()) for _ in range(2)]
    assert await workers[0].reserve(cluster, Slug("acme"), weight=4, max_starting=99) is ReservationResult.RESERVED
    for capacity in range(1, 6):
        await workers[0].register(cluster)
        changed = await asyncio.gather(
            ClusterRegistry(workers[0]).change(cluster.name, state=ClusterState.CORDONED, capacity=None),
            ClusterRegistry(workers[1]).change(cluster.name, state=None, capacity=capacity),
        )
        expected = replace(cluster, state=ClusterState.CORDONED, capacity=capacity, allocated=4, starting=1)
        assert expected in changed
        assert (await workers[0].get(cluster.name)).value == expected


async def test_a_cordon_holds_in_every_worker_from_its_answer_on(tables: AzureTableStorage, cluster: Cluster) -> None:
    here, there = TableClusterRepository(tables, SystemClock()), TableClusterRepository(tables, SystemClock())
    assert cluster in await there.registered()  # and is kept for five seconds
    await ClusterRegistry(here).change(cluster.name, state=ClusterState.CORDONED, capacity=None)
    assert {each.name: each.state for each in await there.list()}[cluster.name] is ClusterState.CORDONED


async def test_a_change_goes_on_after_a_lost_answer_and_gives_up_where_others_never_stop(
    tables: AzureTableStorage, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, real = TableClusterRepository(tables, SystemClock()), tables.transact
    registry, writes_seen = ClusterRegistry(clusters), 0

    async def lossy(table: str, writes: Any) -> list[str]:
        await real(table, writes)
        return await real(table, writes)  # what a repeat after a lost answer comes to

    async def contested(table: str, writes: Any) -> list[str]:
        nonlocal writes_seen
        writes_seen += 1
        await clusters.register(replace(cluster, capacity=100 + writes_seen))
        return await real(table, writes)

    monkeypatch.setattr(tables, "transact", lossy)
    assert (await registry.change(cluster.name, state=None, capacity=50)).capacity == 50
    monkeypatch.setattr(tables, "transact", contested)
    with pytest.raises(Conflict, match="changing too fast"):
        await registry.change(cluster.name, state=None, capacity=60)
    assert (await clusters.get(cluster.name)).value.capacity == 100 + writes_seen
    assert writes_seen > 1


async def test_a_latency_row_has_every_step_and_is_written_once(tables: AzureTableStorage) -> None:
    value = tenant(new_slug())
    operation = value.operation.start_step(StepName.PLACE, NOW + timedelta(seconds=2))
    operation = operation.start_step(StepName.APPLY, NOW + timedelta(seconds=3))
    operation = operation.start_step(StepName.START, NOW + timedelta(seconds=5))
    ended = replace(value, operation=replace(operation, cluster="one")).succeed(
        NOW + timedelta(seconds=9), quarantine=timedelta(0)
    )
    latency = TableLatencyRepository(tables)
    await latency.record(ended)
    await latency.record(ended)
    where = "PartitionKey eq 'provision-20260228' and RowKey eq @id"
    rows = [row async for row, _ in tables.query("latency", where, {"id": operation.id})]
    assert len(rows) == 1
    seconds = {name: rows[0][f"{name}_seconds"] for name in ("queued", "place", "apply", "start", "total")}
    assert seconds == {"queued": 2.0, "place": 1.0, "apply": 2.0, "start": 4.0, "total": 9.0}
    assert (rows[0]["outcome"], rows[0]["cluster"]) == ("succeeded", "one")


async def test_a_container_closes_its_connections(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "BERTH_TABLES_CONNECTION": connection_string(azurite.endpoint),
        "BERTH_TENANTS_IMAGE": "registry.example.com/product",
        "BERTH_TENANTS_DEFAULT_VERSION": "1.0",
        "BERTH_TENANTS_SECRET_SEED": token_hex(16),
        "BERTH_RECOVERY_SCHEDULE": "0 * * * * *",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    services = Container(load_settings())
    assert isinstance(await services.clusters.list(), list)
    await services.close()
    with pytest.raises(ValueError, match="already been closed"):
        await services.clusters.list()
