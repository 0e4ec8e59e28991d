"""Admission: slots, the queue of each cluster, and refusals."""

import asyncio
from collections import Counter

import pytest

from shared.domain.clusters import ClusterName, ClusterState
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation, OperationState
from shared.domain.workflow import Activity, Verdict
from shared.errors import Conflict, NoRoom, NotFound, QueueFull, Transient
from tests.support.builders import new_cluster
from tests.support.world import World, new_world, violations

ONE = ClusterName("one")
ELSEWHERE = {"region": "elsewhere"}


async def position(world: World, slug: str) -> int | None:
    world.clock.advance(3)  # longer than a queue that was read is kept
    return await world.worker.admission.position((await world.tenant(slug)).operation)


async def signed_up(world: World, count: int) -> Counter[type]:
    """Return how many of a burst of signups are taken and refused, when each worker gets its share at once."""
    signups = (world.sign_up(f"t-{number}", worker=number % len(world.workers)) for number in range(count))
    results = await asyncio.gather(*signups, return_exceptions=True)
    return Counter(type(each) for each in results)


async def test_tenants_start_in_the_order_of_their_signup() -> None:
    world = await new_world(workers=2, max_concurrent=1)
    slugs = [f"t-{letter}" for letter in "dacb"]
    for slug in slugs:
        await world.sign_up(slug)
        world.clock.advance(2)
    await world.run()
    started = [(await world.tenant(slug)).operation.finished_at for slug in slugs]
    assert started == sorted(started, key=str)
    assert {(await world.tenant(slug)).state for slug in slugs} == {TenantState.ACTIVE}
    assert await violations(world) == []


async def test_a_tenant_without_a_slot_has_no_orchestration() -> None:
    world = await new_world(max_concurrent=1)
    first, second = await world.sign_up("first"), await world.sign_up("second")
    assert list(world.workflows.running) == [first.id]
    tenant = await world.tenant("second")
    assert (tenant.cluster, tenant.operation.state) == ("one", OperationState.QUEUED)
    assert tenant.operation.steps[0].message == "queued on one"
    world.clock.advance(100)
    await world.run()
    assert world.workflows.started == [first.id, second.id]
    operation = (await world.tenant("second")).operation
    assert operation.queued_seconds >= 100
    assert await violations(world) == []


async def test_waiting_costs_nothing_but_the_timer() -> None:
    calls: dict[int, int] = {}
    for waiting in (0, 100):
        world = await new_world(clusters=[new_cluster(capacity=200)], max_concurrent=1)
        for number in range(1 + waiting):
            await world.sign_up(f"t-{number}")
        world.workflows.running.clear()  # leave only those that wait, and the timer
        started = len(world.workflows.started)
        world.worker.faults.reset()
        world.clock.advance(30)
        await world.timers()
        calls[waiting] = len(world.worker.faults.calls)
        assert len(world.workflows.started) == started
    assert calls[100] - calls[0] <= 3  # a page of the queue, however long it is


async def test_the_position_counts_down() -> None:
    world = await new_world(max_concurrent=1)
    for number in range(4):
        await world.sign_up(f"t-{number}")
        world.clock.advance(0.1)
    assert [await position(world, f"t-{number}") for number in range(4)] == [None, 1, 2, 3]
    await world.run(steps=2)
    assert (await world.tenant("t-0")).state is TenantState.ACTIVE
    assert [await position(world, f"t-{number}") for number in range(4)] == [None, None, 1, 2]


async def test_a_full_queue_refuses_with_jitter(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = await new_world(max_concurrent=1, max_queued=1)
    for slug in ("one-1", "two-2"):
        await world.sign_up(slug)
    with pytest.raises(QueueFull) as refused:
        await world.sign_up("three-3")
    assert refused.value.retry_after is not None
    assert 30 <= refused.value.retry_after <= 60
    with pytest.raises(NotFound):
        await world.tenant("three-3")
    line = next(record.message for record in caplog.records if "refused" in record.message)
    assert "tenant=three-3" in line
    assert "operation=three-3." in line


async def test_a_full_region_refuses_and_takes_no_slug() -> None:
    world = await new_world(clusters=[new_cluster(capacity=1)], max_concurrent=1)
    await world.sign_up("first")
    with pytest.raises(NoRoom, match="is full"):  # and also what waits has its room
        await world.sign_up("second")
    assert await world.worker.signup.slug_problem("second") is None
    await world.run()
    assert await violations(world) == []


async def test_the_limit_holds_over_forty_workers() -> None:
    world = await new_world(workers=40, clusters=[new_cluster(capacity=10_000)])
    assert await signed_up(world, 40 * 63) == {Operation: 556, QueueFull: 2520 - 556}
    cluster = await world.cluster()
    assert (cluster.starting, cluster.waiting) == (56, 500)  # the other eight slots are for wakes
    assert len(world.workflows.running) == 56
    assert await violations(world, at_rest=False) == []


async def test_a_burst_is_served_to_its_end() -> None:
    world = await new_world(
        workers=3, clusters=[new_cluster(capacity=100)], max_concurrent=4, max_queued=20, wake_slots=0
    )
    assert await signed_up(world, 60) == {Operation: 24, QueueFull: 36}
    await world.run()
    assert await violations(world) == []


async def test_signups_of_one_moment_share_their_writes() -> None:
    world = await new_world(clusters=[new_cluster(capacity=1000)])
    world.worker.faults.reset()
    await signed_up(world, 50)
    calls = Counter(world.worker.faults.calls)
    assert calls["transact clusters"] <= 4
    assert calls["query clusters"] <= 3
    assert (calls["get tenants"], calls["transact tenants"]) == (50, 50)


async def test_refused_signups_count_for_nothing() -> None:
    world = await new_world(max_concurrent=1, max_queued=1)
    await world.sign_up("first")
    for _ in range(5):
        with pytest.raises(Conflict):
            await world.sign_up("first")
    await world.sign_up("second")
    with pytest.raises(QueueFull):
        await world.sign_up("third")
    assert (await world.cluster()).allocated == 2


async def test_a_slug_lost_in_a_race_gives_its_slot_back() -> None:
    world = await new_world(workers=2, max_concurrent=1)
    results = await asyncio.gather(*(world.sign_up(worker=worker) for worker in (0, 1)), return_exceptions=True)
    assert [isinstance(each, Conflict) for each in results].count(True) == 1
    later = await world.sign_up("later")
    await world.run()
    assert (await world.tenant("later")).operation.id == later.id
    assert await violations(world) == []


async def test_a_cancelled_tenant_leaves_the_queue() -> None:
    world = await new_world(max_concurrent=1, max_queued=1)
    first, second = await world.sign_up("first"), await world.sign_up("second")
    await world.do(Activity.APPLY, first)
    await world.cancel(second)
    assert (await world.do(Activity.APPLY, second)).verdict is Verdict.FAILED
    await world.do(Activity.REMOVE, second, reason="cancelled")
    await world.sign_up("third")
    await world.run()
    assert (await world.tenant("third")).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_busy_cluster_stops_no_other_region() -> None:
    world = await new_world(
        clusters=[new_cluster(), new_cluster("two", region="elsewhere")], max_concurrent=2, wake_slots=0
    )
    for number in range(5):
        await world.sign_up(f"slow-{number}", version="never-ready-1")
    other = await world.sign_up("other", region="elsewhere")
    assert other.id in world.workflows.running


async def test_a_cordoned_cluster_serves_its_queue() -> None:
    world = await new_world(max_concurrent=1)
    for slug in ("first", "second"):
        await world.sign_up(slug)
    await world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=None)
    await world.run()
    assert (await world.tenant("second")).state is TenantState.ACTIVE


async def test_a_next_one_that_cannot_start_is_started_later() -> None:
    world = await new_world(max_concurrent=1)
    first, second = await world.sign_up("first"), await world.sign_up("second")
    await world.do(Activity.APPLY, first)
    world.workflows.away = True
    assert (await world.do(Activity.AWAIT, first)).verdict is Verdict.DONE
    assert (await world.cluster()).starting == 1  # it has the slot already
    world.workflows.away = False
    world.clock.advance(61)
    assert await world.timers() >= 1
    await world.run()
    assert (await world.tenant("second")).operation.id == second.id
    assert await violations(world) == []


async def test_a_lost_handover_is_made_by_the_timer() -> None:
    world = await new_world(max_concurrent=1)
    first, _ = await world.sign_up("first"), await world.sign_up("second")
    await world.do(Activity.APPLY, first)
    # The worker stops between releasing the slot and handing it on.
    world.worker.faults.away = lambda name: Transient("away") if name == "query clusters" else None
    assert (await world.do(Activity.AWAIT, first)).verdict is Verdict.RETRY
    world.worker.faults.reset()
    world.workflows.running.clear()
    await world.timers()
    await world.run()
    assert (await world.tenant("second")).state is TenantState.ACTIVE
    assert await violations(world) == []


async def with_one_slot_taken() -> World:
    """Return a world of two workers whose only slot has `first`."""
    world = await new_world(workers=2, max_concurrent=1)
    await world.sign_up("first")
    world.workers[1].faults.reset()
    return world


@pytest.mark.parametrize("lost", [False, True])
async def test_a_slot_that_comes_during_a_signup_is_used(lost: bool) -> None:
    # `lost`: the tenant is recorded, but the response is lost, and another worker writes to it before the retry.
    trial = await with_one_slot_taken()
    await trial.sign_up("late", worker=1)
    number = trial.workers[1].faults.calls.index("transact tenants") + 1
    world = await with_one_slot_taken()
    stall = world.workers[1].faults.stall(number, after=lost)
    if lost:
        world.workers[1].faults.lose(number)
    signup = asyncio.create_task(world.sign_up("late", worker=1))
    await asyncio.wait_for(stall.reached.wait(), 5)
    both, world.workers = world.workers, world.workers[:1]
    await world.run()
    assert (await world.tenant("first")).state is TenantState.ACTIVE
    if lost:
        assert (await world.tenant("late")).state is TenantState.ACTIVE
    stall.release()
    operation = await signup
    world.workers = both
    await world.run()
    tenant = await world.tenant("late")
    assert (tenant.state, tenant.operation.id, tenant.operation.restarts) == (TenantState.ACTIVE, operation.id, 0)
    assert await violations(world) == []


async def test_a_cancelled_signup_leaves_no_reservation() -> None:
    world = await new_world()
    tasks = [asyncio.create_task(world.sign_up(f"t-{number}")) for number in range(9)]
    for _ in range(8):  # some steps into their first calls
        await asyncio.sleep(0)
    for task in tasks[3:6]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    world.clock.advance(61)
    await world.timers()
    await world.run()
    assert await violations(world) == []


async def test_sums_that_were_read_late_hide_no_free_slot() -> None:
    world = await new_world(max_concurrent=1)
    await world.sign_up("first")
    await world.sign_up("second")
    tenant, worker = await world.tenant("first"), world.worker
    world.clock.advance(6)  # what is known of the breakers is too old
    worker.faults.reset()
    write, breakers = worker.faults.stall(2), worker.faults.stall(4)
    release = asyncio.create_task(
        worker.admission.release_slot(ONE, tenant.instance, tenant.operation.id, world.workflows)
    )
    await write.reached.wait()
    slow = worker.faults.stall(3, after=True)  # somebody else reads before the write, and gets it after the write
    reading = asyncio.create_task(worker.reservations.sums(ONE))
    await slow.reached.wait()
    write.release()
    await breakers.reached.wait()
    slow.release()
    await reading
    breakers.release()
    await release
    assert (await world.cluster()).waiting == 0
