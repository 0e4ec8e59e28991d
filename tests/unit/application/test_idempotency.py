"""Idempotency keys: the same request gives the same operation, however often and wherever it is sent."""

import asyncio
from datetime import timedelta

import pytest

from shared.application.idempotent_start import Caller
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.errors import Conflict, KeyReused, Transient
from tests.support.world import new_world

CALLER = Caller("portal", "key-1", "a signup of acme")


async def test_the_same_key_gives_the_same_operation() -> None:
    world = await new_world(workers=2)
    sent = await asyncio.gather(*(world.sign_up("acme", CALLER, worker=number % 2) for number in range(50)))
    assert len({operation.id for operation in sent}) == 1
    await world.run()
    again = await world.sign_up("acme", CALLER)
    assert (again.id, again.is_open) == (sent[0].id, False)


async def test_another_request_with_the_key_is_refused() -> None:
    world = await new_world()
    await world.sign_up("acme", CALLER)
    with pytest.raises(KeyReused):
        await world.sign_up("other", Caller("portal", "key-1", "a signup of other"))


async def test_a_refused_request_can_be_sent_again() -> None:
    world = await new_world()
    await world.sign_up("acme")
    with pytest.raises(Conflict):
        await world.sign_up("acme", CALLER)
    await world.run()
    await world.worker.delete.delete(Slug("acme"), Caller("portal"), world.workflows)
    await world.run()
    world.clock.advance(timedelta(days=31).total_seconds())
    assert (await world.sign_up("acme", CALLER)).slug == "acme"


async def test_a_key_is_forgotten_after_a_day() -> None:
    world = await new_world()
    await world.sign_up("acme", CALLER)
    world.clock.advance(timedelta(hours=24, seconds=1).total_seconds())
    other = await world.sign_up("other", Caller("portal", "key-1", "a signup of other"))
    assert other.slug == "other"


async def test_a_request_that_broke_off_is_continued() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Transient("away") if name == "transact tenants" else None
    with pytest.raises(Transient):
        await world.sign_up("acme", CALLER)  # the key was taken, and the tenant was not written
    world.worker.faults.reset()
    operation = await world.sign_up("acme", CALLER)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.ACTIVE, operation.id)


async def test_a_lost_response_gives_the_same_operation() -> None:
    for number in range(1, 8):
        world = await new_world()
        world.worker.faults.lose(number)
        first = await world.sign_up("acme", CALLER)
        assert (await world.sign_up("acme", CALLER)).id == first.id
