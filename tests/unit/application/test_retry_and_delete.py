"""Retrying and deleting a tenant: from which states, and what comes of it."""

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Verdict
from shared.errors import Conflict, NotFound, Permanent
from tests.support.world import PORTAL, new_world, violations

ACME = Slug("acme")


async def test_a_failed_tenant_gets_a_new_instance() -> None:
    world = await new_world()
    failed = await world.active(version="missing-1")
    assert (failed.state, failed.instance) == (TenantState.FAILED, "")
    await world.worker.retry.retry(ACME, "1.0.0", PORTAL, world.workflows)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.version) == (TenantState.ACTIVE, "1.0.0")
    assert tenant.instance not in ("", failed.operation.instance)
    assert await violations(world) == []


async def test_only_a_failed_tenant_can_be_retried() -> None:
    world = await new_world()
    await world.sign_up()
    with pytest.raises(Conflict, match="is busy: operation"):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)
    await world.run()
    with pytest.raises(Conflict, match="only a failed tenant can be retried"):
        await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)


async def test_what_is_not_there_is_not_found() -> None:
    world = await new_world()
    for call in (
        world.worker.retry.retry(ACME, "", PORTAL, world.workflows),
        world.worker.delete.delete(ACME, PORTAL, world.workflows),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_deleted_tenant_is_gone() -> None:
    world = await new_world()
    await world.active()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.email, tenant.instance) == (TenantState.DELETED, "", "")
    assert await violations(world) == []
    with pytest.raises(NotFound, match="was deleted"):
        await world.worker.delete.delete(ACME, PORTAL, world.workflows)


async def test_a_refused_removal_is_retried_with_its_reason() -> None:
    world = await new_world()
    await world.active()
    deletion = await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    cluster = next(iter(world.kubernetes.values()))
    cluster.away = Permanent("a policy forbids it")
    outcome = await world.do(Activity.REMOVE, deletion)
    assert (outcome.verdict, outcome.wait) == (Verdict.RETRY, 30)
    assert outcome.reason == "removal was refused: a policy forbids it"
    cluster.away = None
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.DELETED, OperationState.SUCCEEDED)
