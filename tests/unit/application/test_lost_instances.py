"""An active tenant whose namespace somebody removed: noticed within a minute, shown, and recoverable by a retry."""

import logging
from dataclasses import replace

import pytest

from shared.adapters.kubernetes.ownership import OWNER
from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.reconciliation import MAX_REPAIRS
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Transient
from shared.settings import ReconciliationSettings
from tests.support.builders import new_cluster, new_settings
from tests.support.fake_namespace import FakeNamespace
from tests.support.world import PORTAL, World, new_world, violations

ONE = ClusterName("one")


async def run(world: World) -> None:
    await world.worker.lost_instances.run()


async def remove_by_hand(world: World, slug: str = "acme") -> tuple[str, FakeNamespace]:
    """Remove a tenant's namespace, and return its name and what was in it."""
    name = namespace_name((await world.tenant(slug)).instance)
    return name, world.kubernetes[ONE].namespaces.pop(name)


async def restore(world: World, removed: tuple[str, FakeNamespace]) -> None:
    """Bring a namespace back, as a backup does, and let reconciliation find it."""
    world.kubernetes[ONE].namespaces[removed[0]] = replace(removed[1], created_at=world.clock.now())
    await world.worker.reconciliation.run(world.workflows)


def lost_events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the events of which an alert tells."""
    return [each for each in caplog.messages if "lost " in each]


async def test_a_removed_namespace_is_noticed_by_the_next_run(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    tenant = await world.active()
    await run(world)
    await remove_by_hand(world)
    world.clock.advance(60)
    await run(world)
    lost = await world.tenant()
    assert (lost.state, lost.instance, lost.cluster) == ("failed", tenant.instance, "one")
    assert lost.observed is not None
    assert (lost.observed.ready, lost.observed.at) == (False, world.clock.now())
    assert f"somebody removed the namespace tenant-{tenant.instance}" in lost.observed.message
    assert lost_events(caplog) == ["instance lost tenant=acme cluster=one"]
    assert (await world.cluster()).allocated == 1
    entry = (await world.worker.history.audit(Slug("acme"), limit=1, token="")).items[0]
    assert (entry.actor, entry.action, entry.before, entry.after) == ("berth", "lose instance", "active", "failed")
    assert await violations(world) == []


async def test_a_tenant_that_sleeps_can_lose_its_instance_too() -> None:
    world = await new_world()
    asleep = await world.asleep()
    await run(world)
    namespace = await remove_by_hand(world)
    await run(world)
    lost = await world.tenant()
    assert (lost.state, lost.instance, lost.replicas) == ("failed", asleep.instance, asleep.replicas)
    assert await violations(world) == []
    await restore(world, namespace)
    assert (await world.tenant()).state == "hibernated"
    assert await violations(world) == []
    await world.wake()
    await world.run()
    assert (await world.tenant()).state == "active"


async def test_a_restored_namespace_is_never_removed() -> None:
    world = await new_world()
    before = await world.active()
    await run(world)
    namespace = await remove_by_hand(world)
    await run(world)
    for _ in range(3):  # it may take hours
        world.clock.advance(3600)
        await world.timers()
        await world.worker.reconciliation.run(world.workflows)
    assert (await world.tenant()).state == "failed"
    await restore(world, namespace)
    after = await world.tenant()
    assert (after.state, after.instance, after.active_since) == ("active", before.instance, before.active_since)
    assert after.observed is not None
    assert after.observed.message.endswith("was restored; what is in it was not checked")
    entry = (await world.worker.history.audit(Slug("acme"), limit=1, token="")).items[0]
    assert (entry.actor, entry.action, entry.before) == ("berth", "find instance again", "failed")
    for _ in range(3):
        world.clock.advance(3600)
        await world.worker.reconciliation.run(world.workflows)
    assert await violations(world) == []


async def test_a_lost_tenant_can_be_deleted() -> None:
    world = await new_world()
    await world.active()
    await run(world)
    namespace = await remove_by_hand(world)
    await run(world)
    world.kubernetes[ONE].namespaces[namespace[0]] = namespace[1]
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    tombstone = await world.tenant()
    assert (tombstone.state, tombstone.slug_is_free(world.clock.now())) == ("deleted", False)
    assert await violations(world) == []


async def test_a_retry_takes_the_room_of_what_was_lost() -> None:
    world = await new_world(clusters=[new_cluster(capacity=1)])
    before = await world.active()
    await run(world)
    name, namespace = await remove_by_hand(world)
    await run(world)
    world.clock.advance(60)
    await world.worker.retry.retry(Slug("acme"), "", PORTAL, world.workflows)
    await world.run()
    world.kubernetes[ONE].namespaces[name] = namespace  # too late: it is an orphan
    after = await world.tenant()
    assert (after.state, after.instance != before.instance) == ("active", True)
    entries = (await world.worker.history.audit(Slug("acme"), limit=9, token="")).items
    assert {each.action for each in entries} == {"provision", "drop instance", "lose instance"}
    for _ in range(2):
        world.clock.advance(3600)
        await world.worker.reconciliation.run(world.workflows)
    assert await violations(world) == []


async def test_a_retry_provisions_it_anew() -> None:
    world = await new_world()
    before = await world.active()
    await run(world)
    await remove_by_hand(world)
    await run(world)
    await world.worker.retry.retry(Slug("acme"), "", PORTAL, world.workflows)
    await world.run()
    after = await world.tenant()
    assert after.state == "active"
    assert after.instance != before.instance
    await run(world)
    assert await world.tenant() == after
    assert await violations(world) == []


async def test_what_berth_removes_is_not_lost() -> None:
    world = await new_world()
    await world.active()
    await run(world)
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    await run(world)
    assert (await world.tenant()).state == "deleted"


async def test_a_namespace_that_lost_its_labels_is_still_there() -> None:
    world = await new_world()
    before = await world.active()
    await run(world)
    labels = world.kubernetes[ONE].namespaces[namespace_name(before.instance)].manifest["metadata"]["labels"]
    del labels[OWNER]
    await run(world)
    assert await world.tenant() == before


async def test_an_open_operation_is_left_alone() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await run(world)
    await world.do(Activity.APPLY, operation)
    await remove_by_hand(world)
    await run(world)
    assert (await world.tenant()).operation.is_open
    await world.run()
    assert (await world.tenant()).state == "active"
    assert await violations(world) == []


async def test_many_at_once_are_only_shown(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world(clusters=[new_cluster(capacity=100)])
    slugs = [f"tenant{number}" for number in range(MAX_REPAIRS + 1)]
    for slug in slugs:
        await world.active(slug)
    await run(world)
    world.kubernetes[ONE].namespaces.clear()
    with caplog.at_level(logging.ERROR):
        await run(world)
    tenants = [await world.tenant(slug) for slug in slugs]
    assert {each.state for each in tenants} == {"active"}
    assert all(each.observed is not None and not each.observed.ready for each in tenants)
    assert all("let an operator forget the tenant" in each.observed.message for each in tenants if each.observed)
    assert lost_events(caplog) == [f"too many instances lost cluster=one count={len(slugs)}"]


async def test_the_kill_switch_only_shows(caplog: pytest.LogCaptureFixture) -> None:
    settings = new_settings().model_copy(update={"reconciliation": ReconciliationSettings(repair=False)})
    world = await new_world(settings=settings)
    await world.active()
    await run(world)
    await remove_by_hand(world)
    await run(world)
    tenant = await world.tenant()
    assert tenant.state == "active"
    assert tenant.observed is not None
    assert not tenant.observed.ready
    world.clock.advance(3600)
    await world.worker.reconciliation.run(world.workflows)  # finds it again
    assert lost_events(caplog) == ["instance lost tenant=acme cluster=one"]


async def test_what_was_held_up_is_read_again() -> None:
    world = await new_world()
    await world.active()
    await run(world)
    await remove_by_hand(world)
    world.worker.faults.away = lambda call: Transient("away") if call == "get tenants" else None
    await run(world)
    world.worker.faults.reset()
    assert (await world.tenant()).state == "active"
    await run(world)
    assert (await world.tenant()).state == "failed"


async def test_a_gap_is_left_to_reconciliation(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    await world.active()
    await run(world)
    world.kubernetes[ONE].kept_removals = 0
    await remove_by_hand(world)
    with caplog.at_level(logging.WARNING):
        await run(world)
    assert "removals not read: too long ago" in caplog.text
    assert (await world.tenant()).state == "active"
    world.clock.advance(3600)
    await world.worker.reconciliation.run(world.workflows)
    assert (await world.tenant()).state == "failed"
    assert await violations(world) == []
