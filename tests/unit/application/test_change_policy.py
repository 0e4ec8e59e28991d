"""Setting when one tenant counts as dormant: recorded with who did it, also while an operation runs."""

import asyncio
from datetime import timedelta

import pytest

from shared.domain.lifecycle import TenantState
from shared.domain.policy import NO_OVERRIDE, DormancyPolicy, PolicyOverride
from shared.domain.slugs import Slug
from shared.errors import NotFound, Transient
from tests.support.clock import START
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")
OVERRIDE = PolicyOverride(idle_days=3, exempt=False, keep_awake_until=START + timedelta(days=30))


async def change(world: World, override: PolicyOverride = OVERRIDE) -> None:
    await world.worker.change_policy.change(ACME, override, "operator")


async def trail(world: World) -> list[tuple[str, str, str, str]]:
    """Return who did what and why to the policy, and the state, the newest first."""
    page = await world.worker.history.audit(ACME, limit=99, token="")
    return [(each.actor, each.reason, each.before, each.after) for each in page.items if each.action == "policy"]


def test_what_differs_is_applied_to_the_plans_policy() -> None:
    plan = DormancyPolicy(idle_days=7, never_active_days=14, exempt=True)
    expected = DormancyPolicy(3, 14, exempt=False, keep_awake_until=OVERRIDE.keep_awake_until)
    assert OVERRIDE.applied_to(plan) == expected
    assert OVERRIDE.parts == ("idle_days", "exempt", "keep_awake_until")
    assert NO_OVERRIDE.applied_to(plan) == plan


async def test_a_policy_is_recorded_with_its_audit_entry() -> None:
    world = await new_world()
    await world.active()
    await change(world)
    assert (await world.tenant()).policy == OVERRIDE
    await change(world, NO_OVERRIDE)
    assert (await world.tenant()).policy == NO_OVERRIDE
    reason = "idle_days 3, exempt False, keep_awake_until 2026-03-30 12:00:00+00:00"
    state = ("active", "active")
    assert await trail(world) == [("operator", "as the plan says", *state), ("operator", reason, *state)]


async def test_the_same_policy_again_writes_nothing() -> None:
    world = await new_world()
    await world.active()
    await change(world)
    world.worker.faults.reset()
    await change(world)
    assert world.worker.faults.calls == ["get tenants"]
    assert len(await trail(world)) == 1


async def test_a_policy_can_change_while_an_operation_runs() -> None:
    for steps in range(1, 6):
        world = await new_world()
        await world.sign_up()
        await world.run(steps=steps)
        await change(world)
        await world.run()
        tenant = await world.tenant()
        assert (tenant.state, tenant.policy) == (TenantState.ACTIVE, OVERRIDE)
        assert await violations(world) == []


@pytest.mark.parametrize("number", [1, 2])
async def test_what_changes_meanwhile_is_kept(number: int) -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    world.worker.faults.reset()
    stall = world.worker.faults.stall(number)
    late = asyncio.create_task(change(world))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await world.cancel(operation, worker=1)
    stall.release()
    await late
    tenant = await world.tenant()
    assert (tenant.policy, tenant.operation.cancel_requested) == (OVERRIDE, True)


async def test_a_lost_response_counts() -> None:
    world = await new_world()
    await world.active()
    world.worker.faults.reset()
    world.worker.faults.lose(2)
    await change(world)
    assert (await world.tenant()).policy == OVERRIDE
    assert len(await trail(world)) == 1


async def test_a_deleted_tenant_has_no_policy() -> None:
    world = await new_world()
    await world.active()
    await change(world)
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    assert (await world.tenant()).policy == NO_OVERRIDE
    with pytest.raises(NotFound, match="was deleted"):
        await change(world)


async def test_a_request_that_was_held_up_changes_nobody() -> None:
    world = await new_world()
    await world.active()
    world.worker.faults.reset()
    stall = world.worker.faults.stall(1)
    late = asyncio.create_task(change(world))
    await asyncio.wait_for(stall.reached.wait(), 5)
    world.clock.advance(6)
    stall.release()
    with pytest.raises(Transient, match="held up"):
        await late
    assert (await world.tenant()).policy == NO_OVERRIDE
