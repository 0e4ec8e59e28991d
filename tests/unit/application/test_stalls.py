"""An activity that stalls between any two of its calls while another worker runs the same one to its end."""

import asyncio

import pytest

from shared.domain.workflow import Activity
from tests.support.world import World, new_world, violations


async def prepared(activity: Activity) -> tuple[World, str]:
    """Return a world whose tenant `acme` is about to have that activity, and why it failed, for a removal."""
    world = await new_world(workers=2)
    operation = await world.sign_up()
    if activity is not Activity.APPLY:
        await world.do(Activity.APPLY, operation)
    for worker in world.workers:
        worker.faults.reset()
    return world, "too slow" if activity is Activity.REMOVE else ""


async def calls_of(activity: Activity) -> int:
    world, reason = await prepared(activity)
    await world.do(activity, (await world.tenant()).operation, reason=reason)
    return len(world.worker.faults.calls)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("activity", Activity)
async def test_a_stalled_activity_harms_nothing(activity: Activity, after: bool) -> None:
    count = await calls_of(activity)
    assert count > 3
    for number in range(1, count + 1):
        world, reason = await prepared(activity)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(activity, operation, reason=reason))
        await asyncio.wait_for(stall.reached.wait(), 5)
        await world.do(activity, operation, worker=1, reason=reason)
        stall.release()
        await late
        await world.run()
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("activity", Activity)
async def test_a_lost_response_harms_nothing(activity: Activity) -> None:
    for number in range(1, await calls_of(activity) + 1):
        world, reason = await prepared(activity)
        world.worker.faults.lose(number)
        await world.do(activity, (await world.tenant()).operation, reason=reason)
        await world.run()
        assert await violations(world) == [], f"lost response of call {number}"
