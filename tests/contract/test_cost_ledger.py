"""The cost ledger and the log of transitions in the tables. Each test has days of its own, because all share tables."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from secrets import randbelow

import pytest

from shared.adapters.tables.costs import TableCostLedger
from shared.adapters.tables.keys import shard
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.tenants import TableTenantRepository
from shared.adapters.tables.transitions import TableTransitions
from shared.application.ports.stored import Stored
from shared.domain.assets import Nodes, SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_rollups import ClusterDay, FleetDay, PlanDay, Spread
from shared.domain.costs import InstanceDay, OwnCost, day_bounds
from shared.domain.instances import InstanceId
from shared.domain.prices import PriceId
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry
from shared.errors import Conflict
from tests.support.builders import new_slug, new_tenant
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.ledger import use

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
SMALL = Decimal("0.000000000001")


@pytest.fixture
def ledger(storage: TableStorage) -> TableCostLedger:
    return TableCostLedger(storage)


def new_day() -> date:
    """Return a day that no other test has, in a year that none has."""
    return date(3000 + randbelow(6000), 1, 31)


def row(slug: Slug, day: date, *, there: bool = True, instance: str = "one") -> InstanceDay:
    own = OwnCost({Component.COMPUTE: 3 * SMALL}, awake=Decimal(24), unpriced=frozenset({PriceId("disk:x:8GiB")}))
    used = use()
    return InstanceDay(
        slug,
        InstanceId(instance),
        day,
        used if there else None,
        used.plan,
        used.cluster,
        1,
        own,
        {Component.IDLE: Decimal("1234567890.123456789012")},
        Decimal(7),
    )


def sums(day: date, *, nodes: str = "1") -> tuple[FleetDay, list[ClusterDay]]:
    until = day_bounds(day)[1]
    plans = {"trial": PlanDay({Component.VOLUME: SMALL}, awake=1, instances=1)}
    cluster = ClusterDay(
        day=day,
        cluster=ClusterName("one"),
        region="westeurope",
        until=until,
        nodes=Decimal(nodes),
        seen=[Nodes("Standard_D4as_v7", spot=True, count=3)],
        overhead=Decimal(2),
        unshared={Component.IDLE: SMALL},
        plans=plans,
        unpriced=frozenset({PriceId("vm:x:spot")}),
    )
    months = {"trial": Spread(1, SMALL, SMALL, SMALL)}
    return FleetDay(day, until, SMALL, Decimal(0), months, [], 0, "2026-1"), [cluster]


async def test_a_final_day_comes_back_as_written(ledger: TableCostLedger) -> None:
    slug, day = new_slug(), new_day()
    rows = [row(slug, day, instance="one"), row(slug, day, instance="two", there=False)]
    await ledger.write(shard(slug), rows, is_final=True)
    await ledger.write(shard(slug), rows, is_final=True)  # again changes nothing
    assert await ledger.of_tenant(slug, [day - DAY, day, day + DAY]) == rows
    assert [each async for each in ledger.of_day(shard(slug), day)] == rows[:1]  # the other one is gone
    assert [each async for each in ledger.of_day(shard(slug), day + DAY)] == []


async def test_many_rows_of_a_day_come_in_order(ledger: TableCostLedger) -> None:
    first, day = Slug("a"), new_day()
    slugs = [Slug(f"{name}") for name in ("a", "a-b", "a0", "ab", "b")]
    rows = [row(slug, day) for slug in slugs]
    await ledger.write(shard(first), rows[::-1], is_final=True)
    found = [each.slug async for each in ledger.of_day(shard(first), day)]
    assert found == sorted(slugs, key=lambda each: f"{each}:")


async def test_the_present_day_gives_way_to_the_final_one(ledger: TableCostLedger) -> None:
    slug, day = new_slug(), new_day()
    await ledger.write(shard(slug), [row(slug, day)], is_final=False)
    assert await ledger.of_tenant(slug, [day]) == [row(slug, day)]
    assert await ledger.of_tenant(slug, [day + DAY]) == []
    await ledger.write(shard(slug), [row(slug, day, there=False)], is_final=True)
    assert await ledger.of_tenant(slug, [day]) == [row(slug, day, there=False)]


async def test_sums_come_back_by_day(ledger: TableCostLedger) -> None:
    day = new_day()
    for each in (day + DAY, day):  # over the end of a month
        fleet, clusters = sums(each)
        await ledger.write_day(fleet, clusters, is_final=True)
    days = [day, day + DAY]
    assert await ledger.clusters_between(day, day + DAY) == [each for d in days for each in sums(d)[1]]
    assert await ledger.fleet_between(day, day + DAY) == [sums(each)[0] for each in days]
    assert await ledger.clusters_between(day + DAY, day + 40 * DAY) == sums(day + DAY)[1]


async def test_sums_of_the_present_day_give_way_too(ledger: TableCostLedger) -> None:
    day = new_day()
    fleet, clusters = sums(day)
    await ledger.write_day(fleet, clusters, is_final=False)
    assert await ledger.clusters_between(day, day) == clusters
    final, of_final = sums(day, nodes="2")
    await ledger.write_day(final, of_final, is_final=True)
    assert await ledger.clusters_between(day, day) == of_final
    assert await ledger.fleet_between(day, day) == [final]


async def test_of_two_workers_one_makes_a_day_final(ledger: TableCostLedger) -> None:
    before = await ledger.last_final()
    await ledger.save_last_final(before.with_value(date(2026, 3, 1)))
    with pytest.raises(Conflict):
        await ledger.save_last_final(before.with_value(date(2026, 3, 1)))
    assert (await ledger.last_final()).value == date(2026, 3, 1)


async def test_a_lost_response_is_no_other_worker(faulty: FaultyTables, faults: Faults) -> None:
    ledger = TableCostLedger(faulty)
    for day in (date(2026, 3, 2), date(2026, 3, 3)):
        before = await ledger.last_final()
        faults.lose(len(faults.calls) + 1)
        await ledger.save_last_final(before.with_value(day))
        assert (await ledger.last_final()).value == day


async def test_nodes_are_found_by_their_time(ledger: TableCostLedger) -> None:
    cluster, at = ClusterName(new_slug()), datetime(2026, 3, 1, tzinfo=UTC)
    for seconds in (0, 1, 2):
        nodes = [Nodes("Standard_D4as_v7", spot=False, count=seconds)]
        await ledger.see(SeenNodes(cluster, at + seconds * SECOND, nodes))
    found = await ledger.seen(cluster, at + SECOND, at + 2 * SECOND)
    assert [(each.at, each.nodes[0].count) for each in found] == [(at + SECOND, 1)]


async def test_a_change_writes_its_transition(storage: TableStorage) -> None:
    slug, day = new_slug(), new_day()
    start = day_bounds(day)[0]
    tenants, log = TableTenantRepository(storage), TableTransitions(storage)
    provisioned = new_tenant(slug, cluster=ClusterName("one"), changed_at=start)
    stored = await tenants.save(Stored(provisioned))
    assert await of_day(log, slug, day) == []
    active = provisioned.succeed(start + SECOND, quarantine=DAY)
    entry = AuditEntry(slug, start, "portal", "provision", "ready", "provisioning", "active", active.operation.id)
    stored = await tenants.save(stored.with_value(active), audit=entry, ends_operation=True)
    assert (await tenants.get(slug)).value.transition == active.transition
    lost = active.lose_instance(start + DAY, "it is gone")
    await tenants.save(stored.with_value(lost), audit=entry)
    assert await of_day(log, slug, day) == [active.transition]
    assert await of_day(log, slug, day + DAY) == [lost.transition]
    assert (first := await log.first_day()) is not None
    assert first <= day


async def of_day(log: TableTransitions, slug: Slug, day: date) -> Sequence[object]:
    return [each.transition async for each in log.of_day(shard(slug), day) if each.slug == slug]


async def test_old_costs_and_transitions_are_purged(storage: TableStorage, ledger: TableCostLedger) -> None:
    slug, log = new_slug(), TableTransitions(storage)
    old, kept = date(1999, 1, 31), date(1999, 2, 1)
    for day in (old, kept):
        await ledger.write(shard(slug), [row(slug, day)], is_final=True)
        await ledger.write_day(*sums(day), is_final=True)
        tenant = new_tenant(new_slug(), cluster=ClusterName("one"), changed_at=day_bounds(day)[0])
        stored = await TableTenantRepository(storage).save(Stored(tenant))
        ended = stored.with_value(tenant.succeed(day_bounds(day)[0], quarantine=DAY))
        await TableTenantRepository(storage).save(ended, ends_operation=True)
    purged = [each async for each in TableOldRecords(storage).purge_costs(before=day_bounds(kept)[0])]
    assert sum(purged) >= 4
    assert [each.day for each in await ledger.of_tenant(slug, [old, kept])] == [kept]
    assert [each.day for each in await ledger.fleet_between(old, kept)] == [kept]
    assert await log.first_day() == kept
