"""What a worker that stopped for good has left: pods, a route or a reservation against the state of their tenant."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import override

import pytest

from shared.application.ports.clusters import Manifest
from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.placement import ReservationState
from shared.domain.reconciliation import MAX_REPAIRS
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME, RouteStatus
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import BerthError, Conflict, Transient
from shared.settings import ReconciliationSettings
from tests.support.before_activity import PROVISIONING, SLEEPING, Situation, before, calls_of, name_of
from tests.support.builders import new_cluster, new_settings
from tests.support.fake_cluster import FakeNamespace, replicas_of
from tests.support.fake_templates import FakeTemplates
from tests.support.world import PORTAL, World, new_world, violations

ACME, ONE = Slug("acme"), ClusterName("one")
HOUR = 3600.0
WORKLOAD = ("StatefulSet", "product")

type Breaks = Callable[[World, Tenant], Awaitable[None]]


async def reconcile(world: World, *, worker: int = 0) -> list[tuple[str, str]]:
    """Run it an hour later, and return the kind and state of all that is recorded."""
    world.clock.advance(HOUR)
    await world.workers[worker].reconciliation.run(world.workflows)
    page = await world.workers[worker].findings.list(None, limit=1000, token="")
    return [(each.finding.kind, each.state) for each in page.items]


def home(world: World, tenant: Tenant) -> FakeNamespace:
    return world.kubernetes[ONE].namespaces[namespace_name(tenant.instance)]


def scale(world: World, tenant: Tenant, replicas: int, name: str = "product") -> None:
    objects = home(world, tenant).objects
    manifest = objects["StatefulSet", name]
    objects["StatefulSet", name] = {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}


async def stop(world: World, tenant: Tenant) -> None:
    scale(world, tenant, 0)


async def delete_workload(world: World, tenant: Tenant) -> None:
    del home(world, tenant).objects[WORKLOAD]


async def stop_and_close(world: World, tenant: Tenant) -> None:
    await stop(world, tenant)
    await close_route(world, tenant)


async def close_route(world: World, tenant: Tenant) -> None:
    del home(world, tenant).objects[ROUTE, ROUTE_NAME]


async def start(world: World, tenant: Tenant) -> None:
    scale(world, tenant, 1)


async def open_route(world: World, tenant: Tenant) -> None:
    route = world.templates.route(tenant, await world.cluster())
    await world.kubernetes[ONE].open_route(route, timeout=1.0)


async def start_and_open(world: World, tenant: Tenant) -> None:
    await start(world, tenant)
    await open_route(world, tenant)


async def lose_reservation(world: World, tenant: Tenant) -> None:
    await world.worker.reservations.release(ONE, tenant.instance)


async def swap_share(world: World, tenant: Tenant) -> None:
    """Take the share of a tenant that is awake, or give one to a tenant that sleeps."""
    held = await world.worker.reservations.find(ONE, tenant.instance)
    assert held is not None
    state = ReservationState.HELD if held.state is ReservationState.ASLEEP else ReservationState.ASLEEP
    await world.worker.reservations.replace(ONE, held, replace(held, state=state))


async def awake_or_asleep(state: TenantState, world: World) -> Tenant:
    return await (world.active() if state is TenantState.ACTIVE else world.asleep())


AT_ONCE: list[tuple[TenantState, Breaks, str, str]] = [
    (TenantState.ACTIVE, stop, "stopped", "has a workload without pods"),
    (TenantState.ACTIVE, delete_workload, "stopped", "has a workload without pods"),
    (TenantState.ACTIVE, stop_and_close, "stopped", "has a workload without pods"),
    (TenantState.ACTIVE, close_route, "route", "has no route"),
    (TenantState.HIBERNATED, start, "running", "sleeps, and has pods"),
    (TenantState.HIBERNATED, open_route, "running", "sleeps, and has a route"),
    (TenantState.HIBERNATED, start_and_open, "running", "sleeps, and has pods and a route"),
]
LATER: list[tuple[TenantState, Breaks, str]] = [
    (TenantState.ACTIVE, lose_reservation, "has no reservation"),
    (TenantState.HIBERNATED, lose_reservation, "has no reservation"),
    (TenantState.ACTIVE, swap_share, "has no share of the capacity"),
    (TenantState.HIBERNATED, swap_share, "has its share of the capacity still"),
]


@pytest.mark.parametrize(("state", "breaks", "kind", "text"), AT_ONCE)
async def test_pods_and_route_are_repaired_at_the_first_finding(
    state: TenantState, breaks: Breaks, kind: str, text: str
) -> None:
    world = await new_world()
    tenant = await awake_or_asleep(state, world)
    await breaks(world, tenant)
    await world.worker.reconciliation.run(world.workflows)
    assert len(await violations(world)) >= 1  # it got its state just now
    assert await reconcile(world) == [(kind, "repaired")]
    assert await violations(world) == []
    [recorded] = (await world.worker.findings.list(None, limit=9, token="")).items
    assert text in recorded.finding.text
    observed = (await world.tenant()).observed
    assert observed is not None
    expected = "ready" if state is TenantState.ACTIVE else "asleep: it has no pod"
    assert (observed.message, observed.at) == (expected, world.clock.now())
    assert await reconcile(world) == [(kind, "repaired")]


@pytest.mark.parametrize(("state", "breaks", "text"), LATER)
async def test_a_reservation_is_repaired_at_the_second_finding(state: TenantState, breaks: Breaks, text: str) -> None:
    world = await new_world(clusters=[new_cluster(capacity=1)])
    await breaks(world, await awake_or_asleep(state, world))
    assert await reconcile(world) == [("reservation", "open")]
    assert await reconcile(world) == [("reservation", "repaired")]
    assert await violations(world) == []
    [recorded] = (await world.worker.findings.list(None, limit=9, token="")).items
    assert recorded.finding.text == f"the {state} tenant acme {text}"


async def test_a_share_is_taken_back_however_full_it_is() -> None:
    world = await new_world(clusters=[new_cluster(capacity=1)])
    await swap_share(world, await world.active())
    await world.active("beta")  # takes the room that seems to be free
    for _ in range(2):
        await reconcile(world)
    assert await violations(world) == ["one is overbooked"]
    await world.sleep("beta")
    await world.run()
    assert await violations(world) == []


async def test_more_pods_than_the_templates_say_are_kept() -> None:
    world = await new_world()
    tenant = await world.active()
    scale(world, tenant, 2)
    assert await reconcile(world) == []
    assert replicas_of(home(world, tenant).objects[WORKLOAD]) == 2


class TwoWorkloads(FakeTemplates):
    """A product, and one more workload with the given number of pods."""

    def __init__(self, replicas: int) -> None:
        super().__init__()
        self._replicas = replicas

    @override
    def _render(self, tenant: Tenant) -> Sequence[Manifest]:
        objects = super()._render(tenant)
        second = {**objects[-1], "metadata": {**objects[-1]["metadata"], "name": "second"}}
        return [*objects, {**second, "spec": {**second["spec"], "replicas": self._replicas}}]


async def test_one_workload_is_started_and_others_keep_their_pods() -> None:
    world = await new_world(templates=TwoWorkloads(1))
    tenant = await world.active()
    scale(world, tenant, 3)
    scale(world, tenant, 0, "second")
    assert await reconcile(world) == [("stopped", "repaired")]
    objects = home(world, tenant).objects
    assert [replicas_of(objects["StatefulSet", name]) for name in ("product", "second")] == [3, 1]


async def test_a_workload_that_is_to_have_no_pods_is_no_finding() -> None:
    world = await new_world(templates=TwoWorkloads(0))
    await world.active()
    assert await reconcile(world) == []


async def test_pods_that_others_started_meanwhile_are_kept() -> None:
    world = await new_world()
    tenant = await world.active()
    await stop(world, tenant)

    def start_again(name: str) -> BerthError | None:
        if name == "transact reconciliations":  # after everything was compared, and before anything is repaired
            scale(world, tenant, 2)
        return None

    world.worker.faults.away = start_again
    assert await reconcile(world) == [("stopped", "open")]
    assert replicas_of(home(world, tenant).objects[WORKLOAD]) == 2
    assert await reconcile(world) == [("stopped", "gone")]


async def test_a_cluster_without_a_gateway_is_not_asked_for_routes() -> None:
    world = await new_world()
    tenant = await world.active()
    stored = await world.worker.clusters.get(ONE)
    await world.worker.clusters.save(stored.with_value(replace(stored.value, gateway=None)))
    await close_route(world, tenant)
    world.worker.faults.reset()
    assert await reconcile(world) == []
    assert "tenant routes" not in world.worker.faults.calls
    assert "tenant workloads" in world.worker.faults.calls


async def test_what_is_not_repaired_is_shown_on_the_tenant() -> None:
    settings = new_settings().model_copy(update={"reconciliation": ReconciliationSettings(repair=False)})
    world = await new_world(settings=settings)
    tenant = await world.active()
    await stop(world, tenant)
    for _ in range(2):
        assert await reconcile(world) == [("stopped", "open")]
        observed = (await world.tenant()).observed
        assert observed is not None
        assert (observed.ready, observed.message) == (False, "the active tenant acme has a workload without pods")
        assert observed.at == world.clock.now()
    await start(world, tenant)
    assert await reconcile(world) == [("stopped", "gone")]
    observed = (await world.tenant()).observed
    assert observed is not None
    assert observed.message == (
        "its pods and its route are as they have to be again; whether it is ready was not checked"
    )


@pytest.mark.parametrize(
    ("state", "breaks", "call"),
    [
        (TenantState.ACTIVE, stop, "apply"),
        (TenantState.ACTIVE, close_route, "open_route"),
        (TenantState.HIBERNATED, start, "stop"),
    ],
)
async def test_a_repair_that_fails_is_shown_and_tried_again(state: TenantState, breaks: Breaks, call: str) -> None:
    world = await new_world()
    await breaks(world, await awake_or_asleep(state, world))
    world.worker.faults.away = lambda name: Transient("away") if name == call else None
    [(kind, found)] = await reconcile(world)
    assert found == "open"
    observed = (await world.tenant()).observed
    assert observed is not None
    assert observed.message.startswith("the ")
    world.worker.faults.reset()
    assert await reconcile(world) == [(kind, "repaired")]
    assert await violations(world) == []


async def test_what_cannot_be_confirmed_is_not_gone() -> None:
    world = await new_world()
    tenant = await world.active()
    await stop(world, tenant)
    world.worker.faults.away = lambda name: Transient("away") if name == "apply" else None
    assert await reconcile(world) == [("stopped", "open")]
    before = (await world.tenant()).observed
    [recorded] = await world.worker.findings.open()
    world.worker.faults.away = lambda name: Transient("away") if name == "replicas" else None
    assert await reconcile(world) == [("stopped", "open")]
    assert (await world.tenant()).observed == before
    assert await world.worker.findings.open() == [recorded]
    world.worker.faults.reset()
    assert await reconcile(world) == [("stopped", "repaired")]
    assert await violations(world) == []


async def test_another_finding_of_the_instance_is_not_gone_then() -> None:
    settings = new_settings().model_copy(update={"reconciliation": ReconciliationSettings(repair=False)})
    world = await new_world(settings=settings)
    tenant = await world.active()
    await close_route(world, tenant)
    assert await reconcile(world) == [("route", "open")]
    before = (await world.tenant()).observed
    await stop(world, tenant)
    world.worker.faults.away = lambda name: Transient("away") if name == "replicas" else None
    assert await reconcile(world) == [("route", "open")]
    assert (await world.tenant()).observed == before


async def test_a_route_that_is_refused_is_observed() -> None:
    world = await new_world()
    await close_route(world, await world.active())
    world.kubernetes[ONE].gateway = RouteStatus(False, "NotAllowedByListeners", "refused", refused=True)
    assert await reconcile(world) == [("route", "repaired")]
    observed = (await world.tenant()).observed
    assert observed is not None
    assert (observed.ready, observed.message) == (False, "refused")


async def test_many_at_once_are_not_repaired(caplog: pytest.LogCaptureFixture) -> None:
    count = MAX_REPAIRS + 1
    world = await new_world(clusters=[new_cluster(capacity=count)], max_concurrent=count)
    tenants = [await world.active(f"t-{number}") for number in range(count)]
    for each in tenants:
        await stop(world, each)
    for _ in range(2):
        assert await reconcile(world) == [("stopped", "open")] * count
    errors = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == [f"nothing repaired: too many findings cluster=one count={count}"] * 2
    await start(world, tenants[0])
    assert sorted(await reconcile(world)) == [("stopped", "gone"), *[("stopped", "repaired")] * MAX_REPAIRS]
    assert await violations(world) == []


async def test_a_row_that_cannot_be_read_protects_its_pods() -> None:
    world = await new_world()
    tenant = await world.active()
    rows = world.storage.rows["tenants"]
    key = next(key for key in rows if key[1] == "tenant:acme")
    await stop(world, tenant)
    rows[key][0]["schema_version"] = 99
    assert await reconcile(world) == []
    assert replicas_of(home(world, tenant).objects[WORKLOAD]) == 0


BROKEN = [(state, breaks) for state, breaks, *_ in (*AT_ONCE, *LATER) if breaks is not delete_workload]


async def broken(state: TenantState, breaks: Breaks) -> World:
    """Return a world of two workers, at the time when the next run is about to repair its one tenant."""
    world = await new_world(workers=2)
    await breaks(world, await awake_or_asleep(state, world))
    if (state, breaks) in [(each[0], each[1]) for each in LATER]:
        await reconcile(world)
    world.worker.faults.reset()
    return world


async def pass_to(world: World, then: str, state: TenantState) -> None:
    """Let the other worker change the tenant's state once or twice, or delete it, to the end."""
    both, world.workers = world.workers, world.workers[1:]
    if then == "delete":
        await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    else:
        await (world.sleep if state is TenantState.ACTIVE else world.wake)()
    await world.run(steps=2 if then == "begun" else 5000)
    if then == "both":
        await (world.wake if state is TenantState.ACTIVE else world.sleep)()
        await world.run()
    world.workers = both


@pytest.mark.parametrize("then", ["begun", "other", "both", "delete"])
@pytest.mark.parametrize(("state", "breaks"), BROKEN)
async def test_an_operation_during_the_repair_wins(state: TenantState, breaks: Breaks, then: str) -> None:
    for number in range(1, 100):
        world = await broken(state, breaks)
        stall = world.worker.faults.stall(number)
        run = asyncio.create_task(reconcile(world))
        await stall.reached_or_done(run)
        if run.done():
            assert number > 8
            return
        await pass_to(world, then, state)
        stall.release()
        await run
        await world.run()
        assert await violations(world) == [], number
    pytest.fail("the run does not end")


@pytest.mark.parametrize(("state", "breaks"), BROKEN)
async def test_a_run_that_stops_anywhere_is_completed_by_the_next(state: TenantState, breaks: Breaks) -> None:
    for number in range(1, 100):
        world = await broken(state, breaks)
        stall = world.worker.faults.stall(number)
        run = asyncio.create_task(reconcile(world))
        await stall.reached_or_done(run)
        if run.done():
            return
        run.cancel()  # with all that it would do yet
        world.workers.pop(0)
        for _ in range(2):
            await reconcile(world)
        assert await violations(world) == [], number
    pytest.fail("the run does not end")


async def die_late(world: World, situation: Situation, number: int, then: str) -> None:
    """Let a worker's call arrive when others have ended the operation, and the worker stop for good after it."""
    operation, faults = (await world.tenant()).operation, world.worker.faults
    call, next_call = faults.stall(number), faults.stall(number + 1)
    late = asyncio.create_task(world.do(situation.activity, operation, reason=situation.reason))
    await asyncio.wait_for(call.reached.wait(), 5)
    world.workers.pop(0)
    if then == "cancel":
        with suppress(Conflict):  # where it has ended
            await world.cancel(operation)
    await world.run()
    for _ in range(("other", "both").index(then) + 1 if then in ("other", "both") else 0):
        state = (await world.tenant()).state
        if state in (TenantState.ACTIVE, TenantState.HIBERNATED):
            await (world.sleep if state is TenantState.ACTIVE else world.wake)()
            await world.run()
    if then == "delete":
        await world.worker.delete.delete(ACME, PORTAL, world.workflows)
        await world.run()
    call.release()
    await next_call.reached_or_done(late)
    late.cancel()


@pytest.mark.parametrize("then", ["rest", "other", "both", "cancel", "delete"])
@pytest.mark.parametrize("situation", [*PROVISIONING, *SLEEPING], ids=name_of)
async def test_what_a_dead_worker_left_is_repaired(situation: Situation, then: str) -> None:
    for number in range(1, await calls_of(situation) + 1):
        world = await before(situation)
        await die_late(world, situation, number, then)
        expected = (await world.tenant()).state
        for _ in range(2):
            world.clock.advance(61)
            await world.timers()
            await world.run()
            await reconcile(world)
        assert (await world.tenant()).state is expected, number
        assert await violations(world) == [], f"the last call was {number}"
