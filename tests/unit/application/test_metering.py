"""Metering: the same rows, however often, however late, and by however many workers; and that they are right."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.tables import keys
from shared.adapters.tables.costs import DAILY, NODES, TABLE, TODAY
from shared.adapters.tables.tenants import TABLE as TENANTS
from shared.domain.assets import Nodes, Sharing
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_rollups import ClusterDay
from shared.domain.costs import InstanceDay
from shared.domain.slugs import Slug
from shared.domain.uses import Use
from shared.errors import Transient
from tests.support.ledger import FIRST, ONE, Ledger, days, new_ledger, rows_of, use

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST_DAY = FIRST.date()
ZERO = Decimal(0)
SLUGS = ("acme", "acme-2", "acme17", "beta", "delta")  # the first three in one shard, whose row keys sort otherwise
LEDGER = (TABLE, DAILY)


async def of_tenant(held: Ledger, slug: str, count: int = 10) -> Sequence[InstanceDay]:
    return await held.ledger.of_tenant(Slug(slug), days(FIRST_DAY, count))


async def of_cluster(held: Ledger, count: int = 10) -> Sequence[ClusterDay]:
    return await held.ledger.clusters_between(FIRST_DAY, FIRST_DAY + timedelta(days=count - 1))


def final_rows(held: Ledger) -> object:
    """Return the rows of all final days."""
    found = rows_of(held.storage, *LEDGER)
    return {
        table: {key: row for key, row in of_table.items() if key[0] not in ("today", "ledger")}
        for table, of_table in found.items()
    }


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


NODE_COMPONENTS = (Component.COMPUTE, Component.ATTACH, Component.IDLE)


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


async def test_a_lost_month_is_caught_up() -> None:
    often, once = await new_ledger(), await new_ledger()
    for held in (often, once):
        await play(held, HISTORY)
    for hour in range(0, 40 * 24, 7):
        await often.meter_at(FIRST + hour * HOUR)
    await often.meter_at(FIRST + 40 * DAY)
    await once.meter_at(FIRST + 40 * DAY)
    assert final_rows(often) == final_rows(once)


HISTORY = [
    (0, "acme", use()),
    (3, "beta", use(plan="standard")),
    (30, "acme", use(awake=False)),
    (31, "gamma", use()),
    (50, "beta", None),
    (77, "acme", use(version="2.0.0")),
    (96, "gamma", use(awake=False)),
    (600, "gamma", use()),
]


async def play(held: Ledger, history: Sequence[tuple[float, str, Use | None]]) -> None:
    for hour, slug, after in history:
        await held.log.change(slug, FIRST + hour * HOUR, after)


async def test_a_run_that_has_no_time_left_goes_on_later() -> None:
    held, once = await new_ledger(), await new_ledger()
    for each in (held, once):
        await play(each, HISTORY)

    async def slow() -> None:
        held.clock.advance(2)  # for each call: so a run ends after a few days

    held.faults.turn = slow
    for _ in range(40):
        with contextlib.suppress(Transient):  # which ends a day that was begun too late; it is begun again
            await held.meter_at(FIRST + 20 * DAY)
    await once.meter_at(FIRST + 20 * DAY)
    assert final_rows(held) == final_rows(once)


@pytest.mark.parametrize("after", [use(awake=False), None], ids=["asleep", "deleted"])
@pytest.mark.parametrize("hours", [26, 75, 400])
async def test_a_late_transition_is_counted_later(after: Use | None, hours: int) -> None:
    held, prompt = await new_ledger(), await new_ledger()
    for each in (held, prompt):
        await each.log.change("acme", FIRST, use())
        await each.log.change("beta", FIRST, use())
        await each.log.change("beta", FIRST + 40 * HOUR, use(awake=False))
    for hour in range(0, hours, 13):
        await held.meter_at(FIRST + hour * HOUR)
    late = FIRST + 23 * HOUR
    for each in (held, prompt):
        await each.log.change("acme", late, after)
        await each.meter_at(FIRST + hours * HOUR + 2 * DAY)
    assert final_rows(held) == final_rows(prompt)
    [first, *_] = await of_tenant(held, "acme")
    assert first.own.awake == 23


async def test_an_instance_that_was_replaced_ends_late_too() -> None:
    held, prompt = await new_ledger(), await new_ledger()
    for each in (held, prompt):
        await each.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 3 * DAY)
    for each in (held, prompt):
        await each.log.change("acme", FIRST + 30 * HOUR, None)
        await each.log.change("acme", FIRST + 80 * HOUR, use(), instance="second")
        await each.meter_at(FIRST + 5 * DAY)
        await each.meter_at(FIRST + 6 * DAY)
    assert final_rows(held) == final_rows(prompt)
    assert [each.own.awake for each in await of_tenant(held, "acme", 4)] == [24, 6, 16]


async def test_a_transition_that_is_missing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    gone = await held.log.change("acme", FIRST + 30 * HOUR, use(awake=False))
    assert gone is not None
    await held.log.change("acme", FIRST + 60 * HOUR, use(plan="standard"))
    rows = held.storage.rows[TENANTS]
    for key in [key for key in rows if key[1].endswith(":00000002")]:
        del rows[key]
    with caplog.at_level(logging.ERROR):
        await held.meter_at(FIRST + 4 * DAY)
    assert [each.getMessage() for each in caplog.records] == ["ledger gap tenant=acme day=2026-04-01"]
    third = (await of_tenant(held, "acme"))[2]
    assert (third.own.asleep, third.own.awake) == (12, 12)  # by what the next one says was before it


@pytest.mark.parametrize("table", [TENANTS, TABLE, DAILY])
async def test_a_row_of_another_version_holds_metering_up(table: str) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.log.change("beta", FIRST, use())
    await held.meter_at(FIRST + DAY + 2 * HOUR)
    before = final_rows(held)
    kept = dict(held.storage.rows[table])
    for key, (row, etag) in kept.items():
        held.storage.rows[table][key] = ({**row, "schema_version": 99}, etag)
    with pytest.raises(Transient, match="another version of berth"):
        await held.meter_at(FIRST + 3 * DAY)
    held.storage.rows[table] = kept
    assert final_rows(held) == before
    await held.meter_at(FIRST + 3 * DAY)
    assert (await held.ledger.last_final()).value == FIRST_DAY + DAY


async def test_a_late_worker_writes_over_no_final_day() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:3])
    late = held.another_worker()
    stall = late.faults.stall_next(f"transact {TODAY}")
    task = asyncio.create_task(late.meter_at(FIRST + 20 * HOUR))
    await stall.reached_or_done(task)
    await held.meter_at(FIRST + 3 * DAY)
    before = final_rows(held)
    found = await of_tenant(held, "acme", 1)
    stall.release()
    with pytest.raises(Transient, match="took too long"):
        await task
    assert final_rows(held) == before
    assert await of_tenant(held, "acme", 1) == found


async def test_a_worker_that_was_held_up_for_days_writes_nothing() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:2])
    late = held.another_worker()
    stall = late.faults.stall_next("query costs")
    task = asyncio.create_task(late.meter_at(FIRST + DAY + 2 * HOUR))
    await stall.reached_or_done(task)
    await held.log.change("acme", FIRST + 12 * HOUR, use(awake=False))
    await held.meter_at(FIRST + 4 * DAY)
    before = final_rows(held)
    stall.release()
    with pytest.raises(Transient, match="took too long"):
        await task
    assert final_rows(held) == before


async def test_a_worker_whose_clock_is_ahead_makes_nothing_final() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:3])
    tables = held.storage.ahead
    held.storage.ahead = -30 * DAY  # as the tables see it, the worker is a month ahead
    await held.meter_at(FIRST + 32 * DAY)
    held.storage.ahead = tables
    assert (await held.ledger.last_final()).value == FIRST_DAY


async def test_a_day_that_is_final_too_early_does_not_count() -> None:
    held, right = await new_ledger(), await new_ledger()
    for each in (held, right):
        await play(each, HISTORY[:3])
    await held.meter_at(FIRST + 30 * DAY)
    await held.meter_at(FIRST + 4 * DAY)
    assert (await held.ledger.last_final()).value == FIRST_DAY + 2 * DAY
    await held.meter_at(FIRST + 31 * DAY)
    await right.meter_at(FIRST + 31 * DAY)
    assert final_rows(held) == final_rows(right)


async def test_a_transition_between_the_passes_ends_the_run() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + DAY + 2 * HOUR)
    slug = next(each for number in range(100) if keys.shard(Slug(each := f"s{number}")) == keys.SHARDS[0])
    stall = held.faults.stall_nth(lambda name: name == "query tenants", len(keys.SHARDS) + 1)  # the second pass begins
    task = asyncio.create_task(held.meter_at(FIRST + DAY + 20 * HOUR))
    await stall.reached_or_done(task)
    await held.log.change(slug, FIRST + DAY + HOUR, use())
    stall.release()
    with pytest.raises(Transient, match="a transition was written"):
        await task
    await held.meter_at(FIRST + DAY + 21 * HOUR)
    cluster = (await of_cluster(held))[-1]
    nodes = [sum((each.costs.get(name, ZERO) for name in NODE_COMPONENTS), ZERO) for each in cluster.plans.values()]
    assert (sum(nodes, ZERO), cluster.plans["trial"].awake) == (cluster.nodes, 2)


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


moments = st.integers(0, 5 * 24 * 60)  # minutes
after = st.sampled_from([use(), use(awake=False), use(plan="standard"), use(version="2.0.0"), None])


class Change(NamedTuple):
    """What happens to a tenant."""

    minute: int
    slug: str
    after: Use | None


class Run(NamedTuple):
    """One run of a worker's timer, and the number of its call that fails; for 0 none does."""

    minute: int
    worker: int
    fails: int


changes = st.lists(st.builds(Change, moments, st.sampled_from(SLUGS), after), max_size=15)
runs = st.lists(st.builds(Run, moments, st.integers(0, 1), st.integers(0, 60)), max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes, runs, st.integers(1, 3))
def test_crashes_and_two_workers_leave_the_same_rows(wanted: list[Change], metered: list[Run], nodes: int) -> None:
    """Runs that break off at any call, of two workers, and one run at the end from the log alone give the same."""

    async def histories() -> None:
        end = FIRST + 8 * DAY
        held, rebuilt = await new_ledger(), await new_ledger()
        workers = [held, held.another_worker()]
        for each in (*workers, rebuilt):
            each.has_nodes(nodes)
        # The nodes are seen before anything happens, because when a run sees them is part of what it finds.
        for each in (held, rebuilt):
            await each.meter_at(FIRST)
        events = [*wanted, *metered]
        for event in sorted(events, key=lambda each: each[0]):
            at = FIRST + event[0] * HOUR / 60
            if isinstance(event, Run):
                await break_off(workers[event.worker], at, event.fails)
            else:
                await held.log.change(event.slug, at, event.after)
                await rebuilt.log.change(event.slug, at, event.after)
        await asyncio.gather(*(each.meter_at(end) for each in workers))
        await rebuilt.meter_at(end)
        assert final_rows(held) == final_rows(rebuilt)
        await check(rebuilt, wanted)

    asyncio.run(histories())


async def break_off(held: Ledger, at: datetime, fails: int) -> None:
    """Run the timer, and let a call fail; for 0 none does."""
    held.faults.reset()
    if fails:
        held.faults.fail(fails, Transient("the tables do not respond"))
    with contextlib.suppress(Transient):
        await held.meter_at(at)
    held.faults.reset()


async def check(held: Ledger, wanted: list[Change]) -> None:
    """Compare the hours with an oracle that looks at each minute, and the sums with the rows."""
    awake: dict[tuple[str, date], int] = {}
    for slug in SLUGS:
        log = sorted((each for each in wanted if each.slug == slug), key=lambda each: each.minute)
        for minute in range(7 * 24 * 60):
            uses = [each.after for each in log if each.minute <= minute]
            if uses and uses[-1] is not None and uses[-1].awake:
                day = (FIRST + minute * HOUR / 60).date()
                awake[slug, day] = awake.get((slug, day), 0) + 1
    clusters = {each.day: each for each in await of_cluster(held, 7)}
    for day in days(FIRST_DAY, 7):
        found = [row for slug in SLUGS for row in await held.ledger.of_tenant(Slug(slug), [day])]
        for row in found:
            assert abs(row.own.awake * 60 - awake.get((row.slug, day), 0)) < Decimal("1e-6")
        assert {row.slug for row in found} >= {slug for slug, each in awake if each == day}
        if found:
            sums = clusters[day].plans.values()
            assert sum((each.total for each in sums), ZERO) == sum((row.total for row in found), ZERO)
