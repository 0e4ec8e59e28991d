"""Admission of wakes: their own slots, ahead of signups, in order, and the share that they take again."""

import asyncio

import pytest

from shared.application.admission import POSITION_SECONDS
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState, new_operation_id
from shared.domain.slugs import Slug
from shared.errors import NoRoom, Transient
from tests.support.builders import new_cluster
from tests.support.world import World, new_world, violations

ONE = ClusterName("one")


async def position(world: World, slug: str) -> int | None:
    world.clock.advance(POSITION_SECONDS + 1)
    return await world.worker.admission.position((await world.tenant(slug)).operation)


async def asleep(world: World, *slugs: str, **fields: str) -> None:
    for slug in slugs:
        await world.asleep(slug, **fields)


async def test_some_slots_are_left_for_wakes() -> None:
    world = await new_world(max_concurrent=2, wake_slots=1)
    await asleep(world, "acme")
    signups = [await world.sign_up(slug, version="slow-1") for slug in ("new-1", "new-2")]
    wake = await world.wake("acme")
    assert set(world.workflows.running) == {signups[0].id, wake.id}
    await world.run()
    assert await violations(world) == []


async def test_wakes_come_in_order_and_before_signups() -> None:
    world = await new_world(workers=2, max_concurrent=1, clusters=[new_cluster(capacity=100)])
    slugs = ["d-1", "a-1", "c-1", "b-1"]
    await asleep(world, *slugs)
    await world.sign_up("first", version="slow-1")
    await world.sign_up("second")
    for slug in slugs:
        await world.wake(slug)
        world.clock.advance(0.01)
    assert [await position(world, slug) for slug in (*slugs, "second")] == [1, 2, 3, 4, 5]
    assert (await world.cluster()).waking == 4
    await world.run()
    ended = [(await world.tenant(slug)).operation.finished_at for slug in ("first", *slugs, "second")]
    assert ended == sorted(ended, key=str)
    assert await violations(world) == []


async def test_a_burst_of_wakes_is_served_to_its_end() -> None:
    world = await new_world(workers=2, clusters=[new_cluster(capacity=1000)], max_concurrent=4, max_queued=0)
    slugs = [f"t-{number}" for number in range(60)]
    await asleep(world, *slugs)
    begun = await asyncio.gather(*(world.wake(slug, worker=number % 2) for number, slug in enumerate(slugs)))
    assert len(begun) == 60
    cluster = await world.cluster()
    assert (cluster.starting, cluster.waking) == (4, 56)
    waiting = [await position(world, slug) for slug in slugs]
    assert sorted(each for each in waiting if each) == list(range(1, 57))
    await world.run()
    assert {(await world.tenant(slug)).state for slug in slugs} == {TenantState.ACTIVE}
    assert await violations(world) == []


async def test_a_wake_waits_for_room_and_no_signup_takes_it() -> None:
    world = await new_world(clusters=[new_cluster(capacity=2)])
    await asleep(world, "acme", plan="standard")
    await world.active("other")
    await world.wake("acme")
    assert await position(world, "acme") == 1
    with pytest.raises(NoRoom, match="is full"):
        await world.sign_up("late")
    await world.run()
    assert (await world.tenant("acme")).operation.state is OperationState.QUEUED
    await world.sleep("other")  # gives its share back
    await world.run()
    assert [(await world.tenant(slug)).state for slug in ("acme", "other")] == ["active", "hibernated"]
    assert await violations(world) == []


async def test_more_capacity_lets_a_waiting_wake_start() -> None:
    world = await new_world(clusters=[new_cluster(capacity=2)])
    await asleep(world, "acme", plan="standard")
    await world.active("other")
    await world.wake("acme")
    await world.worker.registry.change(ONE, state=None, capacity=3)
    await world.timers()
    await world.run()
    assert (await world.tenant("acme")).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_what_can_never_fit_is_refused() -> None:
    world = await new_world(clusters=[new_cluster(capacity=2)])
    await asleep(world, "acme", plan="standard")
    await world.worker.registry.change(ONE, state=None, capacity=1)
    with pytest.raises(
        NoRoom, match="acme needs a weight of 2 on its cluster one, whose whole capacity is 1"
    ) as refused:
        await world.wake("acme")
    assert refused.value.remedy == "resize one"
    assert (await world.tenant("acme")).state is TenantState.HIBERNATED
    assert await violations(world) == []


async def test_what_sleeps_counts_as_an_instance() -> None:
    world = await new_world(clusters=[new_cluster(max_instances=2)])
    await asleep(world, "one-1", "two-2")
    with pytest.raises(NoRoom, match="as many instances as they may"):
        await world.sign_up("three-3")
    await world.worker.registry.change(ONE, state=None, capacity=None, max_instances=3)
    await world.active("three-3")
    await world.wake("one-1")  # its place is its own
    await world.run()
    cluster = await world.cluster()
    assert (cluster.instances, cluster.allocated) == (3, 2)
    assert await violations(world) == []


async def test_a_queued_wake_can_be_cancelled() -> None:
    world = await new_world(max_concurrent=1)
    await asleep(world, "acme")
    await world.sign_up("first", version="slow-1")
    operation = await world.wake("acme")
    assert operation.id not in world.workflows.running
    await world.cancel(operation)
    await world.run()
    tenant = await world.tenant("acme")
    assert (tenant.state, tenant.operation.state) == (TenantState.HIBERNATED, OperationState.CANCELLED)
    assert await violations(world) == []


async def test_a_wake_that_could_not_ask_for_a_slot_asks_again() -> None:
    world = await new_world(workers=2)
    await asleep(world, "acme")
    world.worker.faults.reset()
    world.worker.faults.away = lambda name: Transient("away") if name == "transact clusters" else None
    await world.wake("acme")
    world.worker.faults.reset()
    await world.run()
    assert (await world.tenant("acme")).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_share_that_was_not_given_back_is_found() -> None:
    world = await new_world(workers=2)
    await world.active("acme")
    await world.sleep("acme")
    for each in world.workers:  # they stop after the end is recorded and before the share is given back
        each.faults.away = lambda name: Transient("away") if name == "transact clusters" else None
    await world.run(steps=2)
    for each in world.workers:
        each.faults.reset()
    world.workflows.running.clear()
    assert (await world.tenant("acme")).state is TenantState.HIBERNATED
    assert (await world.cluster()).allocated == 1
    for _ in range(2):
        world.clock.advance(3700)
        await world.worker.reconciliation.run(world.workflows)
    assert (await world.cluster()).allocated == 0
    assert await violations(world) == []


async def test_a_slot_that_an_ended_wake_took_is_released() -> None:
    world = await new_world()
    await asleep(world, "acme")
    tenant, late = await world.tenant("acme"), new_operation_id(Slug("acme"), world.clock.now())
    held = await world.worker.reservations.find(ONE, tenant.instance)
    await world.worker.reservations.wake(
        await world.cluster(), tenant.instance, late, weight=1, max_starting=9, unless_changed=held
    )
    assert (await world.cluster()).starting == 1
    world.clock.advance(61)
    await world.timers()
    assert (await world.cluster()).starting == 0
    assert await violations(world) == []
