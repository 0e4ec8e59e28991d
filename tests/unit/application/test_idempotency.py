"""Idempotency keys: the same request again gives the same operation again."""

import asyncio

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.errors import Conflict, KeyReused, NotFound, QueueFull, Transient
from tests.support.world import Caller, new_world, violations

ACME = Slug("acme")
SIGNUP = Caller("portal", "key-1", "signup")
OTHER = Caller("portal", "key-1", "other")
DAY = 24 * 3600.0


async def test_the_same_key_gives_the_same_operation() -> None:
    world = await new_world()
    first = await world.sign_up(caller=SIGNUP)
    again = await world.sign_up(caller=SIGNUP)
    assert again.id == first.id
    await world.run()
    ended = await world.sign_up(caller=SIGNUP)
    assert (ended.id, ended.is_open) == (first.id, False)
    assert len(world.workflows.started) == 1


async def test_concurrent_requests_are_one_operation() -> None:
    world = await new_world(workers=2)
    found = await asyncio.gather(*(world.sign_up(caller=SIGNUP, worker=number % 2) for number in range(50)))
    assert len({each.id for each in found}) == 1
    assert world.workflows.started == [found[0].id]
    await world.run()
    assert await violations(world) == []


async def test_another_request_with_the_key_is_refused() -> None:
    world = await new_world()
    await world.sign_up(caller=SIGNUP)
    with pytest.raises(KeyReused):
        await world.sign_up("other", caller=OTHER)
    with pytest.raises(NotFound):
        await world.tenant("other")


async def test_a_refused_request_can_be_sent_again() -> None:
    world = await new_world(max_concurrent=1, max_queued=0)
    await world.sign_up("first")
    with pytest.raises(QueueFull):
        await world.sign_up(caller=SIGNUP)
    await world.run()
    world.clock.advance(2)
    operation = await world.sign_up(caller=SIGNUP)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.operation.id, tenant.state) == (operation.id, TenantState.ACTIVE)


async def test_a_refusal_with_a_key_stays_a_refusal() -> None:
    world = await new_world()
    await world.sign_up()
    for _ in range(2):
        with pytest.raises(Conflict, match="this name is taken"):
            await world.sign_up(caller=SIGNUP)


async def test_a_key_expires_after_a_day() -> None:
    world = await new_world()
    first = await world.sign_up(caller=SIGNUP)
    world.clock.advance(DAY - 1)
    with pytest.raises(KeyReused):
        await world.sign_up("other", caller=OTHER)
    world.clock.advance(1)
    second = await world.sign_up("other", caller=OTHER)
    assert second.id != first.id
    assert (await world.sign_up("other", caller=OTHER)).id == second.id


async def test_a_request_that_broke_off_is_continued() -> None:
    world = await new_world(workers=2)
    world.worker.faults.away = lambda name: Transient("tables are away") if name == "transact tenants" else None
    with pytest.raises(Transient):
        await world.sign_up(caller=SIGNUP)
    [claim] = [row for row, _ in world.storage.rows["idempotency"].values() if "operation_id" in row]
    world.clock.advance(5)
    operation = await world.sign_up(caller=SIGNUP, worker=1)
    assert operation.id == claim["operation_id"]
    assert (await world.tenant()).operation.id == operation.id
    assert world.workflows.started == [operation.id]


async def test_a_deletion_sent_again_is_the_same_one() -> None:
    world = await new_world()
    await world.active()
    caller = Caller("portal", "key-2", "delete")
    first = await world.worker.delete.delete(ACME, caller, world.workflows)
    await world.run()
    again = await world.worker.delete.delete(ACME, caller, world.workflows)
    assert (again.id, again.is_open) == (first.id, False)


async def test_a_key_of_a_cancellation_is_its_own() -> None:
    world = await new_world()
    operation = await world.sign_up(caller=SIGNUP)
    with pytest.raises(KeyReused):
        await world.worker.cancel.cancel(operation.id, OTHER, world.workflows)
    assert not (await world.tenant()).operation.cancel_requested
