"""Waiting for a tenant: what ends the wait, and what a late repeat of it must not do."""

import itertools

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.workflow import Activity, Verdict
from shared.errors import Forbidden, Transient, Unauthenticated
from tests.support.world import new_world, violations


async def test_a_tenant_that_is_ready_becomes_active() -> None:
    world = await new_world()
    tenant = await world.active()
    assert tenant.state is TenantState.ACTIVE
    assert tenant.observed is not None
    assert tenant.observed.ready
    assert await violations(world) == []


async def test_what_cannot_start_fails_and_is_removed() -> None:
    world = await new_world()
    tenant = await world.active(version="missing-1")
    assert tenant.state is TenantState.FAILED
    assert "cannot be pulled" in tenant.operation.reason
    assert await violations(world) == []


async def test_a_tenant_that_is_never_ready_fails_in_time() -> None:
    world = await new_world()
    tenant = await world.active(version="never-ready-1")
    assert tenant.operation.reason.startswith("not ready after 300 s: ")
    assert 300 <= tenant.operation.total_seconds <= 310
    assert await violations(world) == []


async def test_a_late_repeat_never_revives_a_failed_tenant() -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    cluster = next(iter(world.kubernetes.values()))
    [namespace] = cluster.namespaces.values()
    namespace.held = True
    assert (await world.do(Activity.REMOVE, operation, reason="too slow")).verdict is Verdict.RETRY
    assert (await world.do(Activity.AWAIT, operation, worker=1)).verdict is Verdict.FAILED
    namespace.held = False
    assert (await world.do(Activity.REMOVE, operation, reason="too slow")).verdict is Verdict.DONE
    assert (await world.tenant()).state is TenantState.FAILED
    assert await violations(world) == []


async def test_a_denied_image_fails_after_a_grace_period() -> None:
    world = await new_world()
    await world.sign_up(version="denied-600")
    await world.run(until=30.0)
    assert (
        "cannot be pulled: 401 Unauthorized" in (await world.tenant()).operation.step(StepName.START).message
    )  # shown at once
    await world.run()
    tenant = await world.tenant()
    assert tenant.operation.reason.startswith("held up for 60 s: the image")
    assert 60 <= tenant.operation.total_seconds <= 70
    assert await violations(world) == []


async def test_an_image_that_is_allowed_in_time_starts() -> None:
    world = await new_world()
    tenant = await world.active(version="denied-50")
    assert tenant.state is TenantState.ACTIVE


async def test_a_node_that_is_added_extends_the_deadline() -> None:
    world = await new_world(max_concurrent=1)
    await world.sign_up(version="node-600")
    await world.sign_up("second")
    await world.run(until=60.0)
    assert (await world.tenant("second")).state is TenantState.ACTIVE  # the slot was given back
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.waited_seconds) == (TenantState.ACTIVE, 0.0)
    assert await violations(world) == []


async def test_a_node_that_never_comes_fails_the_tenant() -> None:
    world = await new_world()
    tenant = await world.active(version="node-9999")
    assert tenant.operation.reason.startswith("no node after 905 s of scaling up: ")
    assert 900 <= tenant.operation.total_seconds <= 920
    assert await violations(world) == []


async def test_a_late_delivery_costs_no_waiting_time() -> None:
    world = await new_world()
    operation = await world.sign_up(version="slow-1")
    await world.do(Activity.APPLY, operation)
    assert (await world.do(Activity.AWAIT, operation)).verdict is Verdict.RETRY
    world.clock.advance(3600)  # the task hub gives the next one out late
    world.kubernetes[next(iter(world.kubernetes))].namespaces.clear()
    await world.do(Activity.APPLY, operation)  # it is as young as it was
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.waited_seconds < 100) == (TenantState.ACTIVE, True)


@pytest.mark.parametrize("progress_interval", [0.5, 4.0, 30.0])
async def test_the_deadline_and_its_text_are_exact(progress_interval: float) -> None:
    world = await new_world(fail_after=41, progress_interval=progress_interval)
    tenant = await world.active(version="never-ready-1")
    assert tenant.operation.reason.startswith("not ready after 41 s: ")
    assert 41 <= tenant.operation.total_seconds <= 42


async def test_errors_while_waiting_are_counted_once() -> None:
    world = await new_world(fail_after=60)
    operation = await world.sign_up(version="never-ready-1")
    await world.do(Activity.APPLY, operation)
    began = world.clock.monotonic()
    polls = itertools.count()

    def away(name: str) -> Transient | None:
        if name != "wait_until_ready" or next(polls) % 3 < 2:
            return None
        world.clock.advance(3)  # that the API server took to say so
        return Transient("the API server responded 500")

    world.worker.faults.away = away
    while (outcome := await world.do(Activity.AWAIT, operation)).verdict is Verdict.RETRY:
        world.clock.advance(outcome.wait)
    seconds = world.clock.monotonic() - began
    assert 60 <= seconds <= 65
    assert outcome.reason.startswith(f"not ready after {seconds:.0f} s: ")


async def test_a_pause_ends_at_the_deadline() -> None:
    world = await new_world(fail_after=70)
    operation = await world.sign_up()
    world.kubernetes[ClusterName("one")].away = Transient("the API server responded 429", 60.0)
    waits = [(await world.do(Activity.APPLY, operation)).wait for _ in range(2)]
    assert waits == [60, 10]
    outcome = await world.do(Activity.APPLY, operation)
    assert outcome.reason == "not ready after 70 s: the API server responded 429"


@pytest.mark.parametrize("activity", [Activity.APPLY, Activity.AWAIT])
async def test_an_identity_that_is_refused_fails_nobody(activity: Activity) -> None:
    world = await new_world()
    operation = await world.sign_up()
    if activity is Activity.AWAIT:
        await world.do(Activity.APPLY, operation)
    world.kubernetes[ClusterName("one")].away = Unauthenticated("the API server does not accept berth's token", 5.0)
    await world.run(until=3600.0)
    recorded = (await world.tenant()).operation
    assert (recorded.is_open, recorded.reason) == (True, "")
    assert "the API server does not accept berth's token" in [each.message for each in recorded.steps]
    world.kubernetes[ClusterName("one")].away = None
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


@pytest.mark.parametrize("activity", [Activity.APPLY, Activity.AWAIT])
async def test_what_is_forbidden_is_shown_and_fails_in_time(activity: Activity) -> None:
    world = await new_world()
    operation = await world.sign_up(version="slow-1")
    if activity is Activity.AWAIT:
        await world.do(Activity.APPLY, operation)
    name = "apply" if activity is Activity.APPLY else "wait_until_ready"
    world.worker.faults.away = lambda call: Forbidden("no right to patch secrets") if call == name else None
    assert (await world.do(activity, operation)).verdict is Verdict.RETRY
    recorded = (await world.tenant()).operation
    assert "no right to patch secrets" in [each.message for each in recorded.steps]
    await world.run()
    tenant = await world.tenant()
    assert tenant.operation.reason == "held up for 60 s: no right to patch secrets"
    assert await violations(world) == []


async def test_doubt_begins_anew_after_another_error() -> None:
    world = await new_world()
    operation = await world.sign_up()
    doubts: list[float] = []
    forbidden = Forbidden("no right to patch secrets")
    for error in (forbidden, forbidden, Transient("the API server responded 500"), forbidden):
        world.worker.faults.away = lambda call, error=error: error if call == "apply" else None
        await world.do(Activity.APPLY, operation)
        doubts.append((await world.tenant()).operation.doubt_seconds)
    assert doubts[1] == 2 * doubts[0] > 0
    assert doubts[2:] == [0.0, doubts[0]]
