"""A tenant's address leads to it just while it is ready."""

import asyncio

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.routes import KIND, ROUTE_NAME, RouteStatus
from shared.domain.workflow import Activity, Verdict
from shared.errors import Transient, Unreachable
from tests.support.before_activity import before
from tests.support.builders import new_cluster
from tests.support.fake_cluster import FakeCluster
from tests.support.world import new_world, violations

ONE = ClusterName("one")
REFUSED = RouteStatus(False, "NotAllowedByListeners", "it is not served: NotAllowedByListeners", refused=True)


def hosts(cluster: FakeCluster) -> list[list[str]]:
    """Return the hosts of each route on a cluster."""
    routes = [each.objects.get((KIND, ROUTE_NAME)) for each in cluster.namespaces.values()]
    return [route["spec"]["hostnames"] for route in routes if route is not None]


async def call_that_opens() -> int:
    """Return the number of the call that opens the route."""
    other, _ = await before(Activity.AWAIT)
    await other.do(Activity.AWAIT, (await other.tenant()).operation)
    return other.worker.faults.calls.index("open_route") + 1


async def test_there_is_no_route_before_the_pods_are_ready() -> None:
    world = await new_world()
    operation = await world.sign_up(version="slow-1")
    await world.do(Activity.APPLY, operation)
    await world.do(Activity.AWAIT, operation)
    assert hosts(world.kubernetes[ONE]) == []
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert hosts(world.kubernetes[ONE]) == [["acme.one.example.com"]]


async def test_a_tenant_is_active_once_its_route_is_served() -> None:
    world = await new_world()
    world.kubernetes[ONE].gateway = RouteStatus(False, message="the gateway has not taken it yet")
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    assert (await world.do(Activity.AWAIT, operation)).verdict is Verdict.RETRY
    tenant = await world.tenant()
    assert tenant.state is TenantState.PROVISIONING
    assert "the gateway has not taken it yet" in tenant.operation.step(StepName.START).message
    assert tenant.observed is not None
    assert not tenant.observed.ready
    world.kubernetes[ONE].gateway = RouteStatus(True)
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (REFUSED, "held up for 60 s: it is not served: NotAllowedByListeners"),
        (RouteStatus(False, message="not taken yet"), "not ready after 300 s: not taken yet"),
    ],
)
async def test_a_route_that_is_never_served_fails_the_tenant(status: RouteStatus, reason: str) -> None:
    world = await new_world()
    world.kubernetes[ONE].gateway = status
    tenant = await world.active()
    assert (tenant.state, tenant.operation.reason) == (TenantState.FAILED, reason)
    assert await violations(world) == []


async def test_a_moved_tenant_has_the_new_clusters_address() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    await world.sign_up()
    world.kubernetes[ONE].away = Unreachable("the API server cannot be reached")
    await world.run()
    assert (await world.tenant()).cluster == "two"
    assert hosts(world.kubernetes[ClusterName("two")]) == [["acme.two.example.com"]]


@pytest.mark.parametrize("tables_fail", [False, True])
async def test_a_late_route_of_an_ended_start_is_removed(tables_fail: bool) -> None:
    world, _ = await before(Activity.AWAIT)
    operation, number = (await world.tenant()).operation, await call_that_opens()
    stall = world.worker.faults.stall(number)
    if tables_fail:
        world.worker.faults.fail(number + 1, Transient("the tables do not respond"))
    late = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    [namespace] = world.kubernetes[ONE].namespaces.values()
    namespace.held = True  # so that it outlives the removal
    await world.do(Activity.REMOVE, operation, worker=1, reason="too slow")
    stall.release()
    assert (await late).verdict is Verdict.RETRY
    assert hosts(world.kubernetes[ONE]) == []


async def test_a_late_route_of_an_active_tenant_stays() -> None:
    world, _ = await before(Activity.AWAIT)
    operation = (await world.tenant()).operation
    stall = world.worker.faults.stall(await call_that_opens())
    late = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    assert (await world.do(Activity.AWAIT, operation, worker=1)).verdict is Verdict.DONE
    stall.release()
    await late
    assert len(hosts(world.kubernetes[ONE])) == 1
    await world.run()
    assert await violations(world) == []
