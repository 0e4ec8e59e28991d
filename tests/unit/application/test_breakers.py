"""Breakers: a cluster that does not respond harms only itself."""

import asyncio

import pytest

from shared.domain.clusters import Breaker, ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.workflow import Activity
from shared.errors import BerthError, Permanent, Transient, Unreachable
from tests.support.builders import new_cluster
from tests.support.clock import START
from tests.support.world import World, new_world, violations

ONE, TWO = ClusterName("one"), ClusterName("two")
DEAD = Unreachable("the API server cannot be reached")


async def two_clusters() -> World:
    return await new_world(workers=2, clusters=[new_cluster(), new_cluster("two")])


async def test_with_one_of_two_clusters_dead_all_become_active() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = DEAD
    for number in range(4):
        await world.sign_up(f"t-{number}")
    await world.run()
    tenants = [await world.tenant(f"t-{number}") for number in range(4)]
    assert {(each.state, each.cluster) for each in tenants} == {(TenantState.ACTIVE, TWO)}
    assert await violations(world) == []
    breaker = (await world.cluster("one")).breaker
    assert breaker is not None
    assert breaker.reason == str(DEAD)
    assert (await world.cluster("two")).breaker is None


async def test_an_open_breaker_gets_no_new_tenants() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = DEAD
    for _ in range(2):
        await world.worker.breakers.check_all()
    assert (await world.active()).cluster == TWO


async def test_one_failed_check_opens_no_breaker() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = DEAD
    await world.worker.breakers.check_all()
    world.kubernetes[ONE].away = None
    await world.worker.breakers.check_all()
    world.kubernetes[ONE].away = DEAD
    await world.worker.breakers.check_all()
    assert (await world.cluster("one")).breaker is None


@pytest.mark.parametrize("error", [Permanent("forbidden"), Transient("the API server responded 429")])
async def test_a_response_opens_no_breaker(error: BerthError) -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = error
    for _ in range(3):
        await world.worker.breakers.check_all()
    assert (await world.cluster("one")).breaker is None


async def test_a_slow_webhook_opens_no_breaker() -> None:
    world = await two_clusters()
    operation = await world.sign_up()
    no_response = Unreachable("the API server gave no response within 15 s")
    world.worker.faults.away = lambda name: no_response if name == "apply" else None
    assert (await world.do(Activity.APPLY, operation)).reason == str(no_response)
    assert "check" in world.worker.faults.calls
    assert (await world.cluster("one")).breaker is None
    assert (await world.tenant()).cluster == ONE


async def test_a_cluster_that_responds_again_is_used_again() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = DEAD
    await world.active("first")
    world.kubernetes[ONE].away = None
    await world.timers()
    assert (await world.cluster("one")).breaker is None
    assert (await world.active("second")).cluster == ONE
    assert await violations(world) == []


async def test_those_that_wait_for_a_dead_cluster_are_moved() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")], max_concurrent=1)
    operations = [await world.sign_up(f"t-{number}") for number in range(6)]
    world.kubernetes[ONE].away = DEAD
    for _ in range(2):
        world.clock.advance(60)
        await world.timers()
    await world.run()
    tenants = [await world.tenant(each.slug) for each in operations]
    assert {(each.state, each.cluster) for each in tenants} == {(TenantState.ACTIVE, TWO)}
    assert await violations(world) == []


async def test_an_only_cluster_that_is_dead_is_waited_for() -> None:
    world = await new_world()
    await world.sign_up()
    world.kubernetes[ONE].away = DEAD
    await world.run(until=120.0)
    assert (await world.tenant()).operation.is_open
    world.kubernetes[ONE].away = None
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_tables_that_are_away_open_no_breaker() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.clock.advance(60)  # so that the registrations are read again
    world.kubernetes[ONE].away = DEAD
    tables_away = Transient("the tables do not respond")
    world.worker.faults.away = lambda name: tables_away if "clusters" in name else None
    await world.do(Activity.APPLY, operation)
    with pytest.raises(Transient):
        await world.worker.breakers.check_all()
    world.worker.faults.reset()
    assert (await world.cluster()).breaker is None


async def test_one_check_that_breaks_off_stops_no_other() -> None:
    world = await two_clusters()
    world.kubernetes[TWO].away = DEAD

    def broken(name: str) -> BerthError | None:
        if name == "check" and world.worker.faults.calls.count("check") % 2:
            raise ValueError("a bug")
        return None

    for _ in range(2):
        world.worker.faults.reset()
        world.worker.faults.away = broken
        await world.worker.breakers.check_all()
    world.worker.faults.reset()
    assert (await world.cluster("two")).breaker is not None


async def test_an_only_cluster_that_is_dead_keeps_its_queue() -> None:
    world = await new_world(max_concurrent=1)
    operations = [await world.sign_up(f"t-{number}") for number in range(5)]
    world.kubernetes[ONE].away = DEAD
    for _ in range(30):
        await world.run(until=world.clock.monotonic() + 60)
        world.clock.advance(60)
        await world.timers()
    tenants = [await world.tenant(each.slug) for each in operations]
    assert all(each.operation.is_open and not each.operation.reason for each in tenants[1:])
    world.kubernetes[ONE].away = None
    for _ in range(3):
        world.clock.advance(60)
        await world.timers()
        await world.run()
    assert {(await world.tenant(each.slug)).state for each in operations[1:]} == {TenantState.ACTIVE}
    assert await violations(world) == []


async def waiting_behind_an_open_breaker() -> tuple[World, str]:
    """Return a world of two clusters, and who waits for a slot on the one whose breaker is open."""
    world = await new_world(workers=2, clusters=[new_cluster(), new_cluster("two")], max_concurrent=1)
    for number in range(3):
        await world.sign_up(f"t-{number}")
    assert (await world.tenant("t-2")).cluster == ONE
    await world.worker.clusters.set_breaker(ONE, Breaker(START, "no response"))
    world.workers[1].faults.reset()
    return world, "t-2"


async def test_what_became_active_meanwhile_is_not_moved() -> None:
    for number in range(1, 60):  # wherever slot repair stalls
        world, waiting = await waiting_behind_an_open_breaker()
        stall = world.workers[1].faults.stall(number)
        late = asyncio.create_task(world.repair_slots(worker=1))
        await stall.reached_or_done(late)
        await world.worker.clusters.set_breaker(ONE, None)
        both, world.workers = world.workers, world.workers[:1]
        await world.run()
        world.workers = both
        stall.release()
        await late
        await world.run()
        assert (await world.tenant(waiting)).state is TenantState.ACTIVE, f"stalled at call {number}"
        assert await violations(world) == [], f"stalled at call {number}"
