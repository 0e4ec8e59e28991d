"""Deleting old rows: just those, in transactions of one partition, also while somebody else deletes them.

Each test has years of its own, before those of any other test.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.tables import latency
from shared.adapters.tables.idempotency import PERIOD_LIFETIMES, TableIdempotencyRepository
from shared.adapters.tables.keys import shard
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.latency_rollups import TableLatencyRollupRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.adapters.tables.tenants import TableTenantRepository
from shared.application.ports.stored import Stored
from shared.domain.idempotency import Claim
from shared.domain.latency import LatencyKind, sample_of
from shared.domain.latency_rollup import roll_up
from shared.domain.operations import OperationId, OperationState
from shared.domain.tenants import AuditEntry, Tenant
from shared.errors import NotFound
from tests.support.builders import new_slug, new_tenant
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PARTITION, END = "provision-19810101", datetime(1982, 1, 1, tzinfo=UTC)


@pytest.fixture
def old(storage: TableStorage) -> TableOldRecords:
    return TableOldRecords(storage)


async def total(deletions: AsyncIterator[int]) -> int:
    return sum([count async for count in deletions])


def ended(at: datetime) -> Tenant:
    """Return a tenant whose signup failed at a moment."""
    tenant = new_tenant(new_slug(), created_at=at, changed_at=at)
    operation = replace(tenant.operation, id=OperationId(f"{tenant.slug}.{'0' * 20}"), created_at=at)
    return replace(tenant, operation=operation).fail(at)


def audit_entry(tenant: Tenant, at: datetime) -> AuditEntry:
    return AuditEntry(tenant.slug, at, "portal", "provision", "requested", "none", tenant.state, tenant.operation.id)


async def test_keys_go_when_their_partition_is_over(storage: TableStorage, old: TableOldRecords) -> None:
    keys, now = TableIdempotencyRepository(storage, lifetime=HOUR), datetime(1980, 3, 1, tzinfo=UTC)
    claims = [Claim(new_slug(), "print", OperationId("acme.1")) for _ in range(8)]
    for number, each in enumerate(claims):
        await keys.claim(each, now=now + number * HOUR)
    deleted = 0
    for number, each in enumerate(claims):  # each is known for as long as it lives, whatever is purged
        last = now + number * HOUR + HOUR - timedelta(seconds=1)
        deleted += await total(old.purge_idempotency_keys(now=last))
        assert await keys.claim(replace(each, fingerprint="other"), now=last) == each
    assert deleted > 0
    last = now + (len(claims) + PERIOD_LIFETIMES + 1) * HOUR
    await total(old.purge_idempotency_keys(now=last))
    rows = storage.query("idempotency", "PartitionKey lt @end", {"end": f"{last:%Y%m%d}"})
    assert [row async for row, _ in rows] == []


async def test_latency_rows_go_by_their_day(storage: TableStorage, old: TableOldRecords) -> None:
    cutoff = datetime(1985, 3, 1, 3, tzinfo=UTC)
    tenants = [ended(cutoff + number * DAY) for number in (-400, -31, -1, 0, 1)]
    for each in tenants:
        await TableLatencyRepository(storage).record(sample_of(each), now=each.changed_at)
    assert await total(old.purge_latency(before=cutoff)) == 3
    assert await total(old.purge_latency(before=cutoff)) == 0
    for each in tenants[3:]:
        partition = latency.partition(LatencyKind.PROVISION, each.changed_at.date())
        await storage.get(latency.TABLE, partition, each.operation.id)


async def test_latency_rollups_go_by_their_day(storage: TableStorage, old: TableOldRecords) -> None:
    cutoff = datetime(1985, 3, 1, 3, tzinfo=UTC)
    rollups = TableLatencyRollupRepository(storage)
    for days in (-400, -1, 0, 1):
        sample = sample_of(ended(cutoff + days * DAY))
        before = await rollups.of_day(sample.kind, sample.day)
        await rollups.replace(before, roll_up(sample.kind, sample.day, [sample]))
    assert await total(old.purge_latency_rollups(before=cutoff)) == 2
    assert await total(old.purge_latency_rollups(before=cutoff)) == 0
    left = rollups.between(LatencyKind.PROVISION, datetime(1980, 1, 1, tzinfo=UTC).date(), (cutoff + DAY).date())
    assert [each.day async for each in left] == [cutoff.date(), (cutoff + DAY).date()]


async def test_operations_and_audit_entries_go_by_age(
    storage: TableStorage, tenants: TableTenantRepository, old: TableOldRecords
) -> None:
    cutoff = datetime(1985, 3, 1, 3, tzinfo=UTC)
    values = [ended(cutoff + number * DAY) for number in (-400, -1, 0, 1)]
    for each in values:
        running = replace(each.operation, state=OperationState.RUNNING, finished_at=None)
        stored = await tenants.save(Stored(replace(each, operation=running)))
        await tenants.save(stored.with_value(each), audit=audit_entry(each, each.changed_at), ends_operation=True)
    assert await total(old.purge_operations(before=cutoff)) == 2
    assert await total(old.purge_audit(before=cutoff)) == 2
    found = [len((await tenants.audit(each.slug, since=each.created_at, limit=9, token="")).items) for each in values]
    assert found == [0, 0, 1, 1]
    for each in values:
        assert (await tenants.get(each.slug)).value == each
        key = (shard(each.slug), f"operation:{each.operation.id}")
        if each.changed_at < cutoff:
            with pytest.raises(NotFound):
                await storage.get("tenants", *key)
        else:
            await storage.get("tenants", *key)


async def test_many_rows_go_in_few_requests(
    storage: TableStorage, faulty: FaultyTables, faults: Faults, old: TableOldRecords
) -> None:
    await fill(storage, 250)
    faults.reset()
    assert await total(TableOldRecords(faulty).purge_latency(before=END)) == 250
    assert faults.calls.count("transact latency") == 3
    assert await total(old.purge_latency(before=END)) == 0


async def test_two_may_delete_at_the_same_time(storage: TableStorage) -> None:
    await fill(storage, 250)
    counts = await asyncio.gather(*(total(TableOldRecords(storage).purge_latency(before=END)) for _ in range(2)))
    assert sum(counts) == 250
    assert await total(TableOldRecords(storage).purge_latency(before=END)) == 0


async def test_a_lost_response_is_no_failure(storage: TableStorage, faulty: FaultyTables, faults: Faults) -> None:
    await fill(storage, 250)
    faults.lose(2)
    assert await total(TableOldRecords(faulty).purge_latency(before=END)) in (150, 200, 250)
    assert await total(TableOldRecords(storage).purge_latency(before=END)) == 0


async def fill(storage: TableStorage, count: int) -> None:
    names = [f"{number:04}" for number in range(count)]
    for start in range(0, count, 100):
        rows = [{"PartitionKey": PARTITION, "RowKey": name} for name in names[start : start + 100]]
        await storage.transact(latency.TABLE, [Upsert(row) for row in rows])
