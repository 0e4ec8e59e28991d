"""What is recorded of tenants' activity, and of the times in which sources have watched."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.tables import keys
from shared.adapters.tables.activity import SOURCES, TableActivityRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.adapters.tables.tenants import TABLE, TableTenantRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantFilter
from shared.domain.activity import TenantActivity, Watch
from shared.domain.dormancy import Window
from shared.domain.instances import new_instance_id
from shared.domain.slugs import Slug
from shared.errors import Conflict, NotFound, Transient
from tests.support.builders import new_slug, new_tenant
from tests.support.clock import START

HOUR = timedelta(hours=1)


@pytest.fixture
def activity(storage: TableStorage) -> TableActivityRepository:
    return TableActivityRepository(storage)


def seen(slug: Slug | None = None) -> TenantActivity:
    return TenantActivity(slug or new_slug(), new_instance_id(), {"heartbeat": START, "gateway": START - HOUR})


async def test_an_activity_comes_back_as_it_was_saved(activity: TableActivityRepository) -> None:
    value = seen()
    assert await activity.find(value.slug) is None
    await activity.save(Stored(value))
    found = await activity.find(value.slug)
    assert found is not None
    assert found.value == value
    later = value.reported("gateway", START + HOUR)
    await activity.save(found.with_value(later))
    found = await activity.find(value.slug)
    assert found is not None
    assert found.value == later


async def test_of_two_writes_one_conflicts(activity: TableActivityRepository) -> None:
    value = seen()
    await activity.save(Stored(value))
    found = await activity.find(value.slug)
    assert found is not None
    with pytest.raises(Conflict):
        await activity.save(Stored(value))
    await activity.save(found)
    with pytest.raises(Conflict):
        await activity.save(found)


async def test_an_activity_that_was_purged_conflicts(activity: TableActivityRepository, storage: TableStorage) -> None:
    value = replace(seen(), by_source={"heartbeat": START - 20_000 * HOUR})
    await activity.save(Stored(value))
    found = await activity.find(value.slug)
    assert found is not None
    purged = [count async for count in TableOldRecords(storage).purge_activity(before=START - 10_000 * HOUR)]
    assert sum(purged) >= 1
    assert await activity.find(value.slug) is None
    with pytest.raises(Conflict):
        await activity.save(found)


async def test_a_newer_activity_is_not_purged(activity: TableActivityRepository, storage: TableStorage) -> None:
    value = seen()
    await activity.save(Stored(value))
    [_ async for _ in TableOldRecords(storage).purge_activity(before=START)]
    assert await activity.find(value.slug) is not None


async def test_an_activity_is_no_tenant(activity: TableActivityRepository, tenants: TableTenantRepository) -> None:
    tenant = (await tenants.save(Stored(new_tenant(new_slug(), region=f"r-{new_slug()}")))).value
    await activity.save(Stored(seen(tenant.slug)))
    assert (await tenants.get(tenant.slug)).value == tenant
    assert tenant.slug in {each.slug for each in await tenants.open_operations()}
    for wanted in (TenantFilter(), TenantFilter(region=tenant.region)):
        page = await tenants.list(wanted, limit=10_000, token="")
        assert [each for each in page.items if each.slug == tenant.slug] == [tenant]


async def test_one_query_reads_a_tenant_and_its_activity(
    activity: TableActivityRepository, tenants: TableTenantRepository
) -> None:
    slug = new_slug()
    after = [Slug(f"{slug}{end}{number}") for end in ("-", "0", "a", "z") for number in range(30)]
    neighbours = [slug, *(each for each in after if keys.shard(each) == keys.shard(slug))]
    for each in neighbours:
        await tenants.save(Stored(new_tenant(each)))
    with_none = await activity.find_with_tenant(slug)
    assert (with_none[0].slug, with_none[1]) == (slug, None)
    for each in neighbours:
        await activity.save(Stored(seen(each)))
    tenant, found = await activity.find_with_tenant(slug)
    assert tenant == (await tenants.get(slug)).value
    held = await activity.find(slug)
    assert held is not None
    assert found == held.value


async def test_an_activity_without_its_tenant_is_not_found(activity: TableActivityRepository) -> None:
    value = seen()
    await activity.save(Stored(value))
    with pytest.raises(NotFound, match=f"there is no tenant {value.slug}"):
        await activity.find_with_tenant(value.slug)


async def test_a_purge_of_activity_leaves_the_tenants(
    activity: TableActivityRepository, tenants: TableTenantRepository, storage: TableStorage
) -> None:
    tenant = (await tenants.save(Stored(new_tenant(new_slug())))).value
    await activity.save(Stored(replace(seen(tenant.slug), by_source={"heartbeat": START - 20_000 * HOUR})))
    [_ async for _ in TableOldRecords(storage).purge_activity(before=START - 10_000 * HOUR)]
    assert await activity.find_with_tenant(tenant.slug) == (tenant, None)


async def test_a_watch_comes_back_as_it_was_saved(activity: TableActivityRepository) -> None:
    source = new_slug()
    watches = [Watch(source, cluster, Window(START, START + HOUR)) for cluster in ("", "one")]
    assert await activity.find_watch(source, "one") is None
    for each in watches:
        await activity.save_watch(Stored(each))
    found = await activity.find_watch(source, "one")
    assert found is not None
    assert found.value == watches[1]
    assert [each for each in await activity.watches() if each.source == source] == watches
    await activity.save_watch(found)
    with pytest.raises(Conflict):
        await activity.save_watch(found)


async def test_an_unreadable_row_is_not_taken_for_none(
    activity: TableActivityRepository, tenants: TableTenantRepository, storage: TableStorage
) -> None:
    value, source = seen(), new_slug()
    await activity.save(Stored(value))
    await activity.save_watch(Stored(Watch(source, "", Window(START, START))))
    for table, partition, key in (
        (TABLE, keys.shard(value.slug), keys.activity_key(value.slug)),
        (SOURCES, "source", keys.watch_key(source, "")),
    ):
        row, _ = await storage.get(table, partition, key)
        await storage.transact(table, [Upsert({**row, "schema_version": 99})])
    with pytest.raises(Transient, match="another version"):
        await activity.find(value.slug)
    await tenants.save(Stored(new_tenant(value.slug)))
    with pytest.raises(Transient, match="another version"):
        await activity.find_with_tenant(value.slug)
    with pytest.raises(Transient, match="another version"):
        await activity.find_watch(source, "")
    assert source not in {each.source for each in await activity.watches()}
