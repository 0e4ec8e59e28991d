"""A registered cluster is recognised by its uid before anything is done there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared.application.registered_cluster import RegisteredCluster
from shared.domain.clusters import ClusterName, KubeconfigAccess
from shared.domain.lifecycle import StepName, TenantState
from shared.errors import Unreachable, WrongRegistration
from tests.support.builders import PRODUCT, new_cluster
from tests.support.fake_connections import FakeConnections
from tests.support.faults import Faults
from tests.support.repositories import clusters_on, register
from tests.support.world import PORTAL, World, new_world, violations

ONE, TWO = ClusterName("one"), ClusterName("two")
OTHER = "00000000-0000-4000-8000-000000000000"
WRONG = "another cluster responds at the address of cluster one: .* Register one again"


async def two_clusters() -> World:
    return await new_world(workers=2, clusters=[new_cluster(), new_cluster("two")])


def connections_of(world: World) -> tuple[FakeConnections, Faults]:
    """Return the connections of one more worker, and its faults."""
    faults = Faults()
    return FakeConnections(clusters_on(world.storage, world.clock), world.kubernetes, faults), faults


CALLS: dict[str, Callable[[RegisteredCluster], Coroutine[Any, Any, object]]] = {
    "apply": lambda cluster: cluster.apply([]),
    "wait": lambda cluster: cluster.wait_until_ready("tenant-x", PRODUCT, timeout=1),
    "remove": lambda cluster: cluster.remove("tenant-x", timeout=1),
    "time": lambda cluster: cluster.time(),
    "namespaces": lambda cluster: cluster.tenant_namespaces(),
    "volumes": lambda cluster: cluster.left_volumes(),
    "uid": lambda cluster: cluster.uid(),
    "check": lambda cluster: cluster.check(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nothing_is_asked_of_another_cluster(
    call: Callable[[RegisteredCluster], Coroutine[Any, Any, object]],
) -> None:
    world = await new_world()
    world.kubernetes[ONE].identity = OTHER
    connections, faults = connections_of(world)
    for _ in range(2):
        with pytest.raises(WrongRegistration, match=WRONG):
            await call(await connections.connect(ONE))
    assert set(faults.calls) <= {"uid", "check"}
    assert len(faults.calls) == 2


async def test_concurrent_first_calls_ask_once() -> None:
    world = await new_world()
    connections, faults = connections_of(world)
    cluster = await connections.connect(ONE)
    await asyncio.gather(*(cluster.tenant_namespaces() for _ in range(20)))
    assert await connections.connect(ONE) is cluster
    await cluster.left_volumes()
    assert faults.calls.count("uid") == 1


async def test_a_cluster_is_recognised_again_after_silence() -> None:
    world = await new_world()
    connections, faults = connections_of(world)
    cluster = await connections.connect(ONE)
    await cluster.left_volumes()
    faults.fail(len(faults.calls) + 1, Unreachable("the API server broke off"))
    with pytest.raises(Unreachable, match="broke off"):
        await cluster.left_volumes()
    world.kubernetes[ONE].identity = OTHER
    with pytest.raises(WrongRegistration, match=WRONG):
        await cluster.left_volumes()


async def test_a_check_notices_another_cluster() -> None:
    world = await new_world()
    connections, _ = connections_of(world)
    cluster = await connections.connect(ONE)
    await cluster.left_volumes()
    world.kubernetes[ONE].identity, before = OTHER, world.kubernetes[ONE].identity
    for call in (cluster.check, cluster.left_volumes):
        with pytest.raises(WrongRegistration, match=WRONG):
            await call()
    world.kubernetes[ONE].identity = before
    await cluster.left_volumes()


async def test_a_new_registration_gets_a_new_connection() -> None:
    world = await two_clusters()
    connections, _ = connections_of(world)
    before = await connections.connect(ONE)
    uid = world.kubernetes[TWO].identity
    world.clock.advance(10)  # so that registrations are read again
    await register(clusters_on(world.storage, world.clock), new_cluster(access=KubeconfigAccess("two"), uid=uid))
    after = await connections.connect(ONE)
    assert after is not before
    assert await after.check() == uid


async def test_a_wrong_address_is_tried_again() -> None:
    world = await new_world()
    gone = new_cluster(access=KubeconfigAccess("gone"), uid=world.kubernetes[ONE].identity)
    await register(clusters_on(world.storage, world.clock), gone)
    connections, _ = connections_of(world)
    cluster = await connections.connect(ONE)
    with pytest.raises(WrongRegistration, match="the registration of cluster one is wrong: there is no cluster gone"):
        await cluster.left_volumes()
    world.kubernetes[ClusterName("gone")] = world.kubernetes[ONE]
    assert await cluster.left_volumes() == []


async def test_tenants_go_to_the_recognised_cluster() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].identity = OTHER
    for number in range(4):
        await world.sign_up(f"t-{number}")
    await world.run()
    tenants = [await world.tenant(f"t-{number}") for number in range(4)]
    assert {(each.state, each.cluster) for each in tenants} == {(TenantState.ACTIVE, TWO)}
    assert world.kubernetes[ONE].namespaces == {}
    breaker = (await world.cluster("one")).breaker
    assert breaker is not None
    assert "another cluster responds" in breaker.reason
    assert await violations(world) == []


async def test_a_deletion_waits_until_the_cluster_is_back() -> None:
    world = await new_world()
    tenant = await world.active()
    one = world.kubernetes[ONE]
    one.identity, before = OTHER, one.identity
    await world.timers()
    await world.worker.delete.delete(tenant.slug, PORTAL, world.workflows)
    await world.run(until=world.clock.monotonic() + 100)
    waiting = await world.tenant()
    assert waiting.state is TenantState.DELETING
    assert "another cluster responds" in waiting.operation.step(StepName.REMOVE).message
    assert len(one.namespaces) == 1
    one.identity = before
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED
    assert one.namespaces == {}


async def test_the_dependencies_name_the_wrong_cluster() -> None:
    world = await two_clusters()
    world.kubernetes[ONE].identity = OTHER
    checks = await world.worker.dependencies.run(world.workflows)
    assert "another cluster responds at the address of cluster one" in checks["cluster one"]
    assert checks["cluster two"] == "ok"
