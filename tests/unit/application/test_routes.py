"""A tenant's address leads to it just while it is ready."""

import asyncio

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import OperationKind, StepName, TenantState
from shared.domain.operations import OperationState
from shared.domain.routes import KIND, ROUTE_NAME, RouteStatus
from shared.domain.workflow import Activity, Verdict
from shared.errors import Transient, Unreachable
from tests.support.before_activity import Situation, before
from tests.support.builders import new_cluster
from tests.support.fake_cluster import FakeCluster
from tests.support.world import new_world, violations

ONE = ClusterName("one")
STARTING = Situation(OperationKind.PROVISION, Activity.AWAIT)
STOPPING = Situation(OperationKind.HIBERNATE, Activity.STOP)
WAKING = Situation(OperationKind.WAKE, Activity.AWAIT)
REFUSED = RouteStatus(False, "NotAllowedByListeners", "it is not served: NotAllowedByListeners", refused=True)


def hosts(cluster: FakeCluster) -> list[list[str]]:
    """Return the hosts of each route on a cluster."""
    routes = [each.objects.get((KIND, ROUTE_NAME)) for each in cluster.namespaces.values()]
    return [route["spec"]["hostnames"] for route in routes if route is not None]


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
    world = await before(STARTING)
    operation, faults = (await world.tenant()).operation, world.worker.faults
    stall = faults.stall_next("open_route")
    late = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    if tables_fail:
        faults.fail(len(faults.calls) + 1, Transient("the tables do not respond"))
    [namespace] = world.kubernetes[ONE].namespaces.values()
    namespace.held = True  # so that it outlives the removal
    await world.do(Activity.REMOVE, operation, worker=1, reason="too slow")
    stall.release()
    assert (await late).verdict is Verdict.RETRY
    assert hosts(world.kubernetes[ONE]) == []


async def test_a_late_route_of_an_active_tenant_stays() -> None:
    world = await before(STARTING)
    operation = (await world.tenant()).operation
    stall = world.worker.faults.stall_next("open_route")
    late = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    assert (await world.do(Activity.AWAIT, operation, worker=1)).verdict is Verdict.DONE
    stall.release()
    await late
    assert len(hosts(world.kubernetes[ONE])) == 1
    await world.run()
    assert await violations(world) == []


async def test_a_tenant_that_sleeps_has_no_route() -> None:
    world = await before(STOPPING)
    world.kubernetes[ONE].stop_seconds = 99
    await world.do(Activity.STOP, (await world.tenant()).operation)
    assert (await world.tenant()).state is TenantState.HIBERNATING
    assert hosts(world.kubernetes[ONE]) == []
    calls = world.worker.faults.calls
    assert calls.index("close_route") < calls.index("stop")
    await world.run()
    assert (await world.tenant()).state is TenantState.HIBERNATED
    assert hosts(world.kubernetes[ONE]) == []


async def test_a_wake_ends_once_its_route_is_served() -> None:
    world = await before(WAKING)
    world.kubernetes[ONE].gateway = RouteStatus(False, message="the gateway has not taken it yet")
    assert hosts(world.kubernetes[ONE]) == []
    assert (await world.do(Activity.AWAIT, (await world.tenant()).operation)).verdict is Verdict.RETRY
    tenant = await world.tenant()
    assert tenant.state is TenantState.WAKING
    assert "the gateway has not taken it yet" in tenant.operation.step(StepName.START).message
    world.kubernetes[ONE].gateway = RouteStatus(True)
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert hosts(world.kubernetes[ONE]) == [["acme.one.example.com"]]


async def test_a_wake_whose_route_is_refused_sleeps_again() -> None:
    world = await before(WAKING)
    world.kubernetes[ONE].gateway = REFUSED
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.HIBERNATED, OperationState.FAILED)
    assert await violations(world) == []


@pytest.mark.parametrize("tables_fail", [False, True])
async def test_a_late_route_of_a_cancelled_wake_is_removed(tables_fail: bool) -> None:
    world = await before(WAKING)
    operation, faults = (await world.tenant()).operation, world.worker.faults
    stall = faults.stall_next("open_route")
    late = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    if tables_fail:
        faults.fail(len(faults.calls) + 1, Transient("the tables do not respond"))
    await world.cancel(operation, worker=1)
    await world.do(Activity.STOP, operation, worker=1, reason="cancelled")
    assert (await world.tenant()).state is TenantState.HIBERNATED
    stall.release()
    await late
    assert await violations(world) == []


@pytest.mark.parametrize("ends_first", [False, True])
async def test_a_late_stop_leaves_a_woken_tenant_its_route(ends_first: bool) -> None:
    world = await before(STOPPING)
    operation, [late, other] = (await world.tenant()).operation, world.workers
    stop = late.faults.stall_next("close_route")
    stopping = asyncio.create_task(world.do(Activity.STOP, operation))
    await asyncio.wait_for(stop.reached.wait(), 5)
    await world.do(Activity.STOP, operation, worker=1)
    wake = await world.wake(worker=1)
    await world.do(Activity.APPLY, wake, worker=1)
    opened = other.faults.stall_next("open_route", after=True)
    waking = asyncio.create_task(world.do(Activity.AWAIT, wake, worker=1))
    await asyncio.wait_for(opened.reached.wait(), 5)
    # The route is deleted after it was opened, and before the tenant is recorded as active.
    again = late.faults.stall_next("apply")
    stop.release()
    await asyncio.wait_for(again.reached.wait(), 5)
    if ends_first:
        opened.release()
        assert (await waking).verdict is Verdict.DONE
        again.release()
    else:
        again.release()
        await stopping
        opened.release()
        assert (await waking).verdict is Verdict.RETRY  # it has to wait for the pods, and open the route, again
    await stopping
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_route_opened_again_too_late_is_deleted() -> None:
    world = await before(STOPPING)
    operation, late = (await world.tenant()).operation, world.worker
    stop = late.faults.stall_next("close_route")
    stopping = asyncio.create_task(world.do(Activity.STOP, operation))
    await asyncio.wait_for(stop.reached.wait(), 5)
    world.workers = world.workers[1:]
    await world.run()
    await world.wake()
    await world.run()
    opening = late.faults.stall_next("open_route")
    stop.release()
    await asyncio.wait_for(opening.reached.wait(), 5)
    await world.sleep()
    await world.run()
    assert (await world.tenant()).state is TenantState.HIBERNATED
    opening.release()
    await stopping
    assert await violations(world) == []
