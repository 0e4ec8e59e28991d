"""The overview for operators: what it finds, and that it reads no more the more tenants there are."""

from dataclasses import replace

from shared.application.ops_overview import MAX_SHOWN, Attention
from shared.domain.clusters import ClusterName
from shared.domain.cost_report import CostReport
from shared.domain.latency import LatencyKind
from shared.domain.lifecycle import TenantState
from shared.domain.reconciliation import Finding, FindingKind, FindingState, first_seen
from shared.domain.sweeps import SweepState
from shared.domain.workflow import Activity
from shared.errors import Unreachable
from tests.bench.counted import CountedTables
from tests.support.builders import new_cluster, new_settings
from tests.support.reports import past_world
from tests.support.sweeping import ACTIVITY
from tests.support.world import Worker, World, new_world

ONE = ClusterName("one")
HOUR = 3600.0


async def attention_of(world: World) -> Attention:
    return await world.worker.ops_overview.attention()


async def test_of_a_new_berth_there_is_nothing_to_see() -> None:
    world = await new_world()
    overview = world.worker.ops_overview
    fleet = await overview.fleet()
    assert ([each.name for each in fleet.clusters], fleet.states) == (["one"], None)
    assert ((await overview.running()).count, await overview.sweeps()) == (0, ())
    assert not (await attention_of(world)).is_needed


async def test_tenants_are_counted_by_cluster_and_state() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    for slug in ("acme", "beta"):
        await world.active(slug)
    await world.asleep("gamma")
    await world.sign_up("delta", version="missing-1")
    await world.run()
    await world.worker.reconciliation.run(world.workflows)
    states = (await world.worker.ops_overview.fleet()).states
    assert states is not None
    assert states.at == world.clock.now()
    assert {state: states.of_state(state) for state in TenantState if states.of_state(state)} == {
        TenantState.ACTIVE: 2,
        TenantState.HIBERNATED: 1,
        TenantState.FAILED: 1,
    }
    assert sum(states.of_cluster(each, TenantState.ACTIVE) for each in (ONE, ClusterName("two"))) == 2
    assert states.of_cluster(ClusterName("three"), TenantState.ACTIVE) == 0
    assert (await attention_of(world)).failed == 1


async def test_the_oldest_operations_are_shown_with_their_steps() -> None:
    world = await new_world(clusters=[replace(new_cluster(), capacity=1000)], max_concurrent=3, wake_slots=0)
    for number in range(MAX_SHOWN + 2):
        await world.sign_up(f"t-{number:02}")
        world.clock.advance(0.01)
    running = await world.worker.ops_overview.running()
    assert running.count == MAX_SHOWN + 2
    assert [each.slug for each in running.operations] == [f"t-{number:02}" for number in range(MAX_SHOWN)]
    assert running.operations[0].steps
    await world.run()
    assert (await world.worker.ops_overview.running()).operations == []


async def test_an_operation_that_makes_no_progress_is_stuck() -> None:
    world = await new_world(max_concurrent=1, wake_slots=0)
    await world.sign_up("acme")
    await world.sign_up("beta")  # waits for a slot, which is no fault of it
    after = world.settings.recovery.stuck_after
    world.clock.advance(after - 1)
    assert not (await attention_of(world)).is_needed
    world.clock.advance(1)
    attention = await attention_of(world)
    assert [each.slug for each in attention.stuck] == ["acme"]
    assert attention.is_needed


async def test_a_backlog_does_not_hide_what_is_stuck() -> None:
    async def requests(queued: int) -> int:
        world = await new_world(clusters=[replace(new_cluster(), capacity=1000)], max_concurrent=1, wake_slots=0)
        first = await world.sign_up("acme")
        for number in range(queued):
            await world.sign_up(f"t-{number:02}")
        world.clock.advance(1)
        await world.do(Activity.APPLY, first)  # and so was heard of last
        world.clock.advance(world.settings.recovery.stuck_after)
        tables = CountedTables(world.storage)
        overview = Worker(tables, world.kubernetes, world.clock, world.settings, world.templates).ops_overview
        assert [each.slug for each in (await overview.attention()).stuck] == ["acme"]
        return tables.requests

    assert await requests(MAX_SHOWN + 2) == await requests(1)


async def test_a_cluster_that_does_not_respond_is_named() -> None:
    world = await new_world()
    world.kubernetes[ONE].away = Unreachable("no route to host")
    for _ in range(2):
        await world.worker.breakers.check_all()
    [cluster] = (await attention_of(world)).broken
    assert cluster.breaker is not None
    assert "no route to host" in cluster.breaker.reason


async def test_a_refused_sweep_and_the_kill_switch_are_named() -> None:
    world = await new_world(settings=new_settings().model_copy(update={"activity": ACTIVITY}))
    await world.active()
    world.clock.advance(60)

    async def sweep(*, dry_run: bool) -> None:
        begun = await world.worker.sweeps.start(dry_run=dry_run, actor="ann", workflows=world.workflows)
        while not (await world.worker.advance_sweep.run(begun.id, world.workflows)).ended:
            pass

    await sweep(dry_run=True)
    assert [each.state for each in await world.worker.ops_overview.sweeps()] == [SweepState.REFUSED]
    assert (await attention_of(world)).refused is None  # nobody would have been put to sleep by it
    world.clock.advance(60)
    await sweep(dry_run=False)
    attention = await attention_of(world)
    assert attention.refused is not None
    assert attention.refused.reason == "prometheus has not watched for activity"
    assert not attention.sweeps_are_off
    await world.worker.sweeps.switch(enabled=False, actor="ann")
    assert (await attention_of(world)).sweeps_are_off


async def test_findings_are_shown_up_to_a_number() -> None:
    world = await new_world()
    found = [Finding(FindingKind.ORPHAN, ONE, f"i{number:03}", "of nobody") for number in range(MAX_SHOWN + 1)]
    recorded = [first_seen(each, world.clock.now()) for each in found]
    await world.worker.findings.save(recorded)
    attention = await attention_of(world)
    assert (len(attention.findings), attention.more_findings) == (MAX_SHOWN, True)
    await world.worker.findings.save([each.ended(FindingState.GONE, world.clock.now()) for each in recorded])
    assert not (await attention_of(world)).is_needed


async def test_customers_beyond_the_goal_are_named() -> None:
    world = await past_world()
    attention = await attention_of(world)
    assert attention.over_goal_count == len(attention.over_goal) > 0
    assert attention.over_goal[0].slug == "beta"


async def test_trends_are_of_the_last_days() -> None:
    world = await past_world()
    trends = await world.worker.ops_overview.trends()
    assert {line.kind for line in trends.latency} == {LatencyKind.PROVISION, LatencyKind.HIBERNATE, LatencyKind.WAKE}
    assert {line.group for line in trends.latency_by_day} == {"2026-02-28", "2026-03-03", "2026-03-06"}
    assert isinstance(trends.costs, CostReport)
    assert list(trends.costs.lines)[-1] == "2026-03-09"
    assert trends.rolled_at is not None


async def test_more_tenants_cost_no_more_requests() -> None:
    async def cost(tenants: int) -> tuple[int, int]:
        world = await new_world(clusters=[replace(new_cluster(), capacity=1000)])
        for number in range(tenants):
            await world.active(f"t-{number:03}")
        await world.worker.reconciliation.run(world.workflows)
        await world.worker.metering.run()
        await world.worker.roll_up_latency.run()
        tables = CountedTables(world.storage)
        fresh = Worker(tables, world.kubernetes, world.clock, world.settings, world.templates)
        overview = fresh.ops_overview
        for read in (overview.fleet, overview.running, overview.attention, overview.sweeps, overview.trends):
            await read()
        return tables.requests, tables.rows

    assert await cost(2) == await cost(40)
