"""Removing a cluster from berth: refused while anything is on it, and safe however late others come."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from shared.application import remove_cluster
from shared.application.cluster_registry import Registration
from shared.application.forget import MIN_SILENCE_SECONDS
from shared.application.ports.stored import Stored
from shared.application.remove_cluster import NAMED
from shared.domain.clusters import Breaker, Cluster, ClusterName, ClusterState, GatewayRef, KubeconfigAccess
from shared.domain.instances import InstanceId, namespace_name, new_instance_id
from shared.domain.lifecycle import TenantState
from shared.domain.operations import new_operation_id
from shared.domain.placement import Reservation, ReservationState
from shared.domain.reconciliation import MIN_AGE_SECONDS, FindingState, LeftVolume, first_seen, forgotten
from shared.domain.slugs import Slug
from shared.domain.workflow import Verdict
from shared.errors import BerthError, Conflict, Forbidden, NoRoom, NotFound, Transient, Unauthenticated, Unreachable
from shared.telemetry import metrics
from tests.support.builders import new_cluster
from tests.support.fake_namespace import FakeNamespace
from tests.support.instant_loop import run_instantly
from tests.support.interleaving import Schedule, interleaved, schedules
from tests.support.recorded_telemetry import recorded_telemetry
from tests.support.world import PORTAL, World, new_world, violations

ONE, TWO = map(ClusterName, ("one", "two"))
ACME = Slug("acme")
DEAD = Unreachable("the API server cannot be reached")


async def set_state(world: World, state: ClusterState, name: ClusterName = ONE, *, worker: int = 0) -> None:
    await world.workers[worker].registry.change(name, state=state, capacity=None)


async def cordoned(*, workers: int = 2, others: int = 1) -> World:
    """Return a world whose cluster `one` is cordoned, beside others."""
    world = await new_world(workers=workers, clusters=[new_cluster(), new_cluster("two")][: others + 1])
    await set_state(world, ClusterState.CORDONED)
    return world


async def remove(world: World, *, worker: int = 0) -> Cluster:
    return await world.workers[worker].remove_cluster.remove(ONE, actor="ann")


async def refused(world: World) -> str:
    """Try to remove the cluster, which has to be refused; return why."""
    before = await world.cluster()
    with pytest.raises(Conflict, match="cluster one is not removed: ") as error:
        await remove(world)
    assert await world.cluster() == before
    return str(error.value)


async def on_one(world: World) -> None:
    """Let signups come to the cluster, and then no more."""
    await set_state(world, ClusterState.OPEN)
    await set_state(world, ClusterState.CORDONED, TWO)


async def without_one(world: World) -> list[str]:
    """Return what is wrong in a world whose cluster is removed, and on which nothing may be left."""
    with pytest.raises(NotFound):
        await world.cluster()
    held = [key for key in world.storage.rows["clusters"] if key[0] == "on:one" and key[1] != "allocation"]
    assert held == []
    assert world.kubernetes.pop(ONE).namespaces == {}
    return await violations(world)


async def test_an_empty_cordoned_cluster_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = await cordoned()
    before = await world.cluster()
    with recorded_telemetry() as told:
        assert await remove(world) == before
    assert told.values(metrics.BREAKER_OPEN, cluster=ONE) == [0]
    assert f"cluster removed cluster=one uid={before.uid} actor=ann" in caplog.text
    assert [each.name for each in await world.workers[1].clusters.list()] == [TWO]
    with pytest.raises(NotFound, match="no cluster one is registered"):
        await remove(world, worker=1)


async def test_an_open_cluster_is_not_removed() -> None:
    world = await new_world()
    assert "it takes new tenants; cordon it first" in await refused(world)


async def provisioning(world: World) -> None:
    await world.sign_up()


async def active(world: World) -> None:
    await world.active()


async def hibernated(world: World) -> None:
    await world.asleep()


async def deleting(world: World) -> None:
    await world.active()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)


async def failed(world: World) -> None:
    """A tenant that has lost its instance, which may be restored."""
    await world.active()
    world.kubernetes[ONE].namespaces.clear()
    await world.worker.lost_instances.record(ONE, [(ACME, (await world.tenant()).instance)])


@pytest.mark.parametrize("state", [provisioning, active, hibernated, deleting, failed])
async def test_a_tenant_in_any_state_is_in_the_way(state: Callable[[World], Awaitable[None]]) -> None:
    world = await new_world()
    await state(world)
    await set_state(world, ClusterState.CORDONED)
    assert f"it has tenants (1 {state.__name__}): acme. Delete them;" in await refused(world)
    await world.run()
    with suppress(NotFound):  # it was being deleted
        await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    await remove(world)
    assert await without_one(world) == []


async def test_a_failed_tenant_without_an_instance_is_not() -> None:
    world = await new_world()
    await world.sign_up(version="missing-1")
    await world.run()
    await set_state(world, ClusterState.CORDONED)
    assert (await world.tenant()).state is TenantState.FAILED
    await remove(world)


async def test_some_of_many_tenants_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world()
    for number in range(NAMED + 2):
        await world.active(f"t-{number}")
    await world.sleep("t-0")
    await world.run()
    await set_state(world, ClusterState.CORDONED)
    assert "it has tenants (6 active, 1 hibernated): t-0, t-1, t-2, t-3, t-4 and 2 more." in await refused(world)
    monkeypatch.setattr(remove_cluster, "COUNTED", 6)
    assert "it has tenants (the first 6: " in await refused(world)


async def test_a_reservation_without_a_tenant_is_in_the_way() -> None:
    world = await new_world()
    operation_id = new_operation_id(ACME, world.clock.now())
    reserve = world.worker.reservations.reserve
    await reserve(await world.cluster(), new_instance_id(), operation_id, weight=1, max_starting=1, max_waiting=0)
    await set_state(world, ClusterState.CORDONED)
    assert "it has reservations without a tenant (1)" in await refused(world)
    world.clock.advance(61)
    await world.timers()
    await remove(world)


async def test_what_forgetting_left_is_released_on_a_lost_cluster() -> None:
    """A worker stops after it has forgotten an instance and before it released the reservation."""
    world = await new_world(workers=2)
    await world.active()
    await set_state(world, ClusterState.CORDONED)
    world.kubernetes[ONE].away = DEAD
    for _ in range(2):
        await world.timers(worker=1)
    world.clock.advance(MIN_SILENCE_SECONDS)
    stall = world.worker.faults.stall_next("transact clusters")
    stopped = asyncio.create_task(world.worker.forget.forget(ACME, "gone", PORTAL, world.workflows))
    await stall.reached.wait()
    stopped.cancel()
    assert "(1), made for acme: a signup is under way, or something broke off" in await refused(world)
    for _ in range(3):  # slot repair and reconciliation leave it
        world.clock.advance(MIN_AGE_SECONDS)
        await world.timers(worker=1)
        await world.workers[1].reconciliation.run(world.workflows)
    assert (await world.cluster()).instances == 1
    await remove(world, worker=1)
    world.kubernetes[ONE].namespaces.clear()  # with the cluster
    assert await without_one(world) == []


@pytest.mark.parametrize("state", [ReservationState.STARTING, ReservationState.HELD, ReservationState.ASLEEP])
async def test_a_reservation_is_released_only_if_nobody_else_does(state: ReservationState) -> None:
    world = await cordoned()
    made = Reservation(new_instance_id(), new_operation_id(ACME, world.clock.now()), 1, state, world.clock.now())
    await world.worker.reservations.replace(ONE, None, made)
    world.clock.advance(MIN_AGE_SECONDS - 1)
    await refused(world)
    world.clock.advance(1)
    if state.is_pending:
        await refused(world)
    else:
        await remove(world)
        assert await without_one(world) == []


async def test_a_reservation_that_cannot_be_read_is_in_the_way() -> None:
    world = await cordoned()
    now = world.clock.now()
    made = Reservation(new_instance_id(), new_operation_id(ACME, now), 1, ReservationState.HELD, now)
    await world.worker.reservations.replace(ONE, None, made)
    rows = world.storage.rows["clusters"]
    for key in [key for key in rows if key[0] == "on:one" and key[1] != "allocation"]:
        rows[key][0]["schema_version"] = 99
    world.clock.advance(MIN_AGE_SECONDS)
    with pytest.raises(BerthError, match="another version"):
        await remove(world)
    await world.cluster()


async def test_a_tenant_that_cannot_be_read_keeps_its_reservation() -> None:
    world = await new_world()
    await world.active()
    await set_state(world, ClusterState.CORDONED)
    world.clock.advance(MIN_AGE_SECONDS)
    rows = world.storage.rows["tenants"]
    rows[next(key for key in rows if key[1] == "tenant:acme")][0]["schema_version"] = 99
    with pytest.raises(BerthError, match="another version"):
        await remove(world)
    assert (await world.cluster()).instances == 1


async def test_namespaces_that_are_left_are_in_the_way() -> None:
    world = await cordoned()
    cluster = world.kubernetes[ONE]
    await world.active()
    name = namespace_name((await world.tenant()).instance)
    cluster.namespaces[name] = FakeNamespace(world.clock.now(), dict(world.kubernetes[TWO].namespaces[name].objects))
    assert f"namespaces of removed instances are left on it (1): {name}." in await refused(world)
    cluster.namespaces.clear()
    await remove(world)


async def test_volumes_that_are_left_are_only_named(caplog: pytest.LogCaptureFixture) -> None:
    """They have no label of their owner: another berth's are nothing to wait for, and nothing to delete."""
    world = await cordoned()
    now = world.clock.now()
    world.kubernetes[ONE].volumes += [LeftVolume(f"pv-{each}", InstanceId("gone"), "Released", now) for each in (1, 2)]
    await remove(world)
    assert 'volumes left cluster=one volumes="pv-1, pv-2"' in caplog.text


async def test_a_cluster_that_is_away_needs_an_open_breaker() -> None:
    world = await cordoned()
    world.kubernetes[ONE].away = DEAD
    why = await refused(world)
    assert f"what is left on it cannot be read: {DEAD}; if the cluster is gone, send the request again" in why
    for _ in range(2):
        await world.timers()
    await remove(world)
    assert await without_one(world) == []


async def test_a_refused_identity_says_nothing_of_a_cluster() -> None:
    world = await cordoned()
    world.kubernetes[ONE].away = Unauthenticated("it does not accept berth's token (401)")
    for _ in range(3):  # its breaker stays closed
        await world.timers()
        with pytest.raises(Transient, match=r"berth's token \(401\)\. If that lasts, give berth its rights back"):
            await remove(world)
    await world.cluster()


async def test_a_cluster_that_refuses_has_to_be_stopped() -> None:
    world = await cordoned()
    world.kubernetes[ONE].away = Forbidden("berth may not list namespaces (403)")
    for _ in range(3):  # its breaker stays closed
        await world.timers()
        assert "(403); give berth its rights back (infra/kubernetes), or stop the cluster" in await refused(world)
    world.kubernetes[ONE].away = DEAD
    for _ in range(2):
        await world.timers()
    await remove(world)


async def test_a_silent_cluster_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remove_cluster.LOOK_SECONDS == 10
    monkeypatch.setattr(remove_cluster, "LOOK_SECONDS", 0.05)
    world = await cordoned()
    world.worker.faults.stall_next("tenant namespaces")
    assert "cannot be read: no response within 0.05 s" in await refused(world)


async def test_a_lost_response_removes_once() -> None:
    for number in range(1, 40):
        world = await cordoned()
        world.worker.faults.reset()
        world.worker.faults.lose(number)
        await remove(world)
        assert [each.name for each in await world.workers[1].clusters.list()] == [TWO]
        if len(world.worker.faults.calls) < number:
            return
    raise AssertionError("it makes too many calls")


async def test_one_that_is_opened_meanwhile_is_not_removed() -> None:
    world = await cordoned()
    stall = world.worker.faults.stall_next("transact clusters")
    late = asyncio.create_task(remove(world))
    await stall.reached.wait()
    await set_state(world, ClusterState.OPEN, worker=1)
    stall.release()
    with pytest.raises(Conflict, match="it takes new tenants"):
        await late
    assert (await world.cluster()).state is ClusterState.OPEN


async def test_of_two_at_once_both_find_it_removed() -> None:
    world = await cordoned()
    await asyncio.gather(*(remove(world, worker=number) for number in range(2)), return_exceptions=True)
    assert await without_one(world) == []


async def test_a_removed_cluster_is_asked_for_nothing_more() -> None:
    world = await cordoned()
    world.kubernetes[ONE].away = DEAD
    for number in range(4):  # each worker suspects it, and has opened its breaker
        await world.timers(worker=number % 2)
    await remove(world)
    world.clock.advance(6)
    for each in world.workers:
        each.faults.reset()
    with recorded_telemetry() as told:
        for number in range(2):
            await world.timers(worker=number)
            await world.workers[number].reconciliation.run(world.workflows)
            await world.workers[number].metering.run()
            assert await world.workers[number].dependencies.run(world.workflows) == {
                "tables": "ok",
                "task hub": "ok",
                "cluster two": "ok",
            }
    assert told.values(metrics.BREAKER_OPEN, cluster=ONE) == []
    assert told.values(metrics.SLOTS_LIMIT, cluster=ONE) == []
    assert told.values(metrics.BREAKER_OPEN, cluster=TWO) == [0, 0]


async def test_it_can_be_registered_again() -> None:
    world = await cordoned(others=0)
    world.kubernetes[ONE].away = DEAD
    for _ in range(2):
        await world.timers()
    await remove(world)
    # The check of another worker, which began before.
    await world.workers[1].clusters.set_breaker(ONE, Breaker(world.clock.now(), "late"))
    with pytest.raises(BerthError):
        await world.sign_up()
    world.kubernetes[ONE].away = None
    gateway = GatewayRef("gateway", "tenants", "", "gateway")
    again = Registration(ONE, "local", 10, None, KubeconfigAccess("one"), "one.example.com", gateway)
    cluster, _ = await world.worker.registry.register(again)
    assert (cluster.state, cluster.breaker, cluster.instances) == (ClusterState.OPEN, None, 0)
    world.clock.advance(6)
    await world.active()
    await world.timers(worker=1)
    assert await violations(world) == []


async def test_a_new_registration_is_under_no_suspicion() -> None:
    world = await cordoned()
    world.kubernetes[ONE].away = DEAD
    await world.timers()  # each failure is the first of two
    before = await world.worker.clusters.get(ONE)
    await world.worker.clusters.remove(before)
    await world.timers()
    await world.worker.clusters.save(Stored(before.value))
    await world.timers()
    assert (await world.cluster()).breaker is None


async def test_what_is_delivered_again_afterwards_changes_nothing() -> None:
    world = await new_world(workers=2)
    for slug in ("acme", "beta"):
        await world.asleep(slug)
        await world.wake(slug)
        await world.run()
        await world.worker.delete.delete(Slug(slug), PORTAL, world.workflows)
        await world.run()
    await set_state(world, ClusterState.CORDONED)
    await remove(world)
    world.clock.advance(6)
    before = {table: dict(rows) for table, rows in world.storage.rows.items()}
    for number, each in enumerate(list(world.delivered)):
        assert (await world.deliver_again(each, worker=number % 2)).verdict in (Verdict.ENDED, Verdict.DONE)
    assert before == world.storage.rows
    assert await without_one(world) == []


async def test_a_late_release_finds_no_cluster_and_ends() -> None:
    world = await cordoned()
    await remove(world)
    world.clock.advance(6)
    await world.worker.admission.release(ONE, InstanceId("gone"), world.workflows)
    await world.worker.admission.release_slot(
        ONE, InstanceId("gone"), new_operation_id(ACME, world.clock.now()), world.workflows
    )


async def test_findings_of_a_removed_cluster_are_gone() -> None:
    world = await cordoned()
    found = [forgotten(name, new_instance_id(), Slug("beta")) for name in (ONE, TWO)]
    await world.worker.findings.save([first_seen(each, world.clock.now()) for each in found])
    world.kubernetes[TWO].away = DEAD
    for _ in range(2):
        await world.timers()
    await remove(world)
    await world.worker.reconciliation.run(world.workflows)
    page = await world.worker.findings.list(None, limit=10, token="")
    states = {(each.finding.cluster, each.finding.kind.value): each.state for each in page.items}
    assert states == {
        (ONE, "forgotten"): FindingState.GONE,
        (TWO, "forgotten"): FindingState.OPEN,
        (TWO, "skipped"): FindingState.OPEN,
    }


@pytest.mark.parametrize("others", [0, 1])
async def test_a_signup_recorded_after_the_removal_ends_well(others: int) -> None:
    """A worker stalls for longer than slot repair waits, between its reservation and its tenant."""
    world = await cordoned(others=others)
    await set_state(world, ClusterState.OPEN)
    stall = world.worker.faults.stall_next("transact tenants")
    late = asyncio.create_task(world.sign_up(worker=0))
    await stall.reached.wait()
    world.clock.advance(61)
    await world.timers(worker=1)  # nobody seems to need its reservation
    await set_state(world, ClusterState.CORDONED, worker=1)
    await remove(world, worker=1)
    world.clock.advance(6)
    stall.release()
    await late
    assert (await world.tenant()).cluster == ONE
    await world.run()
    for _ in range(3):
        world.clock.advance(600)
        await world.timers(worker=1)
        await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.cluster) == ((TenantState.ACTIVE, TWO) if others else (TenantState.FAILED, ""))
    assert await without_one(world) == []


async def test_a_cluster_that_is_cordoned_meanwhile_gets_no_signup() -> None:
    world = await new_world(workers=2)
    stall = world.worker.faults.stall_next("transact clusters")
    late = asyncio.create_task(world.sign_up())
    await stall.reached.wait()
    await set_state(world, ClusterState.CORDONED, worker=1)
    stall.release()
    with pytest.raises(NoRoom, match="is cordoned"):
        await late
    assert (await world.cluster()).instances == 0


ALL = 999  # more calls than either makes
RACES = 60  # orders of the calls


async def race(schedule: Schedule) -> tuple[int, int]:
    """Sign up with one worker while another one cordons and removes the cluster that comes first; return the calls."""
    world = await new_world(workers=3, clusters=[new_cluster(), new_cluster("two")])

    async def removal() -> None:
        await set_state(world, ClusterState.CORDONED, worker=1)
        await remove(world, worker=1)

    faults = [each.faults for each in world.workers[:2]]
    (begun, removed), calls = await interleaved([world.sign_up, removal], faults, schedule)
    assert not isinstance(begun, BaseException), schedule
    await world.run()
    tenant = await world.tenant()
    assert tenant.state is TenantState.ACTIVE, schedule
    if removed is None:
        assert tenant.cluster == TWO, schedule
        assert await without_one(world) == [], schedule
    else:
        assert isinstance(removed, Conflict), schedule
        assert await violations(world) == [], schedule
    return calls


async def races() -> None:
    (signup, _), (_, removal) = await race((0,) * ALL), await race((1,) * ALL)
    for each in schedules((signup, removal), count=RACES, seed="signup and removal"):
        await race(each)


def test_no_signup_is_left_on_a_removed_cluster() -> None:
    run_instantly(races())
