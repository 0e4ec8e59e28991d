"""Deleting a tenant: from which states, and what is left."""

import asyncio

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.errors import Conflict, NotFound
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")


async def delete(world: World, slug: str = "acme", *, worker: int = 0) -> Operation:
    return await world.workers[worker].delete.delete(Slug(slug), PORTAL, world.workflows)


@pytest.mark.parametrize("version", ["1.0.0", "missing-1"])
async def test_an_active_or_failed_tenant_can_be_deleted(version: str) -> None:
    world = await new_world()
    await world.active(version=version)
    operation = await delete(world)
    assert (await world.tenant()).state is TenantState.DELETING
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.DELETED, operation.id)
    assert (await world.cluster()).allocated == 0
    assert await violations(world) == []


async def test_a_tombstone_holds_no_personal_data() -> None:
    world = await new_world()
    await world.active(email="marked@example.com", display_name="Marked")
    await delete(world)
    await world.run()
    rows = str(world.storage.rows)
    assert "marked@example.com" not in rows
    assert "Marked" not in rows


async def test_a_busy_tenant_cannot_be_deleted() -> None:
    world = await new_world()
    operation = await world.sign_up()
    with pytest.raises(Conflict, match=operation.id):
        await delete(world)
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_who_is_not_there_cannot_be_deleted() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await delete(world, "nobody")
    await world.active()
    await delete(world)
    await world.run()
    with pytest.raises(NotFound, match="tenant acme was deleted"):
        await delete(world)


async def test_one_of_many_deletions_begins() -> None:
    world = await new_world(workers=2)
    await world.active()
    results = await asyncio.gather(*(delete(world, worker=n % 2) for n in range(10)), return_exceptions=True)
    assert sum(isinstance(each, Operation) for each in results) == 1
    assert sum(isinstance(each, Conflict) for each in results) == 9
    await world.run()
    assert await violations(world) == []


async def test_a_late_call_of_the_provisioning_revives_nothing() -> None:
    world = await new_world(workers=2)
    await world.active()
    await delete(world)
    await world.run()
    for call in list(world.delivered):
        await world.deliver_again(call, worker=1)
    assert (await world.tenant()).state is TenantState.DELETED
    assert await violations(world) == []
