"""Putting tenants to sleep and waking them: what is kept, how it ends, and that asking again is safe."""

import asyncio
from dataclasses import replace

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import Operation, OperationState
from shared.domain.policy import PolicyOverride
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.workflow import Activity, Verdict
from shared.domain.workloads import KIND
from shared.errors import Conflict, KeyReused, NotFound, Permanent, Unreachable
from tests.support.builders import new_cluster
from tests.support.fake_namespace import FakeNamespace, replicas_of
from tests.support.world import PORTAL, Caller, World, new_world, violations

ACME, ONE = Slug("acme"), ClusterName("one")
KEYED = Caller("portal", "key-1", "request")


async def namespace(world: World) -> FakeNamespace:
    return world.kubernetes[ONE].namespaces[namespace_name((await world.tenant()).instance)]


async def assert_ended(world: World, state: TenantState, outcome: OperationState) -> Operation:
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (state, outcome)
    assert await violations(world) == []
    return tenant.operation


async def test_a_tenant_that_sleeps_has_no_pod_and_no_share() -> None:
    world = await new_world()
    before = await world.active()
    objects = set((await namespace(world)).objects)
    world.clock.advance(100)
    operation = await world.sleep()
    assert (await world.tenant()).state is TenantState.HIBERNATING
    await assert_ended(world, TenantState.HIBERNATED, OperationState.SUCCEEDED)
    tenant = await world.tenant()
    assert (tenant.instance, tenant.operation.id) == (before.instance, operation.id)
    assert tenant.state_since > before.state_since
    assert tenant.observed is not None
    assert tenant.observed.message == "asleep: it has no pod"
    assert set((await namespace(world)).objects) == objects - {(ROUTE, ROUTE_NAME)}
    cluster = await world.cluster()
    assert (cluster.allocated, cluster.instances) == (0, 1)


async def test_a_woken_tenant_has_what_it_had() -> None:
    world = await new_world()
    before = await world.active(version="2.0.0")
    held = await namespace(world)
    workload = held.objects[KIND, "product"]
    held.objects[KIND, "product"] = {**workload, "spec": {**workload["spec"], "replicas": 3}}  # scaled by hand
    await world.sleep()
    await world.run()
    assert (await world.tenant()).replicas == {"product": 3}
    await world.wake()
    await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)
    tenant = await world.tenant()
    assert (tenant.instance, tenant.version) == (before.instance, "2.0.0")
    assert tenant.observed is not None
    assert tenant.observed.ready
    assert replicas_of((await namespace(world)).objects[KIND, "product"]) == 3


async def test_a_workload_that_was_deleted_comes_back() -> None:
    world = await new_world()
    await world.asleep()
    del (await namespace(world)).objects[KIND, "product"]
    await world.wake()
    await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)


async def test_what_waking_needs_is_recorded_before_the_stop() -> None:
    world = await new_world()
    await world.active()
    operation = await world.sleep()
    world.worker.faults.away = lambda name: Unreachable("away") if name == "stop" else None
    assert (await world.do(Activity.STOP, operation)).verdict is Verdict.RETRY
    assert (await world.tenant()).replicas == {"product": 1}
    assert replicas_of((await namespace(world)).objects[KIND, "product"]) == 1


async def test_a_hibernation_can_be_turned_round() -> None:
    world = await new_world()
    await world.active()
    operation = await world.sleep()
    world.kubernetes[ONE].stop_seconds = 60
    await world.run(steps=3)
    assert replicas_of((await namespace(world)).objects[KIND, "product"]) == 0
    assert (await world.wake()).id == operation.id
    ended = await assert_ended(world, TenantState.ACTIVE, OperationState.CANCELLED)
    assert [step.name for step in ended.steps] == ["stop", "start"]
    assert (await world.cluster()).allocated == 1


async def test_a_hibernation_that_has_not_begun_is_only_ended() -> None:
    world = await new_world()
    await world.active()
    await world.cancel(await world.sleep())
    calls = len(world.worker.faults.calls)
    await assert_ended(world, TenantState.ACTIVE, OperationState.CANCELLED)
    assert not {"stop", "apply"} & set(world.worker.faults.calls[calls:])


async def test_pods_that_do_not_stop_leave_it_active() -> None:
    world = await new_world()
    await world.active()
    (await namespace(world)).stuck = True
    await world.sleep()
    operation = await assert_ended(world, TenantState.ACTIVE, OperationState.FAILED)
    assert (
        operation.reason == "not stopped after 305 s: its pod product-0 on node-0 has not stopped; is the node there?"
    )


async def test_what_does_not_start_again_is_active_all_the_same() -> None:
    world = await new_world()
    await world.active()
    operation = await world.sleep()
    world.kubernetes[ONE].stop_seconds = 60
    await world.do(Activity.STOP, operation)
    await world.cancel(operation)
    row = await world.worker.tenants.get(ACME)
    await world.worker.tenants.save(row.with_value(replace(row.value, version="never-ready-1")))
    ended = await assert_ended(world, TenantState.ACTIVE, OperationState.CANCELLED)
    assert ended.reason.startswith("cancelled; its pods are not ready again: not ready after 300 s")
    observed = (await world.tenant()).observed
    assert observed is not None
    assert not observed.ready
    assert (ROUTE, ROUTE_NAME) in (await namespace(world)).objects  # for when it works again


async def test_a_refused_start_is_retried_until_it_is_granted() -> None:
    world = await new_world()
    await world.active()
    operation = await world.sleep()
    world.kubernetes[ONE].stop_seconds = 60
    await world.do(Activity.STOP, operation)
    await world.cancel(operation)
    world.worker.faults.away = lambda name: Permanent("no right") if name == "apply" else None
    await world.run(until=world.clock.monotonic() + 120)
    assert (await world.tenant()).operation.steps[-1].message == "starting again was refused: no right"
    world.worker.faults.reset()
    await assert_ended(world, TenantState.ACTIVE, OperationState.CANCELLED)


@pytest.mark.parametrize("version", ["missing-1", "never-ready-1"])
async def test_a_failed_wake_loses_nothing_and_can_be_repeated(version: str) -> None:
    world = await new_world()
    before = await world.asleep()
    row = await world.worker.tenants.get(ACME)
    await world.worker.tenants.save(row.with_value(replace(row.value, version=version)))
    objects = set((await namespace(world)).objects)
    await world.wake()
    operation = await assert_ended(world, TenantState.HIBERNATED, OperationState.FAILED)
    assert operation.reason
    assert set((await namespace(world)).objects) == objects
    row = await world.worker.tenants.get(ACME)
    await world.worker.tenants.save(row.with_value(replace(row.value, version="1.0.0")))
    await world.wake()
    await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)
    assert (await world.tenant()).instance == before.instance


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_cancelled_wake_sleeps_again(steps: int) -> None:
    world = await new_world()
    await world.asleep(version="slow-1")
    operation = await world.wake()
    await world.run(steps=steps)
    await world.cancel(operation)
    await assert_ended(world, TenantState.HIBERNATED, OperationState.CANCELLED)


async def test_a_refused_stop_of_a_wake_is_retried() -> None:
    world = await new_world()
    await world.asleep(version="slow-1")
    operation = await world.wake()
    await world.do(Activity.APPLY, operation)
    await world.cancel(operation)
    world.worker.faults.away = lambda name: Permanent("no right") if name == "stop" else None
    await world.run(until=world.clock.monotonic() + 120)
    assert (await world.tenant()).operation.steps[-1].message == "stopping was refused: no right"
    world.worker.faults.reset()
    await assert_ended(world, TenantState.HIBERNATED, OperationState.CANCELLED)


async def test_a_removed_namespace_is_not_made_anew() -> None:
    world = await new_world()
    before = await world.asleep()
    await world.worker.lost_instances.run()
    await world.wake()
    del world.kubernetes[ONE].namespaces[namespace_name(before.instance)]
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.HIBERNATED, OperationState.FAILED)
    assert "there is no namespace" in tenant.operation.reason
    assert world.kubernetes[ONE].namespaces == {}
    await world.worker.lost_instances.run()
    assert (await world.tenant()).state is TenantState.FAILED
    assert await violations(world) == []


async def test_a_thousand_wakes_at_once_are_one() -> None:
    world = await new_world(workers=2)
    await world.asleep()
    begun = await asyncio.gather(*(world.wake(worker=number % 2) for number in range(1000)))
    assert len({each.id for each in begun}) == 1
    assert (await world.wake(caller=KEYED)).id == begun[0].id
    await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)
    actions = [each.action for each in (await world.worker.history.audit(ACME, limit=9, token="")).items]
    assert actions.count("wake") == 2  # its begin and its end


async def test_what_is_so_already_needs_no_operation() -> None:
    world = await new_world()
    active = await world.active()
    assert await world.worker.wake.wake(ACME, PORTAL, world.workflows) == active
    await world.sleep()
    await world.run()
    sleeping = await world.tenant()
    assert await world.worker.sleep.sleep(ACME, PORTAL, world.workflows) == sleeping


async def test_a_key_gives_its_operation_again() -> None:
    world = await new_world()
    await world.asleep()
    first = await world.wake(caller=KEYED)
    assert (await world.wake(caller=KEYED)).id == first.id
    await world.run()
    again = await world.worker.wake.wake(ACME, KEYED, world.workflows)
    assert isinstance(again, Operation)
    assert again.id == first.id
    assert isinstance(await world.worker.wake.wake(ACME, PORTAL, world.workflows), Tenant)
    with pytest.raises(KeyReused):
        await world.worker.wake.wake(ACME, replace(KEYED, fingerprint="other"), world.workflows)


async def test_only_a_tenant_that_may_is_put_to_sleep_or_woken() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await world.wake("nobody")
    operation = await world.sign_up(version="missing-1")
    for ask in (world.sleep, world.wake):
        with pytest.raises(Conflict, match=operation.id):
            await ask()
    await world.run()
    with pytest.raises(Conflict, match="acme is failed; only hibernated tenants can be woken"):
        await world.wake()
    with pytest.raises(Conflict, match="acme is failed; only active tenants can be put to sleep"):
        await world.sleep()


async def test_who_decided_on_another_state_puts_nobody_to_sleep() -> None:
    world = await new_world()
    decided_on = await world.active()
    world.clock.advance(1)
    await world.worker.change_policy.change(ACME, PolicyOverride(exempt=True), "operator")
    with pytest.raises(Conflict, match="acme was changed after it was decided on"):
        await world.worker.sleep.sleep(ACME, PORTAL, world.workflows, unless_changed=decided_on)
    await world.worker.sleep.sleep(ACME, PORTAL, world.workflows, unless_changed=await world.tenant())
    await assert_ended(world, TenantState.HIBERNATED, OperationState.SUCCEEDED)


async def test_a_wake_is_not_disturbed_by_a_sleep() -> None:
    world = await new_world()
    await world.asleep()
    operation = await world.wake()
    with pytest.raises(Conflict, match=operation.id):
        await world.sleep()
    await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)


async def test_a_tenant_that_sleeps_can_be_deleted() -> None:
    world = await new_world()
    await world.asleep()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await assert_ended(world, TenantState.DELETED, OperationState.SUCCEEDED)
    assert (await world.cluster()).instances == 0


async def test_a_lost_orchestration_is_started_again() -> None:
    world = await new_world(workers=2)
    for begin, state in ((world.sleep, TenantState.HIBERNATED), (world.wake, TenantState.ACTIVE)):
        if state is TenantState.HIBERNATED:
            await world.active()
        await begin()
        world.workflows.running.clear()
        world.clock.advance(61)
        assert await world.timers() == 1
        await assert_ended(world, state, OperationState.SUCCEEDED)


async def test_a_wake_of_a_dead_cluster_waits_for_it() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    before = await world.asleep()
    world.kubernetes[before.cluster].away = Unreachable("away")
    await world.timers()
    await world.timers()
    await world.wake()
    await world.run(until=world.clock.monotonic() + 60)
    await world.timers()
    assert (await world.tenant()).is_on(before.cluster, before.instance)
    world.kubernetes[before.cluster].away = None
    await world.timers()
    operation = await assert_ended(world, TenantState.ACTIVE, OperationState.SUCCEEDED)
    assert operation.kind is OperationKind.WAKE


async def test_a_keyed_wake_survives_the_end_of_a_hibernation() -> None:
    world = await new_world(workers=2)
    await world.active()
    await world.sleep()
    stall = world.worker.faults.stall_next("get tenants", after=True)
    wake = asyncio.create_task(world.worker.wake.wake(ACME, KEYED, world.workflows))
    await asyncio.wait_for(stall.reached.wait(), 5)
    both, world.workers = world.workers, world.workers[1:]
    await world.run()  # the hibernation ends meanwhile
    world.workers = both
    stall.release()
    begun = await wake
    assert isinstance(begun, Operation)
    assert begun.kind is OperationKind.WAKE
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_a_wake_waits_for_its_cluster() -> None:
    world = await new_world()
    before = await world.asleep()
    world.kubernetes[before.cluster].away = Unreachable("away")
    for _ in range(2):
        await world.timers()  # the second failed check opens the breaker
    world.clock.advance(10)
    await world.wake()
    await world.run(until=world.clock.monotonic() + 1200)
    assert (await world.tenant()).state is TenantState.WAKING
    world.kubernetes[before.cluster].away = None
    world.clock.advance(60)
    await world.timers()
    world.clock.advance(60)
    await world.timers()
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_slot_that_is_given_back_late_leaves_no_share() -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    slow, other = world.workers
    late = slow.faults.stall_next("transact clusters")
    waiting = asyncio.create_task(world.do(Activity.AWAIT, operation))
    await late.reached_or_done(waiting)
    assert (await world.tenant()).state is TenantState.ACTIVE  # and its slot is not given back yet
    sleeping = await world.sleep(worker=1)
    stall = other.faults.stall_next("transact clusters")
    stopping = asyncio.create_task(world.do(Activity.STOP, sleeping, worker=1))
    await stall.reached_or_done(stopping)
    late.release()
    await waiting
    stall.release()
    await stopping
    world.workflows.running.clear()
    assert await violations(world) == []
