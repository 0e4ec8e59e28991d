"""Retention: what is old is deleted, the rest stays, and one kind of record does not stop the others."""

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import Write
from shared.application.idempotent_start import Caller
from shared.application.retention import MAX_SECONDS, Retention
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.reconciliation import Finding, FindingKind, FindingState, first_seen
from shared.domain.slugs import Slug
from shared.errors import NotFound, Transient
from shared.settings import RetentionSettings
from tests.support.builders import new_cluster
from tests.support.fake_workflows import FakeWorkflows
from tests.support.instant_loop import run_instantly
from tests.support.memory_tables import MemoryTables
from tests.support.world import World, new_world

KEEP = RetentionSettings()
DAY = 24 * 3600.0
NOTHING = {
    "idempotency keys": 0,
    "latency rows": 0,
    "latency roll-ups": 0,
    "operations": 0,
    "audit entries": 0,
    "activity": 0,
    "findings": 0,
    "sweeps": 0,
    "costs": 0,
    "orchestrations": 0,
}

TABLES = {
    "idempotency keys": "idempotency",
    "latency rows": "latency",
    "latency roll-ups": "latencydaily",
    "operations": "tenants",
    "audit entries": "tenants",
    "activity": "tenants",
    "findings": "reconciliations",
    "sweeps": "sweeps",
    "costs": "tenants costs",
}


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.application.retention")


def counts(caplog: pytest.LogCaptureFixture, event: str = "purged") -> dict[str, int]:
    """Return the counts that were logged with an event since the last call, by the kind of record."""
    lines = [re.match(rf'{event} kind="?([^"=]+)"? count=(\d+)', each.getMessage()) for each in caplog.records]
    caplog.clear()
    return {line[1]: int(line[2]) for line in lines if line}


def kinds(world: World) -> set[str]:
    """Return which kinds of row are left in the table of tenants."""
    return {key.partition(":")[0] for _, key in world.storage.rows["tenants"]}


async def purge(world: World, worker: int = 0) -> None:
    await world.workers[worker].retention.purge(world.workflows)


async def used(slug: str = "acme") -> World:
    """Return a world whose tenant was signed up with a key, and deleted."""
    world = await new_world(workers=2, clusters=[new_cluster(capacity=100)])
    await world.sign_up(slug, Caller("portal", "key-1", "signup"))
    await world.run()
    await world.worker.record_activity.record(Slug(slug), "heartbeat", None)
    world.clock.advance(1)
    await world.worker.delete.delete(Slug(slug), Caller("portal"), world.workflows)
    await world.run()
    finding = first_seen(Finding(FindingKind.ORPHAN, ClusterName("one"), "i", "it is there"), world.clock.now())
    await world.worker.findings.save([finding.ended(FindingState.GONE, world.clock.now())])
    await world.worker.metering.run()
    await world.worker.roll_up_latency.run()
    await world.worker.sweeps.start(dry_run=True, actor="portal", workflows=world.workflows)
    return world


async def test_each_kind_is_deleted_at_its_age(caplog: pytest.LogCaptureFixture) -> None:
    world = await used()
    await purge(world)
    assert counts(caplog) == NOTHING | {"orchestrations": 2}  # the fake ignores when they began
    world.clock.advance(KEEP.latency_days * DAY - 60)
    await purge(world)
    assert counts(caplog) == NOTHING | {"idempotency keys": 2}  # a claim and the mark of the period before
    world.clock.advance(DAY)
    await purge(world)
    assert counts(caplog) == NOTHING | {"latency rows": 2, "operations": 2, "findings": 1, "sweeps": 2}
    world.clock.advance((KEEP.audit_days - KEEP.latency_days) * DAY)
    await purge(world)
    assert counts(caplog) == NOTHING | {"audit entries": 4, "activity": 1}
    world.clock.advance((KEEP.cost_days - KEEP.audit_days) * DAY)
    await purge(world)
    assert counts(caplog) == NOTHING | {"costs": 3}  # two transitions, and the nodes of the cluster
    world.clock.advance((KEEP.latency_rollup_days - KEEP.cost_days) * DAY)
    await purge(world)
    assert counts(caplog) == NOTHING | {"latency roll-ups": 2}
    await purge(world)
    assert counts(caplog) == NOTHING


async def test_orchestrations_are_purged_by_their_age() -> None:
    world = await new_world()
    await purge(world)
    assert world.workflows.purged == [world.clock.now() - timedelta(days=KEEP.orchestration_days)]


async def test_the_last_operation_of_a_tenant_stays() -> None:
    world = await used()
    tenant = await world.tenant()
    world.clock.advance(3650 * DAY)
    await purge(world)
    assert await world.tenant() == tenant
    assert await world.worker.tenants.get_operation(tenant.operation.id) == tenant.operation
    assert kinds(world) == {"tenant", "due"}


async def test_open_operations_and_new_records_stay(caplog: pytest.LogCaptureFixture) -> None:
    world = await used()
    world.clock.advance(1200 * DAY)
    operation = await world.sign_up("new", Caller("portal", "key-2", "signup"))
    await purge(world)
    assert counts(caplog) == {
        "idempotency keys": 2,
        "latency rows": 2,
        "latency roll-ups": 2,
        "operations": 2,
        "audit entries": 4,
        "activity": 1,
        "findings": 1,
        "sweeps": 2,
        "costs": 3,
        "orchestrations": 2,
    }
    assert (await world.sign_up("new", Caller("portal", "key-2", "signup"))).id == operation.id
    await world.run()
    assert (await world.tenant("new")).state is TenantState.ACTIVE


@pytest.mark.parametrize(
    "table", ["idempotency", "latency", "latencydaily", "tenants", "reconciliations", "sweeps", "costs"]
)
async def test_a_failure_stops_no_other_kind(table: str, caplog: pytest.LogCaptureFixture) -> None:
    world = await used()
    world.clock.advance(1200 * DAY)
    world.worker.faults.away = lambda name: Transient("it is away") if name == f"query {table}" else None
    await purge(world)
    failed = {kind for kind, its_tables in TABLES.items() if table in its_tables.split()}
    purged = counts(caplog)
    assert set(purged) == set(NOTHING) - failed
    assert all(purged.values())
    world.worker.faults.reset()
    await purge(world)
    assert set(NOTHING) - failed == {kind for kind, count in counts(caplog).items() if not count}


async def test_a_task_hub_that_is_away_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = await used()
    world.clock.advance(1200 * DAY)
    world.workflows.away = True
    await purge(world)
    assert counts(caplog) == {
        "idempotency keys": 2,
        "latency rows": 2,
        "latency roll-ups": 2,
        "operations": 2,
        "audit entries": 4,
        "activity": 1,
        "findings": 1,
        "sweeps": 2,
        "costs": 3,
    }


async def test_an_error_nobody_expects_comes_last(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeWorkflows):
        async def purge(self, *, before: datetime, timeout: float) -> int:
            raise ValueError("on purpose")

    world = await used()
    world.clock.advance(1200 * DAY)
    with pytest.raises(ExceptionGroup) as caught:
        await world.worker.retention.purge(Broken())
    assert [str(each) for each in caught.value.exceptions] == ["on purpose"]
    assert len(counts(caplog)) == 9


async def test_two_workers_purge_at_the_same_time(caplog: pytest.LogCaptureFixture) -> None:
    world = await used()
    for number in range(20):
        await world.active(f"tenant-{number}")
    world.clock.advance(1200 * DAY)
    await asyncio.gather(purge(world, 0), purge(world, 1))
    assert not counts(caplog, "not all purged")
    await purge(world)
    assert kinds(world) == {"tenant", "due"}  # the latter are for the sweep
    assert not world.storage.rows["latency"]


class SlowTables(MemoryTables):
    """Tables whose transactions take a quarter of a run."""

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        await asyncio.sleep(MAX_SECONDS / 4)
        return await super().transact(table, writes)


def test_a_run_ends_in_time_and_the_next_continues(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> list[int]:
        world = await new_world(clusters=[new_cluster(capacity=100)])
        for number in range(40):
            await world.active(f"tenant-{number}")
        world.clock.advance(1200 * DAY)
        slow = SlowTables()
        slow.rows = world.storage.rows
        retention = Retention(records=TableOldRecords(slow), clock=world.clock, settings=KEEP)
        left: list[int] = []
        while not left or left[-1]:
            began = asyncio.get_running_loop().time()
            await retention.purge(world.workflows)
            assert asyncio.get_running_loop().time() - began <= MAX_SECONDS
            world.clock.advance(DAY)
            left.append(len([key for _, key in slow.rows["tenants"] if not key.startswith(("tenant:", "due:"))]))
        return left

    left = run_instantly(work())
    assert left == sorted(set(left), reverse=True)
    assert len(left) > 2
    assert counts(caplog, "not all purged")


async def test_a_purged_operation_is_not_found() -> None:
    world = await new_world()
    first = await world.sign_up(version="missing")
    await world.run()
    await world.worker.delete.delete(Slug("acme"), Caller("portal"), world.workflows)
    await world.run()
    assert (await world.worker.tenants.get_operation(first.id)).id == first.id
    world.clock.advance(1200 * DAY)
    await purge(world)
    with pytest.raises(NotFound):
        await world.worker.tenants.get_operation(first.id)
