"""An activity that stalls anywhere while its operation ends elsewhere, and the next one begins: it harms nothing."""

import asyncio
from contextlib import suppress

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Conflict, Unreachable
from tests.support.before_activity import PROVISIONING, SLEEPING, Situation, before, calls_of, name_of
from tests.support.builders import new_cluster
from tests.support.world import PORTAL, new_world, violations

ACME = Slug("acme")
APPLY = PROVISIONING[0]


@pytest.mark.parametrize("then", ["rest", "retry", "retry and delete"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("situation", PROVISIONING, ids=name_of)
async def test_a_late_activity_harms_nothing(situation: Situation, after: bool, then: str) -> None:
    for number in range(1, await calls_of(situation) + 1):
        world = await before(situation)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(situation.activity, operation, reason=situation.reason))
        await asyncio.wait_for(stall.reached.wait(), 5)

        # Meanwhile the other worker ends the operation, and runs the next ones.
        both, world.workers = world.workers, world.workers[1:]
        world.workflows.running.pop(operation.id)
        await world.do(Activity.REMOVE, operation, reason="too slow")
        expected = {TenantState.FAILED, TenantState.ACTIVE}  # active if the late one had ended it already
        if then != "rest" and (await world.tenant()).state is TenantState.FAILED:
            await world.worker.retry.retry(ACME, "", PORTAL, world.workflows)
            await world.run()
            expected = {TenantState.ACTIVE}
        if then == "retry and delete":
            await world.worker.delete.delete(ACME, PORTAL, world.workflows)
            await world.run()
            expected = {TenantState.DELETED}
        stall.release()
        await late
        world.workers = both
        await world.run()
        assert (await world.tenant()).state in expected, f"stalled at call {number}"
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("then", ["rest", "other", "both", "cancel", "delete"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("situation", SLEEPING, ids=name_of)
async def test_a_late_stop_or_start_harms_nothing(situation: Situation, after: bool, then: str) -> None:
    for number in range(1, await calls_of(situation) + 1):
        world = await before(situation)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(situation.activity, operation, reason=situation.reason))
        await asyncio.wait_for(stall.reached.wait(), 5)

        # Meanwhile the other worker ends the operation, and runs the next ones.
        both, world.workers = world.workers, world.workers[1:]
        if then == "cancel":
            with suppress(Conflict):  # where it has ended
                await world.cancel(operation)
        await world.run()
        for _ in range(("other", "both").index(then) + 1 if then in ("other", "both") else 0):
            await (world.sleep if (await world.tenant()).state is TenantState.ACTIVE else world.wake)()
            await world.run()
        if then == "delete":
            await world.worker.delete.delete(ACME, PORTAL, world.workflows)
            await world.run()
        expected = (await world.tenant()).state
        assert expected in (TenantState.ACTIVE, TenantState.HIBERNATED, TenantState.DELETED)
        stall.release()
        await late
        world.workers = both
        await world.run()
        assert (await world.tenant()).state is expected, f"stalled at call {number}"
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("after", [False, True])
async def test_a_late_apply_leaves_an_active_tenant(after: bool) -> None:
    for number in range(1, await calls_of(APPLY) + 1):
        world = await before(APPLY)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(Activity.APPLY, operation))
        await asyncio.wait_for(stall.reached.wait(), 5)
        both, world.workers = world.workers, world.workers[1:]
        await world.run()
        assert (await world.tenant()).state is TenantState.ACTIVE
        stall.release()
        await late
        world.workers = both
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("after", [False, True])
async def test_a_late_apply_of_a_moved_tenant_leaves_nothing(after: bool) -> None:
    # After its last call all is applied; if the cluster is lost then, that is an orphan, which reconciliation finds.
    for number in range(1, await calls_of(APPLY) + (0 if after else 1)):
        world = await new_world(workers=2, clusters=[new_cluster(), new_cluster("two")])
        operation = await world.sign_up()
        one = world.kubernetes[ClusterName("one")]
        world.worker.faults.reset()
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(Activity.APPLY, operation))
        await asyncio.wait_for(stall.reached.wait(), 5)
        both, world.workers = world.workers, world.workers[1:]
        one.away = Unreachable("the API server cannot be reached")
        await world.run()
        assert (await world.tenant()).cluster == "two"
        one.away = None
        stall.release()
        await late
        world.workers = both
        await world.run()
        assert (await world.tenant()).state is TenantState.ACTIVE
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("then", ["rest", "deleted", "new owner"])
async def test_a_late_move_goes_on_with_nobody_else(then: str) -> None:
    for number in range(1, 40):
        world = await new_world(workers=2, max_concurrent=1)
        operation = await world.sign_up()
        held = await world.tenant()
        await world.worker.reservations.release(held.cluster, held.instance)  # so that it is moved
        world.worker.faults.reset()
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.do(Activity.APPLY, operation))
        await stall.reached_or_done(late)
        if late.done():
            break
        both, world.workers = world.workers, world.workers[1:]
        world.workflows.running.clear()
        await world.do(Activity.REMOVE, operation, reason="too slow")
        if then != "rest":
            await world.worker.delete.delete(ACME, PORTAL, world.workflows)
            await world.run()
        if then == "new owner":
            await world.sign_up("other")  # takes the only slot
            await world.sign_up(email="next@example.com")
        before = await world.tenant()
        stall.release()
        await late
        after = await world.tenant()
        assert (after.state, after.operation.state) == (before.state, before.operation.state), number
        world.workers = both
        await world.run()
        assert await violations(world) == [], number
