"""What reconciliation, metering and the age of signals tell, also of what there is none."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.application.ports.stored import Stored
from shared.application.signal_ages import NEVER_HEARD
from shared.domain.activity import Watch
from shared.domain.cost_components import Component
from shared.domain.dormancy import Window
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.reconciliation import FindingKind
from shared.domain.slugs import Slug
from shared.errors import Transient
from shared.settings import ActivitySettings
from shared.telemetry import metrics
from tests.support.builders import PLANS, new_cluster, new_settings
from tests.support.ledger import FIRST, new_ledger, of_cluster, use
from tests.support.recorded_telemetry import RecordedTelemetry, recorded_telemetry
from tests.support.world import PORTAL, World, new_world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STATES = [each for each in TenantState if each is not TenantState.DELETED]


@pytest.fixture
def told() -> Iterator[RecordedTelemetry]:
    with recorded_telemetry() as recorded:
        yield recorded


def tenants_of(told: RecordedTelemetry) -> dict[tuple[str, str], float]:
    return {(found["state"], found["plan"]): value for each, value, found in told.measured if each == metrics.TENANTS}


async def test_tenants_by_state_and_plan(told: RecordedTelemetry) -> None:
    world = await new_world()
    await world.active("one")
    await world.active("two")
    await world.asleep("three")
    await world.sign_up("four", plan="standard")
    await world.worker.reconciliation.run(world.workflows)
    found = tenants_of(told)
    assert found == {(state, plan): 0 for state in STATES for plan in PLANS} | {
        ("active", "trial"): 2,
        ("hibernated", "trial"): 1,
        ("provisioning", "standard"): 1,
    }
    assert len(told.values(metrics.TENANTS)) == len(found)


async def test_a_deleted_tenant_does_not_count(told: RecordedTelemetry) -> None:
    world = await new_world()
    await world.active()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED
    await world.worker.reconciliation.run(world.workflows)
    assert set(tenants_of(told).values()) == {0}


async def test_findings_by_kind_fall_back_to_zero(told: RecordedTelemetry) -> None:
    world = await new_world()
    tenant = await world.active()
    [cluster] = world.kubernetes.values()
    namespace = cluster.namespaces.pop(namespace_name(tenant.instance))
    world.clock.advance(3600)
    await world.worker.reconciliation.run(world.workflows)
    assert told.values(metrics.FINDINGS, kind=FindingKind.MISSING) == [1]
    cluster.namespaces[namespace_name(tenant.instance)] = namespace
    await world.worker.reconciliation.run(world.workflows)
    assert told.values(metrics.FINDINGS, kind=FindingKind.MISSING) == [1, 0]
    assert len(told.values(metrics.FINDINGS)) == 2 * len(FindingKind)


async def test_costs_of_the_day_so_far(told: RecordedTelemetry) -> None:
    held = await new_ledger()
    held.has_nodes(1)
    await held.log.change("acme", FIRST, use())
    await held.log.change("beta", FIRST, use())
    await held.log.change("beta", FIRST + 6 * HOUR, use(awake=False))
    await held.meter_at(FIRST + 12 * HOUR)
    [cluster] = await of_cluster(held)
    [fleet] = await held.ledger.fleet_between(cluster.day, cluster.day)
    sums = cluster.plans["trial"]
    measured = {found["component"]: value for each, value, found in told.measured if each == metrics.COST}
    assert list(measured) == list(Component)
    assert measured["compute"] == float(sums.costs[Component.COMPUTE]) > 0
    assert sum(measured.values()) == pytest.approx(float(cluster.total + fleet.overhead))
    assert (measured["database"], measured["network"]) == (0, 0)
    assert told.values(metrics.AWAKE_HOURS, plan="trial") == [float(sums.awake_hours)]
    assert told.values(metrics.AWAKE_HOURS, plan="standard") == [0]
    assert told.values(metrics.SAVINGS) == [float(sums.saved)]
    assert float(sums.saved) > 0
    counted = (12 * HOUR - timedelta(minutes=2)) / HOUR
    assert told.values(metrics.RUN_RATE) == [pytest.approx(sum(measured.values()) / counted * 730)]
    assert told.values(metrics.LEDGER_LAG) == [120]


async def test_without_tenants_nothing_is_late(told: RecordedTelemetry) -> None:
    held = await new_ledger()
    await held.meter_at(FIRST + 5 * DAY)
    assert told.values(metrics.LEDGER_LAG) == [0]
    assert not told.values(metrics.COST)


async def test_a_ledger_that_is_held_up_falls_behind(told: RecordedTelemetry) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 12 * HOUR)
    held.faults.away = lambda name: Transient("away") if name == "query nodes" else None
    for hours in (13, 14, 40):
        with pytest.raises(Transient):
            await held.meter_at(FIRST + hours * HOUR)
    assert told.values(metrics.LEDGER_LAG) == [120, 3720, 7320, 28 * 3600 + 120]


async def test_a_ledger_that_never_came_to_a_day_is_late(told: RecordedTelemetry) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    held.faults.away = lambda name: Transient("away") if name == "query nodes" else None
    with pytest.raises(Transient):
        await held.meter_at(FIRST + 12 * HOUR)
    assert told.values(metrics.LEDGER_LAG) == [12 * 3600]


async def test_a_passed_budget_counts_once(told: RecordedTelemetry) -> None:
    held = await new_ledger()
    other = held.another_worker()
    held.has_nodes(40)
    await held.log.change("acme", FIRST, use())
    for days in (1, 2):
        await held.meter_at(FIRST + days * DAY + 2 * HOUR)
        await other.metering.run()
        await held.metering.run()
    assert told.values(metrics.BUDGET_PASSED) == told.values(metrics.BUDGET_PASSED, plan="trial") == [1]


async def heard(world: World, source: str, ago: float, cluster: str = "") -> None:
    until = world.clock.now() - timedelta(seconds=ago)
    watch = Watch(source, cluster, Window(until - DAY, until))
    await TableActivityRepository(world.storage).save_watch(Stored(watch, ""))


async def ages(told: RecordedTelemetry, world: World) -> dict[str, float]:
    """Return the ages of the sources that are measured now."""
    told.measured.clear()
    await world.worker.signal_ages.run()
    return {dimensions["source"]: value for _, value, dimensions in told.measured}


async def watching(required: str) -> World:
    """Return a world of two clusters, on which some sources are required."""
    activity = ActivitySettings(required_sources=required)
    clusters = [new_cluster(), new_cluster("two")]
    return await new_world(clusters=clusters, settings=new_settings().model_copy(update={"activity": activity}))


async def test_the_age_of_each_source(told: RecordedTelemetry) -> None:
    world = await watching("prometheus,product")
    await heard(world, "prometheus", 60, "one")
    await heard(world, "prometheus", 900, "two")
    await heard(world, "prometheus", 90000, "removed")
    await heard(world, "product", 30)
    assert await ages(told, world) == {"prometheus": 900, "product": 30}


async def test_a_source_that_nobody_requires_has_no_age(told: RecordedTelemetry) -> None:
    world = await watching("product")
    await heard(world, "product", 30)
    await heard(world, "former", 90000)
    assert await ages(told, world) == {"product": 30}


async def test_a_source_that_was_never_heard_is_very_old(told: RecordedTelemetry) -> None:
    world = await watching("product")
    assert await ages(told, world) == {"product": NEVER_HEARD}
    await heard(world, "product", 60, "one")
    assert await ages(told, world) == {"product": NEVER_HEARD}  # of the other cluster it was not
    await heard(world, "product", 90000)
    assert await ages(told, world) == {"product": 90000}


async def test_what_is_heard_of_each_cluster_is_what_counts(told: RecordedTelemetry) -> None:
    world = await watching("product")
    await heard(world, "product", 90000)  # of all clusters, before the product named them
    await heard(world, "product", 60, "one")
    await heard(world, "product", 90, "two")
    assert await ages(told, world) == {"product": 90}
