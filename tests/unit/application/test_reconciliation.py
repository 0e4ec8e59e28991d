"""Reconciliation: findings of each kind, and the repair of the second one, with everything that must prevent it."""

import logging
from datetime import timedelta

import pytest

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG
from shared.application.reconciliation import MAX_RECORDED, MAX_REPAIRS
from shared.domain.clusters import Breaker, ClusterName
from shared.domain.instances import InstanceId, namespace_name, new_instance_id
from shared.domain.operations import new_operation_id
from shared.domain.reconciliation import FindingKind, FindingState, LeftVolume
from shared.domain.slugs import Slug
from shared.errors import BerthError, Invalid, Transient
from shared.settings import ReconciliationSettings
from tests.support.builders import TENANT_SETTINGS, new_cluster, new_settings
from tests.support.fake_namespace import FakeNamespace
from tests.support.world import World, new_world, violations

ONE = ClusterName("one")
HOUR = 3600


async def run(world: World) -> list[tuple[str, str, str]]:
    """Run it, and return the kind, state and subject of all that is recorded."""
    await world.worker.reconciliation.run(world.workflows)
    page = await world.worker.findings.list(None, limit=1000, token="")
    return [(each.finding.kind, each.state, each.finding.subject) for each in page.items]


def orphan(world: World, slug: str = "acme", *, owner: str = TENANT_SETTINGS.owner) -> InstanceId:
    """Make a namespace that no record has, and return its instance."""
    instance = new_instance_id()
    name = namespace_name(instance)
    labels = {OWNER: owner, INSTANCE: instance, SLUG: slug}
    manifest = {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    made_at = world.clock.now() - world.kubernetes[ONE].behind
    world.kubernetes[ONE].namespaces[name] = FakeNamespace(made_at, {("Namespace", name): manifest})
    return instance


async def leaked_reservation(world: World, instance: InstanceId, slug: str = "nobody") -> None:
    """Make a reservation that holds its share and that no tenant has."""
    operation_id = new_operation_id(Slug(slug), world.clock.now())
    reservations, cluster = world.worker.reservations, await world.cluster()
    await reservations.reserve(cluster, instance, operation_id, weight=1, max_starting=9, max_waiting=9)
    await reservations.release_slot(ONE, instance, operation_id)


@pytest.mark.parametrize("slug", ["acme", "nobody"])
async def test_an_orphan_is_removed_at_the_second_finding(slug: str) -> None:
    world = await new_world()
    await world.active()
    instance = orphan(world, slug)
    assert await run(world) == []  # younger than an hour: it may be of a provisioning
    world.clock.advance(HOUR)
    assert await run(world) == [("orphan", "open", instance)]
    world.clock.advance(HOUR / 2)
    assert await run(world) == [("orphan", "open", instance)]
    assert len(await violations(world)) == 1
    world.clock.advance(HOUR / 2)
    assert await run(world) == [("orphan", "repaired", instance)]
    assert await violations(world) == []
    world.clock.advance(HOUR)
    assert await run(world) == [("orphan", "repaired", instance)]


async def test_a_namespace_of_another_berth_is_no_finding() -> None:
    world = await new_world()
    instance = orphan(world, owner="other")
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == []
    assert namespace_name(instance) in world.kubernetes[ONE].namespaces


async def test_a_leaked_reservation_is_released() -> None:
    world = await new_world()
    instance = new_instance_id()
    await leaked_reservation(world, instance)
    assert await run(world) == []
    world.clock.advance(HOUR)
    assert await run(world) == [("reservation", "open", instance)]
    assert (await world.cluster()).allocated == 1
    world.clock.advance(HOUR)
    assert await run(world) == [("reservation", "repaired", instance)]
    assert (await world.cluster()).allocated == 0


async def test_an_instance_with_a_reservation_is_no_orphan() -> None:
    world = await new_world()
    instance = orphan(world)
    await leaked_reservation(world, instance)
    world.clock.advance(HOUR)
    assert [kind for kind, _, _ in await run(world)] == ["reservation"]


async def test_a_tenant_with_a_missing_namespace_fails() -> None:
    world = await new_world()
    tenant = await world.active()
    world.kubernetes[ONE].namespaces.clear()
    assert await run(world) == []  # it became active just now, perhaps after the namespaces were read
    world.clock.advance(HOUR)
    assert await run(world) == [("missing", "open", tenant.instance)]
    assert (await world.tenant()).state == "failed"
    assert await run(world) == [("missing", "gone", tenant.instance)]
    assert await violations(world) == []


async def test_a_tenant_that_sleeps_is_no_finding_until_it_is_lost() -> None:
    world = await new_world()
    tenant = await world.asleep()
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == []
    del world.kubernetes[ONE].namespaces[namespace_name(tenant.instance)]
    assert await run(world) == [("missing", "open", tenant.instance)]
    assert (await world.tenant()).state == "failed"
    assert await violations(world) == []


async def test_a_left_volume_is_only_reported() -> None:
    world = await new_world()
    tenant = await world.active()
    volumes = world.kubernetes[ONE].volumes
    volumes.append(LeftVolume("pvc-1", InstanceId("removed"), "Released", world.clock.now()))
    volumes.append(LeftVolume("pvc-2", tenant.instance, "Failed", world.clock.now()))
    assert await run(world) == []
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == [("volume", "open", "pvc-1")]
    volumes.clear()
    assert await run(world) == [("volume", "gone", "pvc-1")]


@pytest.mark.parametrize("behind", [timedelta(days=8), timedelta(days=-8)], ids=["behind", "ahead"])
async def test_ages_are_told_by_the_clusters_own_clock(behind: timedelta) -> None:
    world = await new_world()
    cluster = world.kubernetes[ONE]
    cluster.behind = behind
    instance = orphan(world)
    cluster.volumes.append(LeftVolume("pvc-1", InstanceId("removed"), "Released", world.clock.now() - behind))
    world.clock.advance(HOUR - 1)
    assert await run(world) == []
    world.clock.advance(1)
    assert set(await run(world)) == {("orphan", "open", instance), ("volume", "open", "pvc-1")}


async def test_a_jump_of_the_clock_makes_nothing_old() -> None:
    world = await new_world()
    instance = orphan(world)
    for _ in range(3):
        world.clock.advance(8 * 24 * HOUR)
        world.kubernetes[ONE].behind += timedelta(days=8)  # where no time has passed
        assert await run(world) == []
    assert namespace_name(instance) in world.kubernetes[ONE].namespaces


async def test_the_kill_switch_only_reports() -> None:
    settings = new_settings().model_copy(update={"reconciliation": ReconciliationSettings(repair=False)})
    world = await new_world(settings=settings)
    instance = orphan(world)
    for _ in range(4):
        world.clock.advance(HOUR)
        assert await run(world) == [("orphan", "open", instance)]


async def test_too_many_findings_are_not_repaired(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    for _ in range(MAX_REPAIRS + 1):
        orphan(world)
    for _ in range(3):
        world.clock.advance(HOUR)
        assert {state for _, state, _ in await run(world)} == {"open"}
    errors = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == ["nothing repaired: too many findings cluster=one count=21"] * 3
    world.kubernetes[ONE].namespaces.popitem()
    states = [state for _, state, _ in await run(world)]
    assert (states.count("repaired"), states.count("gone")) == (MAX_REPAIRS, 1)


async def test_one_cluster_does_not_stop_the_repairs_of_others() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", region="elsewhere")])
    two = world.kubernetes[ClusterName("two")]
    orphan(world)
    two.namespaces.update([world.kubernetes[ONE].namespaces.popitem()])
    for _ in range(MAX_REPAIRS + 1):
        orphan(world)
    for _ in range(2):
        world.clock.advance(HOUR)
        await run(world)
    assert (len(world.kubernetes[ONE].namespaces), len(two.namespaces)) == (MAX_REPAIRS + 1, 0)


@pytest.mark.parametrize("breaker", [True, False])
async def test_a_cluster_that_fails_is_skipped(breaker: bool) -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", region="elsewhere")])
    tenant = await world.active()
    other = await world.active("beta", region="elsewhere")
    for cluster in world.kubernetes.values():
        cluster.namespaces.clear()
    world.clock.advance(HOUR)
    missing = [("missing", "open", tenant.instance), ("missing", "open", other.instance)]
    assert sorted(await run(world)) == sorted(missing)
    two = ClusterName("two")
    if breaker:
        await world.worker.clusters.set_breaker(two, Breaker(world.clock.now(), "away"))
    else:
        world.kubernetes[two].away = Transient("away")
    world.clock.advance(HOUR)
    still = [("missing", "gone", tenant.instance), missing[1]]  # nothing is known of the other cluster
    assert sorted(await run(world)) == sorted([*still, ("skipped", "open", "")])
    await world.worker.clusters.set_breaker(two, None)
    world.kubernetes[two].away = None
    gone = [(kind, "gone", subject) for kind, _, subject in missing]
    assert sorted(await run(world)) == sorted([*gone, ("skipped", "gone", "")])


@pytest.mark.parametrize("repaired", ["orphan", "reservation"])
async def test_what_gets_a_tenant_before_the_repair_stays(repaired: str) -> None:
    world = await new_world()
    await world.active()
    instance = orphan(world)
    if repaired == "reservation":
        await leaked_reservation(world, instance, "acme")
    world.clock.advance(HOUR)
    assert await run(world) == [(repaired, "open", instance)]
    world.clock.advance(HOUR)
    rows = world.storage.rows["tenants"]
    key = next(key for key in rows if key[1] == "tenant:acme")

    def take_the_instance(name: str) -> None:
        if name == "transact reconciliations":  # after everything was compared, and before anything is repaired
            rows[key][0]["instance"] = instance

    world.worker.faults.away = take_the_instance
    assert await run(world) == [(repaired, "open", instance)]
    assert namespace_name(instance) in world.kubernetes[ONE].namespaces
    assert (await world.cluster()).allocated == (2 if repaired == "reservation" else 1)


async def test_a_row_that_cannot_be_read_protects_its_namespace() -> None:
    world = await new_world()
    tenant = await world.active()
    rows = world.storage.rows["tenants"]
    key = next(key for key in rows if key[1] == "tenant:acme")
    rows[key][0]["schema_version"] = 99
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == []
    assert namespace_name(tenant.instance) in world.kubernetes[ONE].namespaces
    assert (await world.cluster()).allocated == 1


async def test_what_cannot_be_confirmed_keeps_its_hour() -> None:
    world = await new_world()
    orphaned, leaked = orphan(world), new_instance_id()
    await leaked_reservation(world, leaked)
    found = [("orphan", "open", orphaned), ("reservation", "open", leaked)]
    world.clock.advance(HOUR)
    assert await run(world) == found
    world.clock.advance(HOUR)
    world.worker.faults.away = lambda name: Transient("away") if name == "get tenants" else None
    assert await run(world) == found
    world.worker.faults.reset()
    assert await run(world) == [(kind, "repaired", subject) for kind, _, subject in found]


async def test_what_is_too_much_to_record_is_not_gone(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    instance = orphan(world)
    world.clock.advance(HOUR)
    assert await run(world) == [("orphan", "open", instance)]
    namespaces = world.kubernetes[ONE].namespaces
    for _ in range(MAX_RECORDED):
        orphan(world)
    namespaces[namespace_name(instance)] = namespaces.pop(namespace_name(instance))  # now it is the last one
    world.clock.advance(HOUR)
    await run(world)
    world.clock.advance(HOUR)
    await run(world)
    assert len(await world.worker.findings.open()) == MAX_RECORDED + 1
    assert f"not all findings recorded count={MAX_RECORDED + 1}" in caplog.messages


async def test_a_run_without_time_says_nothing_is_gone() -> None:
    world = await new_world()
    instance = orphan(world)
    world.clock.advance(HOUR)
    assert await run(world) == [("orphan", "open", instance)]
    world.worker.faults.reset()

    def over(name: str) -> BerthError | None:
        if name == "get tenants":  # while the findings are confirmed
            raise TimeoutError
        return None

    world.worker.faults.away = over
    assert await run(world) == [("orphan", "open", instance)]
    assert "get tenants" in world.worker.faults.calls


async def test_a_repair_that_fails_is_tried_again() -> None:
    world = await new_world()
    instance = orphan(world)
    world.kubernetes[ONE].namespaces[namespace_name(instance)].held = True
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == [("orphan", "open", instance)]
    world.kubernetes[ONE].namespaces[namespace_name(instance)].held = False
    assert await run(world) == [("orphan", "repaired", instance)]


async def test_nothing_is_found_while_all_is_well() -> None:
    world = await new_world(max_concurrent=2)
    await world.active("beta")
    for number in range(5):
        await world.sign_up(f"t-{number}", version="slow-1")
    for _ in range(3):
        world.clock.advance(HOUR)
        assert await run(world) == []


async def test_the_findings_are_listed_in_pages_and_by_state() -> None:
    world = await new_world()
    instances = sorted(orphan(world) for _ in range(3))
    world.clock.advance(HOUR)
    await run(world)
    findings = world.worker.findings
    first = await findings.list(FindingState.OPEN, limit=2, token="")
    second = await findings.list(FindingState.OPEN, limit=2, token=first.next_token)
    assert [each.finding.subject for each in (*first.items, *second.items)] == instances
    assert (second.next_token, {each.finding.kind for each in second.items}) == ("", {FindingKind.ORPHAN})
    assert (await findings.list(FindingState.GONE, limit=2, token="")).items == ()
    with pytest.raises(Invalid, match="next"):
        await findings.list(None, limit=2, token="bm9uc2Vuc2U=")
