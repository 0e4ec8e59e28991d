"""Retrying a failed tenant."""

from dataclasses import replace
from typing import Any

import pytest

from shared.application.ports.tenants import TenantFilter
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Conflict, NoRoom, NotFound, QueueFull
from tests.support.world import PORTAL, Caller, World, new_world, violations

ACME = Slug("acme")


async def failed(**provisioning: Any) -> World:
    """Return a world whose tenant `acme` has failed."""
    world = await new_world(workers=2, **provisioning)
    await world.active(version="missing-1")
    assert (await world.tenant()).state is TenantState.FAILED
    world.clock.advance(2)
    return world


async def test_a_failed_tenant_gets_a_new_instance() -> None:
    world = await failed()
    before = await world.tenant()
    operation = await world.worker.retry.retry(ACME, "2.0.0", PORTAL, world.workflows)
    assert (await world.tenant()).instance not in ("", before.operation.instance)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.version, tenant.operation.id) == (TenantState.ACTIVE, "2.0.0", operation.id)
    assert (tenant.email, tenant.created_at) == (before.email, before.created_at)
    assert (await world.worker.tenants.get_operation(before.operation.id)).state is OperationState.FAILED
    assert await violations(world) == []


async def test_a_retry_without_a_version_keeps_it() -> None:
    world = await failed()
    await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.version) == (TenantState.FAILED, "missing-1")


async def test_a_plan_that_is_gone_refuses_a_retry() -> None:
    world = await failed()
    stored = await world.worker.tenants.get(ACME)
    await world.worker.tenants.save(stored.with_value(replace(stored.value, plan="gold")))
    with pytest.raises(NoRoom, match="there is no plan gold any more"):
        await world.worker.retry.retry(ACME, "1.0.0", PORTAL, world.workflows)
    page = await world.worker.tenants.list(TenantFilter(plan="gold"), limit=9, token="")
    assert [each.state for each in page.items] == [TenantState.FAILED]
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    assert await violations(world) == []


async def test_an_active_tenant_cannot_be_retried() -> None:
    world = await new_world()
    await world.active()
    with pytest.raises(Conflict, match="acme is active; only failed tenants can be retried"):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)


async def test_a_busy_tenant_cannot_be_retried() -> None:
    world = await new_world()
    operation = await world.sign_up()
    with pytest.raises(Conflict, match=operation.id):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)


async def test_who_is_not_there_cannot_be_retried() -> None:
    world = await failed()
    with pytest.raises(NotFound):
        await world.worker.retry.retry(Slug("nobody"), "", PORTAL, world.workflows)
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    with pytest.raises(NotFound, match="tenant acme was deleted"):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)


async def test_a_full_queue_refuses_a_retry() -> None:
    world = await failed(max_concurrent=1, max_queued=0)
    await world.do(Activity.APPLY, await world.sign_up("other"))
    with pytest.raises(QueueFull):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)
    assert (await world.tenant()).state is TenantState.FAILED


async def test_a_retry_sent_again_is_the_same_one() -> None:
    world = await failed()
    caller = Caller("portal", "key-1", "retry")
    first = await world.worker.retry.retry(ACME, "2.0.0", caller, world.workflows)
    assert (await world.workers[1].retry.retry(ACME, "2.0.0", caller, world.workflows)).id == first.id
    await world.run()
    assert (await world.workers[1].retry.retry(ACME, "2.0.0", caller, world.workflows)).id == first.id
    assert world.workflows.started.count(first.id) == 1


async def test_a_late_call_of_the_failed_operation_harms_nothing() -> None:
    world = await failed()
    await world.worker.retry.retry(ACME, "2.0.0", PORTAL, world.workflows)
    for call in list(world.delivered):
        await world.deliver_again(call, worker=1)
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []
