"""Signing up: which slugs and regions are taken, and what is recorded before anything starts."""

import asyncio

import pytest

from shared.adapters.tables import keys, rows
from shared.adapters.tables.tenants import TABLE
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.errors import Conflict, Invalid, Transient
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")
DAY = 24 * 3600.0
ROW = keys.shard(ACME), keys.tenant_key(ACME)


async def deleted() -> World:
    """Return a world whose tenant `acme` was just deleted."""
    world = await new_world()
    await world.active()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    return world


async def test_an_unknown_region_is_invalid() -> None:
    world = await new_world()
    with pytest.raises(Invalid) as refused:
        await world.sign_up(region="mars")
    assert refused.value.errors == (("/region", "there is no such region; regions: local"),)
    assert world.workflows.started == []


async def test_an_unknown_plan_is_invalid() -> None:
    world = await new_world()
    with pytest.raises(Invalid) as refused:
        await world.sign_up(plan="gold")
    assert refused.value.errors == (("/plan", "there is no such plan; plans: trial, standard, business"),)
    assert world.workflows.started == []


async def test_a_taken_slug_is_refused() -> None:
    world = await new_world()
    await world.sign_up()
    with pytest.raises(Conflict, match="the slug acme is not free: this name is taken"):
        await world.sign_up()
    assert len(world.workflows.started) == 1


async def test_one_of_many_signups_gets_the_slug() -> None:
    world = await new_world(workers=2)
    results = await asyncio.gather(*(world.sign_up(worker=n % 2) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(each, Operation) for each in results) == 1
    assert sum(isinstance(each, Conflict) for each in results) == 19
    await world.run()
    assert await violations(world) == []


async def test_a_deleted_slug_stays_taken_in_quarantine() -> None:
    world = await deleted()
    world.clock.advance(30 * DAY - 60)
    with pytest.raises(Conflict, match="stays reserved until 2026-03-30"):
        await world.sign_up()
    assert (await world.tenant()).state is TenantState.DELETED


async def test_a_slug_that_was_never_active_is_free_at_once() -> None:
    world = await new_world()
    await world.sign_up(version="missing-1")
    await world.run()
    assert (await world.tenant()).state is TenantState.FAILED
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    assert await world.worker.signup.slug_problem("acme") is None
    await world.sign_up()
    assert (await world.tenant()).state is TenantState.PROVISIONING


async def test_a_tombstone_is_taken_over_after_quarantine() -> None:
    world = await deleted()
    world.clock.advance(30 * DAY)
    operation = await world.sign_up(email="next@example.com")
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.email, tenant.operation.id) == (TenantState.ACTIVE, "next@example.com", operation.id)
    assert tenant.quarantine_until is None
    assert await violations(world) == []


async def test_one_of_two_signups_takes_a_tombstone_over() -> None:
    world = await deleted()
    world.clock.advance(30 * DAY)
    results = await asyncio.gather(world.sign_up(), world.sign_up(), return_exceptions=True)
    assert [isinstance(each, Conflict) for each in results].count(True) == 1
    assert len(world.workflows.running) == 1


async def test_the_problem_of_a_slug_is_a_sentence() -> None:
    world = await new_world()
    problem = world.worker.signup.slug_problem
    assert "reserved" in str(await problem("admin"))
    assert "use 3 to 40 characters" in str(await problem("a"))
    assert await problem("acme") is None
    await world.active()
    assert await problem("acme") == "this name is taken"
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    assert await problem("acme") == "this name was in use and stays reserved until 2026-03-30"
    world.clock.advance(30 * DAY)
    assert await problem("acme") is None


@pytest.mark.parametrize(("asked", "expected"), [("", "1.0.0"), ("2.0.0", "2.0.0")])
async def test_a_signup_without_a_version_gets_the_default(asked: str, expected: str) -> None:
    world = await new_world()
    await world.sign_up(version=asked)
    assert (await world.tenant()).version == expected


async def test_nothing_starts_before_the_row_is_written() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Transient("tables are away") if name == "transact tenants" else None
    with pytest.raises(Transient):
        await world.sign_up()
    assert world.workflows.started == []


async def test_a_task_hub_that_is_away_loses_nothing() -> None:
    world = await new_world()
    world.workflows.away = True
    operation = await world.sign_up()
    assert (await world.tenant()).operation.id == operation.id
    assert world.workflows.started == []
    world.workflows.away = False
    world.clock.advance(60)
    assert await world.restart_lost() == 1
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.ACTIVE, operation.id)


async def test_a_row_of_a_newer_version_is_not_written_over() -> None:
    world = await new_world()
    await world.active()
    row, etag = world.storage.rows[TABLE][ROW]
    newer = {**row, "schema_version": rows.SCHEMA_VERSION + 1}
    world.storage.rows[TABLE][ROW] = newer, etag
    with pytest.raises(Transient, match="written by another version of berth"):
        await world.sign_up()
    assert world.storage.rows[TABLE][ROW] == (newer, etag)
    assert len(world.workflows.started) == 1
