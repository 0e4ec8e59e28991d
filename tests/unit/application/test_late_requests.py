"""A request that is held up at any of its calls while the same one, or others, are done elsewhere."""

import asyncio
from contextlib import suppress

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.errors import BerthError
from tests.support.world import PORTAL, Caller, World, new_world, violations

ACME = Slug("acme")
KEYED = Caller("portal", "key-1", "request")
MAX_CALLS = 40


async def failed() -> World:
    """Return a world with two workers whose tenant has failed."""
    world = await new_world(workers=2)
    await world.active(version="missing-1")
    for each in world.workers:
        each.faults.reset()
    return world


async def delete(world: World, caller: Caller = PORTAL) -> None:
    await world.worker.delete.delete(ACME, caller, world.workflows)
    await world.run()


@pytest.mark.parametrize("caller", [PORTAL, KEYED])
async def test_a_late_deletion_spares_the_next_owner(caller: Caller) -> None:
    for number in range(1, MAX_CALLS):
        world = await failed()
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.worker.delete.delete(ACME, caller, world.workflows))
        await stall.reached_or_done(late)
        if late.done():
            break
        both, world.workers = world.workers, world.workers[1:]
        with suppress(BerthError):  # where the late one has recorded itself
            await delete(world, caller)
        await world.run()
        world.clock.advance(6)
        owner = await world.active(email="next@example.com")
        stall.release()
        with suppress(BerthError):
            await late
        world.workers = both
        await world.run()
        tenant = await world.tenant()
        assert (tenant.state, tenant.instance) == (TenantState.ACTIVE, owner.instance), number
        assert await violations(world) == []


async def test_a_late_retry_is_the_one_that_was_done() -> None:
    for number in range(1, MAX_CALLS):
        world = await failed()
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.worker.retry.retry(ACME, "", KEYED, world.workflows))
        await stall.reached_or_done(late)
        if late.done():
            break
        both, world.workers = world.workers, world.workers[1:]
        done = await world.worker.retry.retry(ACME, "", KEYED, world.workflows)
        await world.run()
        stall.release()
        assert (await late).id == done.id, number
        assert not (await world.tenant()).operation.is_open, number  # it is not done once more
        world.workers = both
        assert await violations(world) == []


async def test_a_late_wake_joins_the_one_of_another_request() -> None:
    for number in range(1, MAX_CALLS):
        world = await new_world(workers=2)
        await world.asleep()
        for each in world.workers:
            each.faults.reset()
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.wake())
        await stall.reached_or_done(late)
        if late.done():
            break
        other = await world.wake(worker=1)
        world.clock.advance(6)
        stall.release()
        assert (await late).id == other.id, number


async def test_a_late_signup_revives_no_deleted_tenant() -> None:
    for number in range(1, MAX_CALLS):
        world = await new_world(workers=2)
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.sign_up(caller=KEYED, version="missing-1"))
        await stall.reached_or_done(late)
        if late.done():
            break
        both, world.workers = world.workers, world.workers[1:]
        done = await world.sign_up(caller=KEYED, version="missing-1")
        await world.run()
        await delete(world)
        stall.release()
        assert (await late).id == done.id, number
        world.workers = both
        await world.run()
        assert (await world.tenant()).state is TenantState.DELETED, number
        assert await violations(world) == []


async def test_a_late_signup_sees_nothing_of_the_former_owner() -> None:
    for number in range(1, MAX_CALLS):
        world = await failed()
        stall = world.worker.faults.stall(number)
        late = asyncio.create_task(world.sign_up(caller=Caller("next", "key-2", "signup")))
        await stall.reached_or_done(late)
        if late.done():
            break
        both, world.workers = world.workers, world.workers[1:]
        world.clock.advance(1)
        former = await world.worker.delete.delete(ACME, Caller("former"), world.workflows)
        await world.run()
        stall.release()
        with suppress(BerthError):
            await late
            trail = await world.worker.history.audit(ACME, limit=100, token="")
            assert {each.actor for each in trail.items} == {"next"}, number
            with pytest.raises(BerthError):
                await world.worker.history.operation(former.id)
        world.workers = both
