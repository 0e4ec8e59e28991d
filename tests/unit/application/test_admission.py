"""Admission: slots, the order of the queue, and refusals."""

import asyncio

import pytest

from shared.adapters.tables.keys import SHARDS
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.operations import Operation
from shared.domain.workflow import Activity, Verdict
from shared.errors import Conflict, QueueFull
from tests.support.builders import new_cluster
from tests.support.world import PORTAL, World, new_world, violations


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


async def test_waiting_tenants_share_one_poll_a_second() -> None:
    world = await new_world(max_concurrent=1)
    first, *waiting = [await world.sign_up(f"t-{number}") for number in range(6)]
    await world.do(Activity.APPLY, first)
    await world.do(Activity.APPLY, waiting[0])  # finds all slots in use
    world.clock.advance(1)
    world.worker.faults.reset()
    for operation in waiting:
        assert (await world.do(Activity.APPLY, operation)).verdict is Verdict.QUEUED
    assert world.worker.faults.calls.count("query tenants") == len(SHARDS)
    world.clock.advance(1)
    await world.do(Activity.APPLY, waiting[0])
    assert world.worker.faults.calls.count("query tenants") == 2 * len(SHARDS)


async def test_the_message_says_the_position() -> None:
    world = await new_world(max_concurrent=1)
    operations: list[Operation] = []
    for number in range(4):
        operations.append(await world.sign_up(f"t-{number}"))
        world.clock.advance(0.1)
    world.clock.advance(2)
    for operation in operations:
        await world.do(Activity.APPLY, operation)
    messages = [(await world.tenant(f"t-{number}")).operation.step(StepName.PLACE).message for number in range(1, 4)]
    assert messages == ["queued: position 1", "queued: position 2", "queued: position 3"]
    await world.do(Activity.AWAIT, operations[0])
    world.clock.advance(2)
    for operation in operations[2:]:
        assert (await world.do(Activity.APPLY, operation)).verdict is Verdict.QUEUED
    assert (await world.tenant("t-3")).operation.step(StepName.PLACE).message == "queued: position 2"


async def signed_up(world: World, count: int) -> int:
    """Return how many of a burst of signups are taken, when every worker gets its share of them at once."""
    signups = (world.sign_up(f"t-{number}", worker=number % len(world.workers)) for number in range(count))
    results = await asyncio.gather(*signups, return_exceptions=True)
    assert all(isinstance(each, Operation | QueueFull) for each in results)
    return sum(isinstance(each, Operation) for each in results)


async def test_a_burst_gets_the_slots_and_the_queue() -> None:
    world = await new_world(max_concurrent=2, max_queued=3)
    assert await signed_up(world, 30) == 5
    await world.run()
    assert await violations(world) == []


async def test_the_limit_of_a_burst_holds_per_worker() -> None:
    # Workers do not see each other's signups while those are being saved.
    world = await new_world(workers=2, max_concurrent=2, max_queued=3)
    assert 5 <= await signed_up(world, 60) <= 10
    world.clock.advance(1)
    with pytest.raises(QueueFull):
        await world.sign_up("late")
    await world.run()
    assert await violations(world) == []


async def test_refused_signups_count_for_nothing() -> None:
    world = await new_world(max_concurrent=1, max_queued=1)
    await world.sign_up("first")
    for _ in range(5):
        with pytest.raises(Conflict):
            await world.sign_up("first")
        world.clock.advance(1)
    await world.sign_up("second")
    with pytest.raises(QueueFull):
        await world.sign_up("third")


async def test_a_cancelled_tenant_leaves_the_queue() -> None:
    world = await new_world(max_concurrent=1, max_queued=1)
    first, second = await world.sign_up("first"), await world.sign_up("second")
    await world.do(Activity.APPLY, first)
    await world.worker.cancel.cancel(second.id, PORTAL)
    world.clock.advance(1)
    await world.sign_up("third")
    await world.run()
    assert (await world.tenant("third")).state is TenantState.ACTIVE
    assert await violations(world) == []
