"""Waiting for a tenant: what ends the wait, and what a late repeat of it must not do."""

from shared.domain.lifecycle import TenantState
from shared.domain.workflow import Activity, Verdict
from tests.support.world import new_world, violations


async def test_a_tenant_that_is_ready_becomes_active() -> None:
    world = await new_world()
    tenant = await world.active()
    assert tenant.state is TenantState.ACTIVE
    assert tenant.observed is not None
    assert tenant.observed.ready
    assert await violations(world) == []


async def test_what_cannot_start_fails_and_is_removed() -> None:
    world = await new_world()
    tenant = await world.active(version="missing-1")
    assert tenant.state is TenantState.FAILED
    assert "cannot be pulled" in tenant.operation.reason
    assert await violations(world) == []


async def test_a_tenant_that_is_never_ready_fails_in_time() -> None:
    world = await new_world()
    tenant = await world.active(version="never-ready-1")
    assert tenant.operation.reason.startswith("not ready after 300 s: ")
    assert 300 <= tenant.operation.total_seconds <= 310
    assert await violations(world) == []


async def test_a_late_repeat_never_revives_a_failed_tenant() -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    cluster = next(iter(world.kubernetes.values()))
    [namespace] = cluster.namespaces.values()
    namespace.held = True
    assert (await world.do(Activity.REMOVE, operation, reason="too slow")).verdict is Verdict.RETRY
    assert (await world.do(Activity.AWAIT, operation, worker=1)).verdict is Verdict.FAILED
    namespace.held = False
    assert (await world.do(Activity.REMOVE, operation, reason="too slow")).verdict is Verdict.DONE
    assert (await world.tenant()).state is TenantState.FAILED
    assert await violations(world) == []
