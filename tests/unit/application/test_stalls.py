"""An activity that stalls between any two of its calls while another worker runs the same one to its end."""

import asyncio

import pytest

from shared.domain.workflow import Activity
from tests.support.before_activity import before, calls_of
from tests.support.world import violations


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("activity", Activity)
async def test_a_stalled_activity_harms_nothing(activity: Activity, after: bool) -> None:
    count = await calls_of(activity)
    assert count > 3
    for number in range(1, count + 1):
        world, reason = await before(activity)
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
        world, reason = await before(activity)
        world.worker.faults.lose(number)
        await world.do(activity, (await world.tenant()).operation, reason=reason)
        await world.run()
        assert await violations(world) == [], f"lost response of call {number}"
