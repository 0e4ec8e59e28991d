"""The repository of tenants: conditions, atomicity, paging, lost responses, rows that cannot be read."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.tables import rows
from shared.adapters.tables.keys import open_key, shard, tenant_key
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.adapters.tables.tenants import TABLE, TableTenantRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantFilter
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import OperationKind, StepName
from shared.domain.operations import new_operation
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Observed, Tenant
from shared.errors import Conflict, Invalid, NotFound, Transient
from shared.telemetry import metrics
from tests.support.builders import PLANS, new_slug, new_tenant
from tests.support.clock import START
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.recorded_telemetry import recorded_telemetry

UNREADABLE: dict[str, Callable[[Row], Row]] = {
    "state": lambda row: {**row, "state": "archived"},
    "kind": lambda row: {**row, "operation": row["operation"].replace('"provision"', '"migrate"')},
    "json": lambda row: {**row, "operation": row["operation"][:-1]},
    "no instance": lambda row: {**row, "cluster": "one", "instance": ""},
    "no policy": lambda row: {name: value for name, value in row.items() if name != "policy"},
    "newer schema": lambda row: {**row, "schema_version": rows.SCHEMA_VERSION + 1},
}


def tenant(**fields: Any) -> Tenant:
    return new_tenant(new_slug(), **fields)


def audit_entry(value: Tenant, before: str, *, reason: str) -> AuditEntry:
    operation = value.operation
    return AuditEntry(
        value.slug, value.changed_at, operation.actor, operation.kind, reason, before, value.state, operation.id
    )


async def all_listed(tenants: TableTenantRepository, wanted: TenantFilter, *, limit: int) -> list[str]:
    seen: list[str] = []
    token = ""
    while True:
        page = await tenants.list(wanted, limit=limit, token=token)
        assert len(page.items) <= limit
        seen += [each.slug for each in page.items]
        token = page.next_token
        if not token:
            return seen


@pytest.fixture(params=UNREADABLE)
async def unreadable(
    request: pytest.FixtureRequest, tenants: TableTenantRepository, storage: TableStorage
) -> Stored[Tenant]:
    """A tenant whose row was changed so that this version cannot read it."""
    saved = await tenants.save(Stored(tenant(region=f"r-{new_slug()}")))
    row, _ = await storage.get(TABLE, shard(saved.value.slug), tenant_key(saved.value.slug))
    await storage.transact(TABLE, [Upsert(UNREADABLE[request.param](row))])
    return saved


async def test_a_tenant_comes_back_as_it_was_saved(tenants: TableTenantRepository) -> None:
    value = tenant(display_name="Ünïcode 🚀 name")
    operation = value.operation.start_step(StepName.PLACE, START, "placing").start_step(
        StepName.APPLY, START + timedelta(seconds=1)
    )
    value = replace(value, operation=operation, observed=Observed(ready=False, message="pulling", at=START))
    policy = PolicyOverride(idle_days=3, exempt=True, keep_awake_until=START)
    value = replace(value, active_since=START, policy=policy)
    await tenants.save(Stored(value), audit=audit_entry(value, "none", reason="requested"))
    assert (await tenants.get(value.slug)).value == value
    assert await tenants.get_operation(operation.id) == operation


async def test_a_slug_is_taken_once(tenants: TableTenantRepository) -> None:
    value = tenant()
    tries = await asyncio.gather(*(tenants.save(Stored(value)) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, Stored) for result in tries) == 1
    assert sum(isinstance(result, Conflict) for result in tries) == 19


async def test_a_stale_write_changes_not_even_the_audit(tenants: TableTenantRepository) -> None:
    stale = await tenants.save(Stored(tenant()))
    fresh = await tenants.save(stale.with_value(replace(stale.value, cluster="one")))
    ended = stale.value.fail(START)
    with pytest.raises(Conflict):
        await tenants.save(stale.with_value(ended), audit=audit_entry(ended, "provisioning", reason="too late"))
    assert await tenants.get(stale.value.slug) == fresh
    assert (await tenants.audit(stale.value.slug, since=START, limit=10, token="")).items == ()


async def test_an_ended_operation_is_kept(tenants: TableTenantRepository) -> None:
    stored = await tenants.save(Stored(tenant()))
    first = stored.value.succeed(START, quarantine=timedelta(0))
    entry = audit_entry(first, "provisioning", reason="ready")
    stored = await tenants.save(stored.with_value(first), audit=entry, ends_operation=True)
    deletion = new_operation(OperationKind.DELETE, first.slug, actor="portal", now=START)
    deleting = first.begin(deletion, START)
    await tenants.save(stored.with_value(deleting))
    assert await tenants.get_operation(first.operation.id) == first.operation
    assert await tenants.get_operation(deletion.id) == deleting.operation


@pytest.mark.parametrize("operation_id", ["nonsense", "acme.00000000000000000000", "a/b", "x.y'z"])
async def test_an_operation_that_is_not_there(tenants: TableTenantRepository, operation_id: str) -> None:
    with pytest.raises(NotFound):
        await tenants.get_operation(operation_id)


async def test_an_earlier_operation_that_never_was(tenants: TableTenantRepository) -> None:
    value = (await tenants.save(Stored(tenant()))).value
    with pytest.raises(NotFound, match="there is no operation"):
        await tenants.get_operation(f"{value.slug}.{'0' * 20}")


async def test_lists_give_each_tenant_once(tenants: TableTenantRepository) -> None:
    region = f"r-{new_slug()}"
    values = [tenant(region=region) for _ in range(25)]
    await asyncio.gather(*(tenants.save(Stored(value)) for value in values))
    for limit in (1, 4, 25, 1000):
        seen = await all_listed(tenants, TenantFilter(region=region), limit=limit)
        assert sorted(seen) == sorted(value.slug for value in values)


async def test_a_prefix_lists_the_slugs_that_begin_so(tenants: TableTenantRepository) -> None:
    prefix, region = new_slug(), f"r-{new_slug()}"
    wanted = {Slug(f"{prefix}{end}") for end in ("", "-2", "0", "9", "a", "abc", "z", "zz")}
    others = {Slug(prefix[:-1]), Slug(f"{prefix[:-1]}~"[:-1] + "-"), Slug(new_slug())}
    for each in wanted | others:
        await tenants.save(Stored(new_tenant(each, region=region)))
    for limit in (1, 3, 100):
        assert sorted(await all_listed(tenants, TenantFilter(prefix=prefix), limit=limit)) == sorted(wanted)
    found = await all_listed(tenants, TenantFilter(prefix=prefix, plan="business"), limit=3)
    assert found == []
    start = (await tenants.list(TenantFilter(region=region), limit=1, token="")).next_token
    elsewhere = await tenants.list(TenantFilter(prefix=prefix), limit=100, token=start)
    assert {each.slug for each in elsewhere.items} <= wanted


async def test_the_operations_of_a_slug_come_newest_first(tenants: TableTenantRepository) -> None:
    value = tenant()
    other = new_tenant(f"{value.slug}-2")
    stored = await tenants.save(Stored(value), begins_operation=True)
    await tenants.save(Stored(other), begins_operation=True)
    ended = value.succeed(START, quarantine=timedelta(0))
    stored = await tenants.save(stored.with_value(ended), ends_operation=True)
    later = START + timedelta(days=1)
    sleep = new_operation(OperationKind.HIBERNATE, value.slug, actor="portal", now=later)
    begun = ended.begin(sleep, later)
    await tenants.save(stored.with_value(begun), begins_operation=True)
    found = await tenants.operations(value.slug, since=START, limit=10)
    assert found == (begun.operation, ended.operation)
    assert await tenants.operations(value.slug, since=START, limit=1) == (begun.operation,)
    assert await tenants.operations(value.slug, since=later, limit=10) == (begun.operation,)
    assert await tenants.operations(other.slug, since=START, limit=10) == (other.operation,)


async def test_filters_are_values_and_never_syntax(tenants: TableTenantRepository) -> None:
    await tenants.save(Stored(tenant()))
    hostile = await tenants.list(TenantFilter(plan="x' or PartitionKey ne '"), limit=4, token="")
    assert hostile.items == ()


@pytest.mark.parametrize("token", ["%%%", "Z", "zzzz", "ünï"])
async def test_a_foreign_token_is_refused(tenants: TableTenantRepository, token: str) -> None:
    with pytest.raises(Invalid, match="not the `next` of a list"):
        await tenants.list(TenantFilter(), limit=4, token=token)
    with pytest.raises(Invalid, match="not the `next` of a list"):
        await tenants.audit(Slug("acme"), since=START, limit=4, token=token)


async def test_open_operations_have_their_index_rows(tenants: TableTenantRepository) -> None:
    stored, other = await tenants.save(Stored(tenant())), await tenants.save(Stored(tenant()))
    placed = stored.value.placed(
        ClusterName("one"), InstanceId("another"), PLANS["trial"].size, START + timedelta(seconds=1), "moved"
    )
    stored = await tenants.save(stored.with_value(placed))
    found = {each.slug: each for each in await tenants.open_operations()}
    assert {stored.value.slug, other.value.slug} <= found.keys()
    row = found[placed.slug]
    assert (row.operation_id, row.kind) == (placed.operation.id, OperationKind.PROVISION)
    assert (row.instance, row.cluster, row.heartbeat_at) == ("another", "one", START + timedelta(seconds=1))
    await tenants.save(stored.with_value(placed.fail(START)), ends_operation=True)
    assert placed.slug not in {each.slug for each in await tenants.open_operations()}


async def test_a_lost_response_ends_an_operation_once(faulty: FaultyTables, faults: Faults) -> None:
    tenants = TableTenantRepository(faulty)
    stored = await tenants.save(Stored(tenant()))
    faults.lose(len(faults.calls) + 1)
    ended = await tenants.save(stored.with_value(stored.value.fail(START)), ends_operation=True)
    assert await tenants.get(stored.value.slug) == ended
    assert stored.value.slug not in {each.slug for each in await tenants.open_operations()}


async def test_the_audit_trail_pages_newest_first(tenants: TableTenantRepository) -> None:
    stored = await tenants.save(Stored(tenant()))
    for second in range(5):
        value = replace(stored.value, changed_at=START + timedelta(seconds=second))
        stored = await tenants.save(stored.with_value(value), audit=audit_entry(value, "none", reason=str(second)))
    first = await tenants.audit(stored.value.slug, since=START, limit=3, token="")
    rest = await tenants.audit(stored.value.slug, since=START, limit=3, token=first.next_token)
    assert [entry.reason for entry in first.items + rest.items] == ["4", "3", "2", "1", "0"]
    assert rest.next_token == ""


async def test_a_write_with_a_lost_response_counts(storage: TableStorage, faulty: FaultyTables, faults: Faults) -> None:
    tenants = TableTenantRepository(faulty)
    faults.lose(1)
    created = await tenants.save(Stored(tenant()))
    faults.reset()
    faults.lose(1)
    changed = await tenants.save(created.with_value(replace(created.value, cluster="one")))
    assert faults.calls == ["transact tenants", "get tenants"]
    assert await TableTenantRepository(storage).get(created.value.slug) == changed


async def test_a_write_that_somebody_else_won_conflicts(faulty: FaultyTables, faults: Faults) -> None:
    tenants = TableTenantRepository(faulty)
    value = tenant()
    await tenants.save(Stored(value))
    faults.lose(len(faults.calls) + 1)
    with pytest.raises(Conflict, match="changed by somebody else"):
        await tenants.save(Stored(value))


async def test_an_account_that_is_away_is_transient(dead_tables: TableStorage) -> None:
    with pytest.raises(Transient):
        await TableTenantRepository(dead_tables).get(Slug("acme"))


async def test_getting_an_unreadable_row_is_permanent(
    tenants: TableTenantRepository, unreadable: Stored[Tenant]
) -> None:
    with pytest.raises(Transient, match="the row tenant:"):
        await tenants.get(unreadable.value.slug)
    with pytest.raises(Transient, match="the row tenant:"):
        await tenants.get_operation(unreadable.value.operation.id)


async def test_an_unreadable_row_stops_no_list(
    tenants: TableTenantRepository, unreadable: Stored[Tenant], caplog: pytest.LogCaptureFixture
) -> None:
    region = unreadable.value.region
    others = [tenant(region=region) for _ in range(5)]
    await asyncio.gather(*(tenants.save(Stored(value)) for value in others))
    with recorded_telemetry() as told:
        listed = await all_listed(tenants, TenantFilter(region=region), limit=2)
    assert sorted(listed) == sorted(value.slug for value in others)
    assert told.values(metrics.ROWS_SKIPPED, table=TABLE)
    logged = [record for record in caplog.records if unreadable.value.slug in record.message]
    assert {record.levelname for record in logged} == {"ERROR"}
    assert unreadable.value.email not in caplog.text


async def test_an_unreadable_index_row_is_skipped(tenants: TableTenantRepository, storage: TableStorage) -> None:
    one, other = await tenants.save(Stored(tenant())), await tenants.save(Stored(tenant()))
    row, _ = await storage.get(TABLE, shard(one.value.slug), open_key(one.value.operation.id))
    await storage.transact(TABLE, [Upsert({**row, "kind": "unheard-of"})])
    found = {each.slug for each in await tenants.open_operations()}
    assert (other.value.slug in found, one.value.slug in found) == (True, False)


async def test_an_unreadable_row_is_not_written_over(
    tenants: TableTenantRepository, storage: TableStorage, unreadable: Stored[Tenant]
) -> None:
    slug = unreadable.value.slug
    before = await storage.get(TABLE, shard(slug), tenant_key(slug))
    with pytest.raises(Conflict):
        await tenants.save(Stored(new_tenant(slug)))
    assert await storage.get(TABLE, shard(slug), tenant_key(slug)) == before


@pytest.mark.parametrize("column", [{"entry": "{"}, {"schema_version": 99}])
async def test_an_unreadable_audit_entry_is_skipped(
    tenants: TableTenantRepository, storage: TableStorage, column: Row
) -> None:
    stored = await tenants.save(Stored(tenant()))
    slug = stored.value.slug
    for second in range(3):
        value = replace(stored.value, changed_at=START + timedelta(seconds=second))
        stored = await tenants.save(stored.with_value(value), audit=audit_entry(value, "none", reason=str(second)))
    where, bounds = "PartitionKey eq @p and RowKey gt @low and RowKey lt @high", {"p": shard(slug)}
    bounds |= {"low": f"audit:{slug}:", "high": f"audit:{slug};"}
    middle = [row async for row, _ in storage.query(TABLE, where, bounds)][1]
    await storage.transact(TABLE, [Upsert({**middle, **column})])
    with recorded_telemetry() as told:
        first = await tenants.audit(slug, since=START, limit=1, token="")
        rest = await tenants.audit(slug, since=START, limit=9, token=first.next_token)
    assert [entry.reason for entry in first.items + rest.items] == ["2", "0"]
    assert told.values(metrics.ROWS_SKIPPED, table=TABLE)
