"""Forgetting a tenant: when it is allowed, what it frees, and what becomes of what is left."""

import asyncio

import pytest

from shared.application.idempotent_start import Caller
from shared.domain.clusters import ClusterName
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant
from shared.domain.workflow import Activity
from shared.errors import Conflict, NotFound, Transient, Unreachable
from tests.support.before_activity import PROVISIONING, SLEEPING, Situation, before, calls_of, name_of
from tests.support.builders import new_cluster
from tests.support.world import PORTAL, World, new_world, violations

OPERATOR = Caller("operator")
ONE = ClusterName("one")
GONE = Unreachable("the API server cannot be reached")


async def forget(world: World) -> Tenant:
    return await world.worker.forget.forget(Slug("acme"), "region lost", OPERATOR, world.workflows)


async def last_entry(world: World) -> AuditEntry:
    return (await world.worker.history.audit(Slug("acme"), limit=1, token="")).items[0]


async def reconcile(world: World) -> None:
    """Let hours pass, in which all is repaired that can be."""
    for _ in range(3):
        world.clock.advance(3600)
        await world.timers()
        await world.worker.reconciliation.run(world.workflows)


async def delete(world: World) -> None:
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)


async def test_a_deletion_on_a_dead_cluster_ends() -> None:
    world = await new_world()
    instance = (await world.active()).instance
    world.kubernetes[ONE].away = GONE
    await delete(world)
    await world.run(until=world.clock.monotonic() + 600)
    assert (await world.tenant()).state == "deleting"
    assert (await world.cluster()).allocated == 1
    forgotten = await forget(world)
    assert (forgotten.state, forgotten.operation.state, forgotten.email) == ("deleted", "cancelled", "")
    assert forgotten.quarantine_until is not None
    assert forgotten.quarantine_until > world.clock.now()
    assert (await world.cluster()).allocated == 0
    entry = await last_entry(world)
    assert (entry.actor, entry.action, entry.before, entry.after) == ("operator", "forget", "deleting", "deleted")
    assert f"tenant-{instance}" in entry.reason
    assert entry.reason.endswith("on one until reconciliation removes them: region lost")
    await world.run()  # what was under way ends without a trace
    assert await world.tenant() == forgotten


async def test_what_is_left_is_removed_when_the_cluster_is_back() -> None:
    world = await new_world()
    await world.active()
    world.kubernetes[ONE].away = GONE
    await delete(world)
    await world.run(steps=20)
    await forget(world)
    world.kubernetes[ONE].away = None
    await world.run()
    await world.timers()
    assert len(await violations(world)) == 1  # the namespace
    await reconcile(world)
    assert await violations(world) == []


async def test_an_active_tenant_of_a_dead_cluster_can_be_retried() -> None:
    world = await new_world(clusters=[new_cluster("one"), new_cluster("two")])
    before = await world.active()
    world.kubernetes[before.cluster].away = GONE
    assert (await forget(world)).state == "failed"
    await world.worker.retry.retry(Slug("acme"), "", PORTAL, world.workflows)
    await world.run()
    after = await world.tenant()
    assert after.state == "active"
    assert after.cluster != before.cluster
    assert after.instance != before.instance


async def test_a_removal_that_is_refused_for_ever_ends() -> None:
    world = await new_world()
    tenant = await world.active()
    world.kubernetes[ONE].namespaces[f"tenant-{tenant.instance}"].held = True
    await delete(world)
    await world.run(steps=20)
    assert (await forget(world)).state == "deleted"


async def test_a_cancelled_provisioning_that_stays_ends_as_failed() -> None:
    world = await new_world()
    operation = await world.sign_up(version="never-ready-1")
    await world.do(Activity.APPLY, operation)
    tenant = await world.tenant()
    world.kubernetes[ONE].namespaces[f"tenant-{tenant.instance}"].held = True
    await world.cancel(operation)
    await world.run(steps=20)
    forgotten = await forget(world)
    assert (forgotten.state, forgotten.instance) == ("failed", "")
    assert forgotten.operation.reason.startswith("forgotten by an operator")
    assert (await world.cluster()).starting == 0


async def test_what_can_be_deleted_or_cancelled_is_not_forgotten() -> None:
    world = await new_world()
    operation = await world.sign_up()
    with pytest.raises(Conflict, match="responds, so cancel its operation instead"):
        await forget(world)
    await world.run()
    with pytest.raises(Conflict, match="responds, so delete the tenant instead"):
        await forget(world)
    assert (await world.tenant()).operation.id == operation.id
    assert await violations(world) == []


async def test_a_cluster_that_cannot_be_asked_counts_as_dead() -> None:
    world = await new_world()
    await world.active()
    world.clock.advance(60)  # the registrations are read again

    def away(call: str) -> Transient | None:
        return Transient("no registrations") if call == "query clusters" else None

    world.worker.faults.away = away
    with pytest.raises(Transient):  # the tenant is forgotten by then; reconciliation releases the rest
        await forget(world)
    assert (await world.tenant()).state == "failed"


async def test_forgetting_again_changes_nothing() -> None:
    world = await new_world()
    await world.active()
    world.kubernetes[ONE].away = GONE
    first = await forget(world)
    world.clock.advance(5)
    assert await forget(world) == first
    with pytest.raises(NotFound):
        await world.worker.forget.forget(Slug("nobody"), "x", OPERATOR, world.workflows)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("situation", [*PROVISIONING, *SLEEPING], ids=name_of)
async def test_a_late_activity_leaves_nothing(situation: Situation, after: bool) -> None:
    for number in range(1, await calls_of(situation) + 1):
        world = await before(situation)
        operation = (await world.tenant()).operation
        stall = world.worker.faults.stall(number, after=after)
        late = asyncio.create_task(world.do(situation.activity, operation, reason=situation.reason))
        await asyncio.wait_for(stall.reached.wait(), 5)
        forgetful = world.workers[1]
        forgetful.faults.away = lambda name: GONE if name == "check" else None
        await forgetful.forget.forget(Slug("acme"), "region lost", OPERATOR, world.workflows)
        stall.release()
        await late
        await world.run()
        assert (await world.tenant()).instance == "", f"stalled at call {number}"
        await reconcile(world)
        assert await violations(world) == [], f"stalled at call {number}"
