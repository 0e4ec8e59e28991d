"""Which seed an instance's secret is derived from: that of its first apply, however the seeds are rotated."""

from dataclasses import replace

from shared.domain.instances import namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from tests.support.world import PORTAL, World, new_world, violations


async def secret(world: World) -> str:
    tenant = await world.tenant()
    objects = world.kubernetes[tenant.cluster].namespaces[namespace_name(tenant.instance)].objects
    return objects["Secret", "tenant"]["stringData"]["key"]


def rotate(world: World) -> None:
    world.templates.present_seed = "seed-2"


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
