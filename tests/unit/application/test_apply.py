"""Placing and applying: what a repeat, a cancellation and an error leave behind."""

import asyncio

import pytest

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.domain.clusters import ClusterName, ClusterState
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Verdict, Work
from shared.errors import NoRoom, Permanent, Transient
from tests.support.builders import TENANT_SETTINGS, new_cluster
from tests.support.by_hand import FakeByHand
from tests.support.world import World, new_world, violations

ONE = ClusterName("one")


async def apply_stalled_after_objects(world: World) -> None:
    """Apply `acme`, and cancel it after its objects are there but before the activity reads the tenant again."""
    operation = await world.sign_up()
    world.worker.faults.reset()
    stall = world.worker.faults.stall(await call_of_apply())
    late = asyncio.create_task(world.do(Activity.APPLY, operation))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await world.cancel(operation, worker=1)
    stall.release()
    outcome = await late
    assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, "cancelled")


async def call_of_apply() -> int:
    """Return the number of the call that applies the objects."""
    world = await new_world()
    operation = await world.sign_up()
    world.worker.faults.reset()
    await world.do(Activity.APPLY, operation)
    return world.worker.faults.calls.index("apply") + 1


async def test_applying_again_changes_nothing() -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    for worker in (0, 1, 0):
        assert (await world.do(Activity.APPLY, operation, worker=worker)).verdict is Verdict.DONE
    cluster = await world.cluster()
    assert (cluster.allocated, cluster.starting) == (1, 1)
    assert await violations(world, at_rest=False) == []


async def test_the_steps_tell_what_is_going_on() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    recorded = (await world.tenant()).operation
    assert recorded.step(StepName.PLACE).finished_at is not None
    assert recorded.step(StepName.APPLY).message == "applying the tenant's objects on one"
    assert (recorded.cluster, recorded.percent) == ("one", 50)


async def test_an_ended_operation_is_not_applied() -> None:
    world = await new_world()
    tenant = await world.active()
    assert (await world.do(Activity.APPLY, tenant.operation)).verdict is Verdict.ENDED
    for slug, operation_id in (("nobody", tenant.operation.id), ("acme", OperationId("acme.another"))):
        work = Work(Slug(slug), operation_id)
        for activity in world.worker.activities.values():
            assert (await activity.run(work, world.workflows)).verdict is Verdict.ENDED


async def test_a_cancelled_operation_is_not_applied() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.cancel(operation)
    outcome = await world.do(Activity.APPLY, operation)
    assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, "cancelled")
    assert world.kubernetes[ONE].namespaces == {}


async def test_objects_of_a_cancelled_operation_are_removed() -> None:
    world = await new_world(workers=2)
    await apply_stalled_after_objects(world)
    assert world.kubernetes[ONE].namespaces == {}
    await world.run()
    assert (await world.tenant()).state is TenantState.FAILED
    assert await violations(world) == []


async def test_a_wrong_template_fails_with_its_sentence() -> None:
    world = await new_world()
    world.templates.error = Permanent("template 50-workload.yaml is wrong")
    tenant = await world.active()
    assert (tenant.state, tenant.operation.reason) == (TenantState.FAILED, "template 50-workload.yaml is wrong")
    assert await violations(world) == []


async def test_a_refused_apply_fails_with_its_sentence() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.worker.faults.away = lambda name: Permanent("forbidden: quota") if name == "apply" else None
    outcome = await world.do(Activity.APPLY, operation)
    assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, "forbidden: quota")
    await world.run()
    assert (await world.tenant()).operation.reason == "forbidden: quota"
    assert await violations(world) == []


async def test_a_cluster_that_is_away_is_tried_again() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.kubernetes[ONE].away = Transient("the API server does not respond", 7.0)
    world.clock.advance(3)
    outcome = await world.do(Activity.APPLY, operation)
    assert (outcome.verdict, outcome.wait) == (Verdict.RETRY, 7.0)
    recorded = (await world.tenant()).operation
    assert recorded.step(StepName.APPLY).message == "the API server does not respond"
    assert recorded.heartbeat_at == world.clock.now()
    world.kubernetes[ONE].away = None
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_tables_that_are_away_are_tried_again() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.worker.faults.away = lambda _: Transient("the tables do not respond")
    outcome = await world.do(Activity.APPLY, operation)
    assert (outcome.verdict, outcome.reason, outcome.wait) == (Verdict.RETRY, "the tables do not respond", 1.0)


async def test_a_cluster_away_for_too_long_fails_the_tenant() -> None:
    world = await new_world()
    await world.sign_up()
    world.kubernetes[ONE].away = Transient("the API server does not respond")
    await world.run(until=400.0)
    assert (await world.tenant()).operation.is_open  # nothing may be left behind, so its removal is retried
    world.kubernetes[ONE].away = None
    await world.run()
    tenant = await world.tenant()
    assert tenant.operation.reason == "not ready after 300 s: the API server does not respond"
    assert await violations(world) == []


async def test_the_emptiest_cluster_is_taken() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    first, second = await world.active("first"), await world.active("second")
    assert (first.cluster, second.cluster) == ("one", "two")
    assert await violations(world) == []


@pytest.mark.parametrize("state", ClusterState)
async def test_a_cordon_holds_from_its_response_on(state: ClusterState) -> None:
    world = await new_world(workers=2)
    await world.workers[1].registry.change(ONE, state=state, capacity=None)
    if state is ClusterState.OPEN:
        assert await world.sign_up()
        return
    with pytest.raises(NoRoom, match="every cluster of region local is cordoned"):
        await world.sign_up()


async def test_room_that_was_just_taken_is_not_given_twice() -> None:
    world = await new_world(workers=2, clusters=[new_cluster(capacity=1)])
    signups = (world.sign_up(slug, worker=worker) for worker, slug in enumerate(("first", "second")))
    results = await asyncio.gather(*signups, return_exceptions=True)
    assert [isinstance(each, NoRoom) for each in results].count(True) == 1
    await world.run()
    assert await violations(world) == []


async def test_a_free_slot_elsewhere_is_taken_first() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", capacity=5)], max_concurrent=1)
    operations = [await world.sign_up(slug) for slug in ("first", "second", "third", "fourth")]
    assert [(await world.tenant(each.slug)).cluster for each in operations] == ["one", "two", "one", "two"]
    assert list(world.workflows.running) == [operations[0].id, operations[1].id]
    await world.run()
    assert await violations(world) == []


async def test_a_lost_namespace_fails_the_wait() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    del world.kubernetes[ONE].namespaces[namespace_name((await world.tenant()).instance)]
    assert (await world.do(Activity.AWAIT, operation)).verdict is Verdict.FAILED
    await world.run()
    assert await violations(world) == []


async def test_an_object_of_others_is_a_clear_failure() -> None:
    world = await new_world()
    operation = await world.sign_up()
    namespace = namespace_name((await world.tenant()).instance)
    by_hand = FakeByHand(world.kubernetes[ONE])
    await by_hand.create(namespace, {OWNER: TENANT_SETTINGS.owner, INSTANCE: (await world.tenant()).instance})
    await by_hand.create_in(namespace, [{"kind": "ConfigMap", "metadata": {"name": "tenant", "namespace": namespace}}])
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.FAILED, operation.id)
    assert f"the ConfigMap tenant in {namespace} is not this berth's" in tenant.operation.reason
    assert await violations(world) == []


async def test_a_namespace_of_others_is_a_clear_failure() -> None:
    world = await new_world()
    operation = await world.sign_up()
    namespace = namespace_name((await world.tenant()).instance)
    cluster = world.kubernetes[ONE]
    await FakeByHand(cluster).create(namespace, {OWNER: "other"})
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.FAILED, operation.id)
    assert f"the namespace {namespace} is not this berth's" in tenant.operation.reason
    assert list(cluster.namespaces) == [namespace]
    assert (await world.cluster()).allocated == 0
