"""Slot repair: reservations that a worker left behind when it stopped."""

import asyncio
from dataclasses import replace

import pytest

from shared.application.ports.stored import Stored
from shared.domain.clusters import ClusterName
from shared.domain.instances import new_instance_id
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import new_operation_id
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Verdict
from shared.errors import Transient
from tests.support.builders import new_cluster, new_tenant
from tests.support.world import PORTAL, World, new_world, violations

ONE = ClusterName("one")


async def leaked(world: World, slug: str = "acme") -> None:
    """Make a reservation for a signup that stopped before it recorded its tenant."""
    operation_id = new_operation_id(Slug(slug), world.clock.now())
    cluster = await world.cluster()
    reserve = world.worker.reservations.reserve
    await reserve(cluster, new_instance_id(), operation_id, weight=1, max_starting=1, max_waiting=9)


@pytest.mark.parametrize("slug", ["nobody", "acme"])
async def test_a_reservation_without_a_tenant_is_released(slug: str) -> None:
    world = await new_world(max_concurrent=1)
    await world.active("acme")
    await leaked(world, slug)
    operation = await world.sign_up("waits")
    assert operation.id not in world.workflows.running
    world.clock.advance(30)
    await world.timers()
    assert (await world.cluster()).starting == 1  # its tenant may still come
    world.clock.advance(31)
    await world.timers()
    assert operation.id in world.workflows.running
    await world.run()
    assert await violations(world) == []


async def test_a_slot_of_an_active_tenant_is_released() -> None:
    world = await new_world(workers=2, max_concurrent=1)
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    # The worker stops after the end is recorded and before the slot is given back.
    world.worker.faults.away = lambda name: Transient("away") if name == "get clusters" else None
    assert (await world.do(Activity.AWAIT, operation)).verdict is Verdict.RETRY
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert (await world.cluster()).starting == 1
    world.workflows.running.clear()
    world.clock.advance(61)
    await world.timers(worker=1)
    assert await violations(world) == []


async def test_one_cluster_that_fails_does_not_stop_the_others() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", region="elsewhere")], max_concurrent=1)
    for slug, region in (("a-1", "local"), ("a-2", "local"), ("b-1", "elsewhere"), ("b-2", "elsewhere")):
        await world.sign_up(slug, region=region)
    calls = iter(range(99))
    world.worker.faults.away = lambda name: Transient("away") if name == "query clusters" and next(calls) == 1 else None
    await world.repair_slots()
    world.worker.faults.reset()
    await world.run()
    assert await violations(world) == []


async def test_nothing_is_repaired_while_all_is_well() -> None:
    world = await new_world(max_concurrent=2)
    for number in range(5):
        await world.sign_up(f"t-{number}", version="slow-1")
    world.clock.advance(120)
    before = dict(world.storage.rows["clusters"])
    await world.repair_slots()
    assert world.storage.rows["clusters"] == before


async def test_a_deleted_tenant_keeps_no_slot() -> None:
    world = await new_world(max_concurrent=1)
    await world.active()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    assert (await world.tenant()).operation.kind is OperationKind.DELETE
    assert (await world.cluster()).allocated == 0


@pytest.mark.parametrize("then", ["starting", "active"])
async def test_a_tenant_that_came_late_keeps_its_share(then: str) -> None:
    for number in range(1, 60):  # wherever slot repair stalls
        world = await new_world(workers=2)
        operation_id, cluster = new_operation_id(Slug("acme"), world.clock.now()), await world.cluster()
        instance = new_instance_id()
        reserve = world.worker.reservations.reserve
        await reserve(cluster, instance, operation_id, weight=1, max_starting=1, max_waiting=9)
        world.clock.advance(61)
        stall = world.workers[1].faults.stall(number)
        late = asyncio.create_task(world.repair_slots(worker=1))
        await stall.reached_or_done(late)
        if late.done():
            break
        tenant = new_tenant(cluster=ONE, instance=instance)
        operation = replace(tenant.operation, id=operation_id, cluster=ONE, instance=instance)
        await world.worker.tenants.save(Stored(replace(tenant, operation=operation)))  # a signup that was held up
        applied = await world.do(Activity.APPLY, operation)
        if then == "active" and applied.verdict is Verdict.DONE:
            await world.do(Activity.AWAIT, operation)
        stall.release()
        await late
        world.workflows.running[operation.id] = operation
        await world.run()
        assert (await world.tenant()).state is TenantState.ACTIVE
        assert await violations(world) == [], number
