"""Forgetting a tenant: when it is allowed, what it frees, and what becomes of what is left."""

import asyncio
from datetime import timedelta

import pytest

from shared.application.forget import MIN_SILENCE_SECONDS
from shared.application.idempotent_start import Caller
from shared.domain.clusters import Breaker, ClusterName
from shared.domain.reconciliation import MAX_REPAIRS
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant
from shared.domain.workflow import Activity
from shared.errors import BerthError, Conflict, NotFound, Transient, Unauthenticated, Unreachable
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


async def die(world: World, name: ClusterName = ONE) -> None:
    """Let a cluster not respond for as long as it takes until what is on it may be forgotten."""
    world.kubernetes[name].away = GONE
    for _ in range(2):
        await world.timers()
    world.clock.advance(MIN_SILENCE_SECONDS)


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
    await die(world, before.cluster)
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


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("query clusters", Transient("the tables do not respond")),
        ("check", Unauthenticated("401 Unauthorized")),
    ],
)
async def test_what_cannot_be_asked_is_not_forgotten(call: str, error: BerthError) -> None:
    world = await new_world()
    before = await world.active()
    await world.worker.clusters.set_breaker(ONE, Breaker(world.clock.now(), str(GONE)))
    world.clock.advance(MIN_SILENCE_SECONDS)  # the registrations are read again
    world.worker.faults.away = lambda name: error if name == call else None
    with pytest.raises(type(error)):
        await forget(world)
    assert await world.tenant() == before


async def test_another_cluster_there_counts_as_dead() -> None:
    world = await new_world()
    await world.active()
    await die(world)
    world.kubernetes[ONE].away = None
    world.kubernetes[ONE].identity = "rebuilt"
    assert (await forget(world)).state == "failed"


async def test_a_cluster_must_be_silent_for_ten_minutes() -> None:
    world = await new_world()
    before = await world.active()
    world.kubernetes[ONE].away = GONE
    with pytest.raises(Conflict, match="does not respond at this moment, which may pass"):
        await forget(world)
    assert (await world.cluster()).breaker is None
    for _ in range(2):
        await world.timers()
    world.clock.advance(MIN_SILENCE_SECONDS - 1)
    with pytest.raises(Conflict, match="ask again at 2026-02-28 12:10:02 UTC"):
        await forget(world)
    world.clock.advance(1)
    world.kubernetes[ONE].away = None  # though its breaker is open still
    with pytest.raises(Conflict, match="its cluster one responds, so delete the tenant"):
        await forget(world)
    assert await world.tenant() == before


async def test_what_has_no_namespace_can_be_forgotten() -> None:
    world = await new_world()
    await world.active()
    world.kubernetes[ONE].namespaces.clear()
    assert (await forget(world)).state == "failed"
    await world.worker.retry.retry(Slug("acme"), "", PORTAL, world.workflows)
    await world.run()
    assert (await world.tenant()).state == "active"
    assert await violations(world) == []


async def test_many_forgotten_instances_are_all_removed() -> None:
    world = await new_world(clusters=[new_cluster(capacity=100), new_cluster("two", region="elsewhere")])
    slugs = [f"t-{number}" for number in range(MAX_REPAIRS + 1)]
    for slug in slugs:
        await world.active(slug)
    await die(world)
    for slug in slugs:
        await world.worker.forget.forget(Slug(slug), "region lost", OPERATOR, world.workflows)
    await reconcile(world)
    assert {each.finding.kind for each in await world.worker.findings.open()} == {"forgotten", "skipped"}
    world.kubernetes[ONE].away = None
    await reconcile(world)
    assert await violations(world) == []
    assert await world.worker.findings.open() == []


async def test_a_slug_that_was_active_stays_taken() -> None:
    world = await new_world()
    await world.active()
    await die(world)
    await forget(world)
    await delete(world)
    await world.run()
    assert (await world.tenant()).state == "deleted"
    with pytest.raises(Conflict, match="is not free"):
        await world.sign_up("acme", Caller("somebody else"))


async def test_asking_again_releases_what_was_left() -> None:
    world = await new_world()
    await world.active()
    await die(world)
    world.worker.faults.away = lambda name: Transient("away") if name == "transact clusters" else None
    with pytest.raises(Transient):
        await forget(world)
    world.worker.faults.reset()
    assert ((await world.tenant()).state, (await world.cluster()).allocated) == ("failed", 1)
    await forget(world)
    assert (await world.cluster()).allocated == 0


async def test_forgetting_again_changes_nothing() -> None:
    world = await new_world()
    await world.active()
    await die(world)
    first = await forget(world)
    assert first.observed is not None
    assert first.observed.message.startswith("forgotten by an operator: the namespace tenant-")
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
        long_ago = world.clock.now() - timedelta(seconds=MIN_SILENCE_SECONDS)
        await forgetful.clusters.set_breaker(ONE, Breaker(long_ago, str(GONE)))
        await forgetful.forget.forget(Slug("acme"), "region lost", OPERATOR, world.workflows)
        stall.release()
        await late
        await world.run()
        assert (await world.tenant()).instance == "", f"stalled at call {number}"
        await reconcile(world)
        assert await violations(world) == [], f"stalled at call {number}"
