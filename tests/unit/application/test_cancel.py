"""Cancelling: an open provisioning ends, and what it made is removed."""

import pytest

from shared.application.cancel import MAX_TRIES
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Conflict, NotFound
from tests.support.world import PORTAL, new_world, violations


@pytest.mark.parametrize("done", [[], [Activity.APPLY]])
async def test_a_cancelled_signup_leaves_nothing(done: list[Activity]) -> None:
    world = await new_world()
    operation = await world.sign_up()
    for activity in done:
        await world.do(activity, operation)
    asked = await world.worker.cancel.cancel(operation.id, PORTAL)
    assert asked.cancel_requested
    assert (await world.worker.cancel.cancel(operation.id, PORTAL)).cancel_requested  # asking again is safe
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.FAILED, OperationState.CANCELLED)
    assert tenant.operation.reason == "cancelled"
    assert await violations(world) == []


async def test_what_has_ended_cannot_be_cancelled() -> None:
    world = await new_world()
    tenant = await world.active()
    with pytest.raises(Conflict, match="has succeeded already"):
        await world.worker.cancel.cancel(tenant.operation.id, PORTAL)


async def test_a_deletion_cannot_be_cancelled() -> None:
    world = await new_world()
    await world.active()
    deletion = await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    with pytest.raises(Conflict, match="of the kind delete cannot be cancelled"):
        await world.worker.cancel.cancel(deletion.id, PORTAL)


async def test_an_unknown_operation_is_not_found() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await world.worker.cancel.cancel("acme.00000000000000000000", PORTAL)


async def test_cancelling_stops_after_bounded_conflicts() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.worker.faults.away = lambda name: Conflict("changed") if name == "transact tenants" else None
    with pytest.raises(Conflict, match="changing too fast"):
        await world.worker.cancel.cancel(operation.id, PORTAL)
    assert sum(name == "transact tenants" for name in world.worker.faults.calls) <= MAX_TRIES + 1
