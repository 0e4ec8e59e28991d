"""The index of due dates: which tenants are in it, in which order they come, and what moves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.tables.due import TableDueIndex
from shared.adapters.tables.keys import shard
from shared.adapters.tables.rows import SCHEMA_VERSION
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.adapters.tables.tenants import TableTenantRepository
from shared.application.ports.due import DueTenant
from shared.application.ports.stored import Stored
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import new_operation
from shared.domain.slugs import Slug
from shared.domain.sweeps import Position
from shared.domain.tenants import Tenant
from tests.support.builders import new_slug, new_tenant

ACTIVE_AT = datetime(2024, 2, 28, 12, 30, 15, 123456, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def index(storage: TableStorage) -> TableDueIndex:
    return TableDueIndex(storage)


async def activate(tenants: TableTenantRepository, slug: str = "", at: datetime = ACTIVE_AT) -> Stored[Tenant]:
    """Return a tenant that became active at a moment."""
    stored = Stored(new_tenant(slug or new_slug()).succeed(at, quarantine=DAY))
    return await save_change(tenants, stored, before="provisioning", reason="ready")


async def due(index: TableDueIndex, *slugs: Slug, until: datetime = ACTIVE_AT, limit: int = 1000) -> list[DueTenant]:
    """Return what is due at a moment of some tenants."""
    found: list[DueTenant] = []
    position: Position | None = Position()
    while position is not None:
        page = await index.page(position, until=until, limit=limit)
        assert len({shard(each.slug) for each in page.items}) <= 1
        assert len(page.items) <= limit
        found += [each for each in page.items if each.slug in slugs]
        position = page.next
    return found


async def test_an_active_tenant_is_due_at_once(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    tenant = (await activate(tenants)).value
    assert await due(index, tenant.slug, until=ACTIVE_AT - MINUTE) == []
    (found,) = await due(index, tenant.slug)
    assert (found.since, found.position.after) == (ACTIVE_AT, f"due:202402281230:{tenant.slug}")


async def test_only_a_change_to_active_makes_a_row(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    stored = await activate(tenants)
    stored = await tenants.save(stored)  # an observation
    now = ACTIVE_AT + DAY
    operation = new_operation(OperationKind.DELETE, stored.value.slug, actor="portal", now=now)
    deleting = stored.with_value(stored.value.begin(operation, now))
    await save_change(tenants, deleting, before="active", reason="requested", begins_operation=True)
    (found,) = await due(index, stored.value.slug, until=now + DAY)
    assert found.since == ACTIVE_AT


async def test_a_later_change_makes_a_row_of_its_own(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    stored = await activate(tenants)
    changed = replace(stored.value, changed_at=ACTIVE_AT + DAY)
    await save_change(tenants, stored.with_value(changed), before="active", reason="another policy")
    found = await due(index, stored.value.slug, until=ACTIVE_AT + DAY)
    assert [each.since for each in found] == [ACTIVE_AT, ACTIVE_AT + DAY]


async def test_each_is_given_once_whatever_the_page(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    slugs = [(await activate(tenants)).value.slug for _ in range(12)]
    for limit in (1, 3, 1000):
        assert sorted(each.slug for each in await due(index, *slugs, limit=limit)) == sorted(slugs)


async def test_a_row_that_cannot_be_read_is_skipped(
    storage: TableStorage, tenants: TableTenantRepository, index: TableDueIndex
) -> None:
    slug = (await activate(tenants)).value.slug
    row = {"PartitionKey": shard(slug), "RowKey": f"due:202402281230:{slug}0", "slug": slug, "schema_version": 99}
    await storage.transact("tenants", [Upsert(row)])
    for limit in (1, 1000):
        assert len(await due(index, slug, limit=limit)) == 1
    await storage.transact("tenants", [Upsert({**row, "schema_version": SCHEMA_VERSION, "since": "soon"})])
    assert len(await due(index, slug)) == 1


async def test_a_row_moves_or_goes(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    slug = (await activate(tenants)).value.slug
    (found,) = await due(index, slug)
    await index.move([(found, ACTIVE_AT + 7 * DAY)])
    assert await due(index, slug, until=ACTIVE_AT + 7 * DAY - MINUTE) == []
    (moved,) = await due(index, slug, until=ACTIVE_AT + 7 * DAY)
    assert (moved.slug, moved.since) == (slug, ACTIVE_AT)
    await index.move([(moved, ACTIVE_AT + 7 * DAY)])  # to the same minute
    (again,) = await due(index, slug, until=ACTIVE_AT + 7 * DAY)
    await index.move([(again, None)])
    assert await due(index, slug, until=ACTIVE_AT + 900 * DAY) == []
    await index.move([])


async def test_what_changed_meanwhile_stays(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    slugs: list[Slug] = []
    while len(slugs) < 3:  # of one shard
        slug = new_slug()
        if shard(slug) == "7":
            await activate(tenants, slug)
            slugs.append(slug)
    read = await due(index, *slugs)
    changed, moved, other = read
    stored = await tenants.get(changed.slug)
    later = replace(stored.value, changed_at=ACTIVE_AT + timedelta(seconds=1))  # the same minute, the same key
    await save_change(tenants, stored.with_value(later), before="active", reason="another policy")
    await index.move([(moved, ACTIVE_AT + DAY)])
    await index.move([(each, ACTIVE_AT + 2 * DAY) for each in (changed, moved, other)])
    found = {each.slug: each.position.after[4:12] for each in await due(index, *slugs, until=ACTIVE_AT + 9 * DAY)}
    assert found == {changed.slug: "20240228", moved.slug: "20240229", other.slug: "20240301"}


async def test_a_row_changed_within_its_minute_stays(tenants: TableTenantRepository, index: TableDueIndex) -> None:
    stored = await activate(tenants)
    (read,) = await due(index, stored.value.slug)
    later = replace(stored.value, changed_at=ACTIVE_AT + timedelta(seconds=1))
    await save_change(tenants, stored.with_value(later), before="active", reason="another policy")
    await index.move([(read, ACTIVE_AT)])
    (found,) = await due(index, stored.value.slug)
    assert found.since == later.changed_at
