"""Admission: slots, the order of the queue, and refusals."""

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.workflow import Activity, Verdict
from shared.errors import QueueFull
from tests.support.builders import new_cluster
from tests.support.world import new_world, violations


async def test_tenants_start_in_the_order_of_their_signup() -> None:
    world = await new_world(workers=2, max_concurrent=1)
    slugs = [f"t-{letter}" for letter in "dacb"]
    for slug in slugs:
        await world.sign_up(slug)
        world.clock.advance(2)
    await world.run()
    started = [(await world.tenant(slug)).operation.finished_at for slug in slugs]
    assert started == sorted(started, key=str)
    assert {(await world.tenant(slug)).state for slug in slugs} == {TenantState.ACTIVE}
    assert await violations(world) == []


async def test_a_tenant_without_a_slot_is_queued() -> None:
    world = await new_world(max_concurrent=1)
    first = await world.sign_up("first")
    world.clock.advance(2)
    second = await world.sign_up("second")
    assert (await world.do(Activity.APPLY, first)).verdict is Verdict.DONE
    outcome = await world.do(Activity.APPLY, second)
    assert (outcome.verdict, 1 <= outcome.wait <= 30) == (Verdict.QUEUED, True)
    tenant = await world.tenant("second")
    assert (tenant.cluster, tenant.operation.steps[0].message) == ("", "queued: position 1")
    await world.do(Activity.AWAIT, first)
    world.clock.advance(2)
    assert (await world.do(Activity.APPLY, second)).verdict is Verdict.DONE


async def test_a_full_queue_refuses_with_jitter(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = await new_world(max_concurrent=1, max_queued=1)
    for slug in ("one-1", "two-2"):
        await world.sign_up(slug)
    with pytest.raises(QueueFull) as refused:
        await world.sign_up("three-3")
    assert refused.value.retry_after is not None
    assert 30 <= refused.value.retry_after <= 60
    line = next(record.message for record in caplog.records if "refused" in record.message)
    assert "tenant=three-3" in line
    assert "operation=three-3." in line


async def test_a_full_region_fails_and_leaves_nothing() -> None:
    world = await new_world(clusters=[new_cluster(capacity=1)])
    await world.active("first")
    tenant = await world.active("second")
    assert (tenant.state, "is full" in tenant.operation.reason) == (TenantState.FAILED, True)
    assert await violations(world) == []
