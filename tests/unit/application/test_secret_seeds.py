"""Which seed an instance's secret is derived from: that of its first apply, however the seeds are rotated."""

from dataclasses import replace

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from tests.support.fake_namespace import replicas_of
from tests.support.world import PORTAL, World, new_world, violations

ONE = ClusterName("one")


async def secret(world: World) -> str:
    tenant = await world.tenant()
    objects = world.kubernetes[tenant.cluster].namespaces[namespace_name(tenant.instance)].objects
    return objects["Secret", "tenant"]["stringData"]["key"]


def rotate(world: World) -> None:
    world.templates.present_seed = "seed-2"


def lose(world: World) -> None:
    rotate(world)
    world.templates.lost_seeds = {"seed-1"}


async def test_a_wake_restores_the_secret_of_before() -> None:
    world = await new_world()
    await world.asleep()
    before = await secret(world)
    rotate(world)
    await world.wake()
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await secret(world) == before
    assert before.endswith("from seed-1")
    assert await violations(world) == []


async def test_two_attempts_of_a_signup_have_one_secret() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    before = await secret(world)
    rotate(world)
    await world.do(Activity.APPLY, operation)
    assert await secret(world) == before


async def test_a_new_instance_has_the_new_seed() -> None:
    world = await new_world()
    await world.sign_up(version="missing")
    await world.run()
    assert (await world.tenant()).seed_id == ""
    rotate(world)
    await world.worker.retry.retry(Slug("acme"), "1.0.0", PORTAL, world.workflows)
    await world.run()
    assert (await secret(world)).endswith("from seed-2")


async def test_an_instance_of_before_the_record_has_the_oldest() -> None:
    world = await new_world()
    await world.asleep()
    stored = await world.worker.tenants.get(Slug("acme"))
    await world.worker.tenants.save(stored.with_value(replace(stored.value, seed_id="")))
    rotate(world)
    await world.wake()
    await world.run()
    assert (await world.tenant()).seed_id == "seed-1"
    assert (await secret(world)).endswith("from seed-1")


async def test_a_tenant_without_its_seed_can_sleep_but_not_wake() -> None:
    world = await new_world()
    await world.active()
    lose(world)
    await world.sleep()
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state, tenant.replicas) == ("hibernated", "succeeded", {"product": 1})
    await world.wake()
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == ("hibernated", "failed")
    assert "the seed of this tenant's secret is not set: add it" in tenant.operation.reason
    world.templates.lost_seeds.clear()
    await world.wake()
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


@pytest.mark.parametrize("asleep", [False, True])
async def test_a_tenant_without_its_seed_can_be_deleted(asleep: bool) -> None:
    world = await new_world()
    await (world.asleep() if asleep else world.active())
    lose(world)
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED
    assert world.kubernetes[ONE].namespaces == {}
    assert await violations(world) == []


async def test_without_the_seed_a_hibernation_is_turned_round() -> None:
    world = await new_world()
    await world.active()
    before = await secret(world)
    lose(world)
    operation = await world.sleep()
    world.kubernetes[ONE].stop_seconds = 60
    await world.do(Activity.STOP, operation)
    await world.wake()
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == ("active", "cancelled")
    assert tenant.observed is not None
    assert tenant.observed.ready
    assert await secret(world) == before
    assert await violations(world) == []


async def test_without_the_seed_pods_and_route_are_repaired() -> None:
    world = await new_world()
    tenant = await world.active()
    before = await secret(world)
    lose(world)
    home = world.kubernetes[ONE].namespaces[namespace_name(tenant.instance)]
    await world.kubernetes[ONE].stop(namespace_name(tenant.instance))
    del home.objects[ROUTE, ROUTE_NAME]
    for _ in range(2):
        world.clock.advance(3600)
        await world.worker.reconciliation.run(world.workflows)
    assert replicas_of(home.objects["StatefulSet", "product"]) == 1
    assert (ROUTE, ROUTE_NAME) in home.objects
    assert await secret(world) == before
