"""Breakers: a cluster that does not respond harms only itself."""

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.errors import Permanent, Transient
from tests.support.builders import new_cluster
from tests.support.world import World, new_world, violations

ONE, TWO = ClusterName("one"), ClusterName("two")
DEAD = Transient("the API server cannot be reached")


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


async def test_a_refusal_opens_no_breaker() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].away = Permanent("forbidden")
    for _ in range(3):
        await world.worker.breakers.check_all()
    assert (await world.cluster("one")).breaker is None


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
