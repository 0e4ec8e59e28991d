"""Metering: that the rows and the sums are right."""

import logging
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from shared.adapters.tables.costs import NODES, TODAY
from shared.domain.assets import Nodes, Sharing
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.slugs import Slug
from shared.errors import Transient
from tests.support.builders import new_cluster
from tests.support.ledger import (
    FIRST,
    FIRST_DAY,
    NODE_COMPONENTS,
    ONE,
    Ledger,
    days,
    new_ledger,
    of_cluster,
    of_tenant,
    rows_of,
    use,
)
from tests.support.repositories import clusters_on, register

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZERO = Decimal(0)
SLUGS = ("acme", "acme-2", "acme17", "beta", "delta")


async def remove(held: Ledger) -> None:
    """Remove the cluster from berth."""
    clusters = clusters_on(held.storage, held.clock)
    await clusters.remove(await clusters.get(ONE))
    held.clock.advance(6)  # for which workers may not know it


async def test_awake_for_half_a_day_then_asleep() -> None:
    held = await new_ledger()
    held.has_nodes(1)
    await held.log.change("acme", FIRST + 6 * HOUR, use())
    await held.log.change("acme", FIRST + 18 * HOUR, use(awake=False))
    await held.meter_at(FIRST + 3 * DAY + 2 * HOUR)
    first, second, third = await of_tenant(held, "acme")
    assert (first.own.awake, first.own.asleep) == (12, 6)
    assert second.own.costs == {Component.VOLUME: second.own.while_asleep}
    assert second.own.total == third.own.total


async def test_what_is_asleep_is_not_written_until_midnight() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use(awake=False))
    await held.log.change("beta", FIRST, use())
    await held.meter_at(FIRST + DAY + 2 * HOUR)
    assert {row["RowKey"] for row in rows_of(held.storage, TODAY)[TODAY].values()} == {"beta:i-beta"}
    [cluster] = (await of_cluster(held))[1:]
    assert (cluster.plans["trial"].awake, cluster.plans["trial"].asleep) == (1, 1)  # the sums have both


async def test_what_never_ran_costs_nothing() -> None:
    held = await new_ledger()
    await held.log.change("beta", FIRST, use())
    await held.meter_at(FIRST + 2 * DAY)
    assert await of_tenant(held, "acme") == []


async def test_what_was_deleted_costs_until_then() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.log.change("acme", FIRST + 30 * HOUR, None)
    await held.meter_at(FIRST + 4 * DAY)
    first, second = await of_tenant(held, "acme")
    assert (first.own.awake, second.own.awake, second.use) == (24, 6, None)


async def test_what_is_still_to_come_does_not_count() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.log.change("acme", FIRST + 3 * HOUR, use(awake=False))  # by a worker whose clock is ahead
    await held.meter_at(FIRST + 2 * HOUR)
    [cluster] = await of_cluster(held)
    assert (cluster.plans["trial"].awake, cluster.plans["trial"].awake_hours) == (1, Decimal("1.966666666667"))


async def test_a_month_begins_at_zero() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 4 * DAY + 2 * HOUR)
    found = await of_tenant(held, "acme")
    assert found[0].day.month != found[2].day.month
    assert found[1].month == found[0].total + found[1].total
    assert found[2].month == found[2].total
    assert found[3].month == found[2].total + found[3].total


async def test_nodes_workload_idle_and_overhead_add_up() -> None:
    held = await new_ledger()
    held.has_nodes(3)
    await held.meter_at(FIRST + HOUR)  # which sees the nodes
    for number, slug in enumerate(SLUGS):
        await held.log.change(slug, FIRST + number * HOUR, use(plan=("trial", "standard")[number % 2]))
    await held.meter_at(FIRST + 2 * DAY)
    for cluster in await of_cluster(held):
        plans = cluster.plans.values()
        of_nodes = sum((each.costs.get(name, ZERO) for each in plans for name in NODE_COMPONENTS), ZERO)
        assert of_nodes + cluster.unshared.get(Component.IDLE, ZERO) == cluster.nodes
    [fleet, *_] = await held.ledger.fleet_between(FIRST_DAY, FIRST_DAY)
    [cluster, *_] = await of_cluster(held)
    overhead = sum((each.costs[Component.OVERHEAD] for each in cluster.plans.values()), ZERO)
    assert overhead == cluster.overhead + fleet.overhead
    found = [row for slug in SLUGS for row in await of_tenant(held, slug, 1)]
    assert sum((each.total for each in found), ZERO) == sum((each.total for each in cluster.plans.values()), ZERO)


async def test_nobody_bears_what_is_not_shared() -> None:
    held = await new_ledger(share_idle=Sharing.NONE, share_overhead=Sharing.NONE)
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + HOUR)
    await held.meter_at(FIRST + 2 * DAY)
    [row, *_] = await of_tenant(held, "acme")
    [cluster, *_] = await of_cluster(held)
    [fleet, *_] = await held.ledger.fleet_between(FIRST_DAY, FIRST_DAY)
    assert row.shares == {}
    assert cluster.unshared[Component.IDLE] == cluster.nodes - row.own.of_nodes
    assert (cluster.unshared[Component.OVERHEAD], fleet.unshared) == (cluster.overhead, fleet.overhead)


async def test_an_empty_cluster_costs_all_the_same() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.log.change("acme", FIRST + HOUR, None)
    await held.meter_at(FIRST + 2 * HOUR)
    await held.meter_at(FIRST + 3 * DAY)
    second = (await of_cluster(held))[1]
    assert second.plans == {}
    assert second.nodes == second.unshared[Component.IDLE] > 0


async def test_a_cluster_costs_from_its_registration_on() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use(cluster=ClusterName("old")))
    await held.meter_at(FIRST + 36 * HOUR)  # which sees the registered one for the first time
    await held.meter_at(FIRST + 3 * DAY + 2 * HOUR)
    found = [each for each in await of_cluster(held) if each.cluster == ONE]
    found = found[:2]
    assert [each.day for each in found] == [FIRST_DAY + DAY, FIRST_DAY + 2 * DAY]
    assert [each.nodes for each in found] == [Decimal("0.220") * 2 * 12, Decimal("0.220") * 2 * 24]
    assert found[0].overhead * 2 == found[1].overhead


async def test_a_removed_cluster_costs_until_its_last_day() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + HOUR)
    await held.log.change("acme", FIRST + 20 * HOUR, None)
    await held.meter_at(FIRST + 26 * HOUR)
    await remove(held)  # on the second day
    await held.meter_at(FIRST + 3 * DAY + 2 * HOUR)
    expected = [(FIRST_DAY, Decimal("0.220") * 2 * 23), (FIRST_DAY + DAY, Decimal("0.220") * 2 * 24)]
    assert [(each.day, each.nodes) for each in await of_cluster(held)] == expected
    # What comes late lets all days since be computed again.
    await held.log.change("late", FIRST + 20 * HOUR, use(cluster=ClusterName("two")))
    await held.meter_at(FIRST + 4 * DAY + 2 * HOUR)
    found = await of_cluster(held)
    assert [(each.day, each.nodes) for each in found if each.cluster == ONE] == expected
    assert [each.day for each in found if each.cluster == "two"] == days(FIRST_DAY, 5)


async def test_a_cluster_that_comes_back_costs_from_then_on() -> None:
    held = await new_ledger()
    held.has_nodes(4)
    await held.log.change("other", FIRST, use(cluster=ClusterName("two")))
    await held.meter_at(FIRST + HOUR)
    await held.meter_at(FIRST + 26 * HOUR)
    await remove(held)
    await held.meter_at(FIRST + 5 * DAY + 2 * HOUR)
    held.has_nodes(1)
    again = new_cluster(region="westeurope", uid=held.cluster.identity)
    await register(clusters_on(held.storage, held.clock), again)
    held.clock.advance(6)
    await held.meter_at(FIRST + 5 * DAY + 20 * HOUR)
    await held.meter_at(FIRST + 6 * DAY + 2 * HOUR)
    found = {each.day: each.nodes for each in await of_cluster(held) if each.cluster == ONE}
    assert found[FIRST_DAY + 5 * DAY] == Decimal("0.220") * 4


async def test_a_cluster_of_one_day_costs_that_day() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST - DAY, use(cluster=ClusterName("old")))
    await held.log.change("acme", FIRST - HOUR, None)
    held.has_nodes(2)
    for hour in (6, 7):
        await held.meter_at(FIRST + hour * HOUR)
    await remove(held)
    await held.meter_at(FIRST + 2 * DAY + 2 * HOUR)
    found = [each for each in await of_cluster(held) if each.cluster == ONE]
    assert [(each.day, each.nodes) for each in found] == [(FIRST_DAY, Decimal("0.220") * 2 * 18)]


async def test_machines_that_are_not_known_are_named() -> None:
    held = await new_ledger()
    held.cluster.machines = [Nodes("Standard_D4as_v7", spot=False, count=1), Nodes("Standard_M1", spot=False, count=9)]
    await held.meter_at(FIRST)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 2 * DAY)
    [cluster, *_] = await of_cluster(held)
    assert cluster.unpriced == {"vm:Standard_M1:linux"}


async def test_a_month_goes_on_over_a_loss_and_a_retry() -> None:
    held = await new_ledger(goal=1)
    begin = FIRST + 2 * DAY  # the first of April
    await held.log.change("acme", begin, use())
    await held.log.change("acme", begin + 30 * HOUR, None)
    await held.log.change("acme", begin + 80 * HOUR, use())  # it was found again
    await held.log.change("beta", begin, use())
    await held.log.change("beta", begin + 30 * HOUR, None)
    await held.log.change("beta", begin + 80 * HOUR, use(), instance="second")
    await held.meter_at(begin + 6 * DAY)
    fleet = (await held.ledger.fleet_between(begin.date(), begin.date() + 4 * DAY))[-1]
    for slug in ("acme", "beta"):
        rows = await held.ledger.of_tenant(Slug(slug), days(begin.date(), 5))
        assert sum((each.total for each in rows), ZERO) == sum(
            (each.month for each in rows if each.day == rows[-1].day), ZERO
        )
    assert [each.slug for each in fleet.over_goal] == ["beta", "acme"]
    assert fleet.months["trial"].customers == 2


async def test_an_instance_without_any_price_stops_nobody() -> None:
    held = await new_ledger(share_overhead=Sharing.NONE, goal=0.1)
    await held.log.change("acme", FIRST, use())
    asleep = use(awake=False)
    strange = replace(asleep, size=replace(asleep.size, storage_class="mine"))
    await held.log.change("acme", FIRST + DAY, strange)
    await held.meter_at(FIRST + 4 * DAY)
    fleet = (await held.ledger.fleet_between(FIRST_DAY, FIRST_DAY + DAY))[-1]
    assert [(each.slug, each.most) for each in fleet.over_goal] == [("acme", None)]
    assert fleet.unpriced == {"disk:storage-class-mine:8GiB"}


async def test_a_budget_that_is_passed_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    held = await new_ledger()
    held.has_nodes(1)
    await held.log.change("acme", FIRST, use())
    with caplog.at_level(logging.WARNING):
        for hour in range(0, 3 * 24, 5):
            await held.meter_at(FIRST + hour * HOUR)
    passed = [each.getMessage() for each in caplog.records if each.getMessage().startswith("budget passed")]
    assert len(passed) == 1
    assert passed[0].startswith("budget passed tenant=acme plan=trial budget=10")


async def test_a_cluster_that_is_away_keeps_its_nodes() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST)
    held.cluster.away = Transient("it does not respond")
    await held.meter_at(FIRST + 3 * DAY + 2 * HOUR)
    found = await of_cluster(held, 3)
    assert {each.nodes for each in found} == {Decimal("0.220") * 2 * 24}


async def test_nodes_are_recorded_when_they_change() -> None:
    held = await new_ledger()
    for hour, count in ((1, 1), (2, 1), (3, 2), (4, 2)):
        held.has_nodes(count)
        await held.meter_at(FIRST + hour * HOUR)
    assert len(rows_of(held.storage, NODES)[NODES]) == 2
