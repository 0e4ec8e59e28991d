"""Signing up: who gets a slug, and what is written before anything starts."""

from datetime import timedelta

import pytest

from shared.adapters.tables.keys import shard, tenant_key
from shared.adapters.tables.storage import Upsert
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.errors import Conflict, Invalid, Transient
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")


async def deleted(world: World) -> None:
    """Let `acme` be active and then deleted."""
    await world.active()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()


async def test_an_unknown_region_is_invalid() -> None:
    world = await new_world()
    with pytest.raises(Invalid) as refused:
        await world.sign_up(region="mars")
    assert refused.value.errors == (("/region", "there is no such region; regions: local"),)
    assert "tenants" not in world.storage.rows


async def test_a_taken_slug_is_a_conflict() -> None:
    world = await new_world()
    await world.sign_up()
    with pytest.raises(Conflict, match="the slug acme is not free: this name is taken"):
        await world.sign_up()
    assert await world.worker.signup.slug_problem("acme") == "this name is taken"


async def test_a_slug_is_free_after_its_quarantine() -> None:
    world = await new_world()
    await deleted(world)
    world.clock.advance(timedelta(days=29).total_seconds())
    with pytest.raises(Conflict, match="stays reserved until 2026-03-30"):
        await world.sign_up()
    world.clock.advance(timedelta(days=2).total_seconds())
    assert await world.worker.signup.slug_problem("acme") is None
    first = (await world.tenant()).changed_at
    tenant = await world.active()
    assert (tenant.state, tenant.created_at > first) == (TenantState.ACTIVE, True)
    assert await violations(world) == []


@pytest.mark.parametrize(("slug", "reason"), [("admin", "reserved"), ("A b", "lower-case"), ("free-one", "")])
async def test_a_slug_says_why_it_is_not_free(slug: str, reason: str) -> None:
    world = await new_world()
    assert reason in (await world.worker.signup.slug_problem(slug) or "")


async def test_the_default_version_is_used() -> None:
    world = await new_world()
    await world.sign_up()
    await world.sign_up("other", version="2.0.0")
    assert ((await world.tenant()).version, (await world.tenant("other")).version) == ("1.0.0", "2.0.0")


async def test_a_task_hub_that_is_away_loses_nothing() -> None:
    world = await new_world()
    world.workflows.away = True
    operation = await world.sign_up()
    assert ((await world.tenant()).operation.id, world.workflows.started) == (operation.id, [])
    world.workflows.away = False
    world.clock.advance(61)
    assert await world.worker.recovery.restart_lost(world.workflows) == 1
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_an_unreadable_row_is_not_written_over() -> None:
    world = await new_world()
    await world.active()
    row, _ = await world.storage.get("tenants", shard(ACME), tenant_key(ACME))
    newer = {**row, "schema_version": 99, "novelty": "kept"}
    await world.storage.transact("tenants", [Upsert(newer)])
    with pytest.raises(Transient, match="written by a newer version"):
        await world.sign_up()
    assert (await world.storage.get("tenants", shard(ACME), tenant_key(ACME)))[0]["novelty"] == "kept"
