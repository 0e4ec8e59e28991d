"""An activity that stalls between any two of its calls while another worker runs the same one to its end."""

import asyncio

import pytest

from tests.support.before_activity import PROVISIONING, SLEEPING, Situation, before, calls_of, name_of
from tests.support.world import violations


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("situation", [*PROVISIONING, *SLEEPING], ids=name_of)
async def test_a_stalled_activity_harms_nothing(situation: Situation, after: bool) -> None:
    activity, reason = situation.activity, situation.reason
    count = await calls_of(situation)
    assert count > 3
    for number in range(1, count + 1):
        world = await before(situation)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(activity, operation, reason=reason))
        await asyncio.wait_for(stall.reached.wait(), 5)
        await world.do(activity, operation, worker=1, reason=reason)
        stall.release()
        await late
        await world.run()
        assert await violations(world) == [], f"stalled at call {number}"


@pytest.mark.parametrize("situation", [*PROVISIONING, *SLEEPING], ids=name_of)
async def test_a_lost_response_harms_nothing(situation: Situation) -> None:
    for number in range(1, await calls_of(situation) + 1):
        world = await before(situation)
        world.worker.faults.lose(number)
        await world.do(situation.activity, (await world.tenant()).operation, reason=situation.reason)
        await world.run()
        assert await violations(world) == [], f"lost response of call {number}"
