"""Cancelling: what it ends at each step, and what it must not touch."""

import asyncio

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation, OperationState, StepState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Verdict
from shared.errors import BerthError, Conflict, NotFound
from tests.support.faults import Stall
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")


async def cancel(world: World, operation: Operation, *, worker: int = 0) -> Operation:
    return await world.cancel(operation, worker=worker)


async def assert_cancelled(world: World) -> None:
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.state) == (TenantState.FAILED, OperationState.CANCELLED)
    assert all(step.state not in (StepState.RUNNING, StepState.PENDING) for step in tenant.operation.steps)
    assert await violations(world) == []


async def test_a_signup_that_has_not_begun_can_be_cancelled() -> None:
    world = await new_world()
    operation = await world.sign_up()
    assert (await cancel(world, operation)).cancel_requested
    await assert_cancelled(world)
    assert (await world.tenant()).operation.reason == "cancelled"


async def test_a_queued_tenant_can_be_cancelled() -> None:
    world = await new_world(max_concurrent=1)
    await world.sign_up("first")
    operation = await world.sign_up()
    assert operation.orchestration_id not in world.workflows.running
    await cancel(world, operation)
    await assert_cancelled(world)


async def test_an_applied_tenant_can_be_cancelled() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    await cancel(world, operation)
    await assert_cancelled(world)


async def test_a_waiting_tenant_can_be_cancelled() -> None:
    world = await new_world()
    operation = await world.sign_up(version="never-ready-1")
    await world.run(steps=3)
    assert (await world.tenant()).operation.is_open
    await cancel(world, operation)
    await assert_cancelled(world)
    assert (await world.tenant()).operation.total_seconds < 120


async def test_a_compensated_operation_can_be_cancelled() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    [namespace] = world.kubernetes[next(iter(world.kubernetes))].namespaces.values()
    namespace.held = True
    assert (await world.do(Activity.REMOVE, operation, reason="too slow")).verdict is Verdict.RETRY
    await cancel(world, operation)
    namespace.held = False
    await assert_cancelled(world)
    assert (await world.tenant()).operation.reason == "too slow"


async def test_cancelling_again_changes_nothing() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await cancel(world, operation)
    before = await world.tenant()
    assert (await cancel(world, operation)).id == operation.id
    assert await world.tenant() == before
    await assert_cancelled(world)
    assert (await cancel(world, operation)).state is OperationState.CANCELLED


async def test_a_deletion_cannot_be_cancelled() -> None:
    world = await new_world()
    await world.active()
    operation = await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    with pytest.raises(Conflict, match="of the kind delete cannot be cancelled"):
        await cancel(world, operation)
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED


async def test_an_ended_operation_cannot_be_cancelled() -> None:
    world = await new_world()
    tenant = await world.active()
    with pytest.raises(Conflict, match="has succeeded already"):
        await cancel(world, tenant.operation)
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    with pytest.raises(Conflict, match="has succeeded already"):  # nor the one before the present one
        await cancel(world, tenant.operation)


async def test_an_unknown_operation_takes_no_key() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await world.worker.cancel.cancel("acme.unknown", PORTAL, world.workflows)
    assert "idempotency" not in world.storage.rows


async def stalled_cancellation(number: int) -> tuple[World, Operation, Stall, asyncio.Task[Operation]]:
    """Return a world whose second worker cancels an operation and stalls before its call of that number."""
    world = await new_world(workers=2)
    operation = await world.sign_up()
    world.workers[1].faults.reset()
    stall = world.workers[1].faults.stall(number)
    late = asyncio.create_task(cancel(world, operation, worker=1))
    await stall.reached_or_done(late)
    return world, operation, stall, late


async def test_a_cancellation_stands_among_progress_writes() -> None:
    for number in range(1, 8):
        world, operation, stall, late = await stalled_cancellation(number)
        await world.do(Activity.APPLY, operation)
        stall.release()
        assert (await late).cancel_requested
        await assert_cancelled(world)


async def test_what_ends_meanwhile_is_not_marked_as_cancelled() -> None:
    for number in range(1, 4):
        world, _, stall, late = await stalled_cancellation(number)
        both, world.workers = world.workers, world.workers[:1]
        await world.run()
        world.workers = both
        ended = (await world.tenant()).operation
        stall.release()
        if ended.state is OperationState.SUCCEEDED:
            with pytest.raises(Conflict, match="has succeeded already"):
                await late
        assert (await world.tenant()).operation == ended, f"stalled at call {number}"


async def test_writes_that_never_stop_refuse_a_cancellation() -> None:
    world = await new_world()
    operation = await world.sign_up()
    left = 9

    def busy(name: str) -> BerthError | None:
        nonlocal left
        if name != "transact tenants" or left == 0:
            return None
        left -= 1
        return Conflict("the row was changed")

    world.worker.faults.away = busy
    assert (await cancel(world, operation)).cancel_requested
    world = await new_world()
    operation = await world.sign_up()
    left = 10
    world.worker.faults.away = busy
    with pytest.raises(Conflict, match="changing too fast"):
        await cancel(world, operation)
    assert not (await world.tenant()).operation.cancel_requested


async def test_a_queued_tenant_is_cancelled_with_the_hub_away() -> None:
    for again in (False, True):
        world = await new_world(max_concurrent=1)
        await world.sign_up("first", version="never-ready-1")
        operation = await world.sign_up()
        world.workflows.away = True
        await cancel(world, operation)
        world.workflows.away = False
        if again:
            await cancel(world, operation)
        else:
            world.clock.advance(61)
            await world.timers()
        await world.run(until=world.clock.monotonic() + 30)
        assert (await world.tenant()).operation.state is OperationState.CANCELLED


async def test_the_operation_of_a_former_owner_is_not_there() -> None:
    world = await new_world()
    former = await world.sign_up()
    await world.cancel(former)
    await world.run()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    world.clock.advance(1)
    await world.sign_up()
    with pytest.raises(NotFound):
        await world.cancel(former)
