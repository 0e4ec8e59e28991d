"""Recovery: which operations are started again, and which are left alone."""

import pytest

from shared.adapters.tables import keys, rows
from shared.adapters.tables.tenants import TABLE
from shared.domain.instances import new_instance_id
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation, OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Transient
from tests.support.builders import new_cluster
from tests.support.fake_workflows import FakeWorkflows
from tests.support.world import World, new_world, violations


class PartlyAway(FakeWorkflows):
    """A task hub that does not answer for one operation."""

    silent = OperationId("")

    async def is_running(self, operation: Operation) -> bool:
        if operation.id == self.silent:
            raise Transient("the task hub does not respond")
        return await FakeWorkflows.is_running(self, operation)


async def lost(slug: str = "acme") -> tuple[World, Operation]:
    """Return a world with one operation, whose orchestration is lost."""
    world = await new_world()
    operation = await world.sign_up(slug)
    world.workflows.running.clear()
    return world, operation


async def test_a_lost_orchestration_is_started_once() -> None:
    world, operation = await lost()
    world.clock.advance(60)
    assert [await world.restart_lost(), await world.restart_lost()] == [1, 0]
    assert world.workflows.started == [operation.id, f"{operation.id}.1"]
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_young_operation_is_left_alone() -> None:
    world, _ = await lost()
    world.clock.advance(59)
    assert await world.restart_lost() == 0


async def test_a_running_orchestration_is_left_alone() -> None:
    world = await new_world()
    await world.sign_up()
    world.clock.advance(299)
    assert await world.restart_lost() == 0
    assert world.workflows.terminated == []


async def test_a_stuck_orchestration_is_replaced() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.clock.advance(301)
    assert [await world.restart_lost(), await world.restart_lost()] == [1, 0]
    assert world.workflows.terminated == [operation.id]
    assert list(world.workflows.running) == [f"{operation.id}.1"]
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_an_ended_operation_is_left_alone() -> None:
    world = await new_world()
    await world.active()
    world.clock.advance(3600)
    assert await world.restart_lost() == 0
    assert len(world.workflows.started) == 1


@pytest.mark.parametrize("silent", ["first", "second", "third"])
async def test_one_that_fails_does_not_stop_the_others(silent: str) -> None:
    world = await new_world()
    operations = {slug: await world.sign_up(slug) for slug in ("first", "second", "third")}
    hub = PartlyAway()
    hub.silent = operations[silent].id
    world.clock.advance(60)
    assert await world.worker.recovery.restart_lost(await world.worker.tenants.open_operations(), hub) == 2
    assert set(hub.started) == {f"{each.id}.1" for slug, each in operations.items() if slug != silent}


async def test_a_task_hub_that_is_away_is_no_error() -> None:
    world, operation = await lost()
    world.clock.advance(60)
    world.workflows.away = True
    assert await world.restart_lost() == 0
    world.workflows.away = False
    assert await world.restart_lost() == 1
    assert world.workflows.started[1:] == [f"{operation.id}.1"]


async def test_tables_that_are_away_are_an_error() -> None:
    world, _ = await lost()
    world.worker.faults.away = lambda _: Transient("the tables do not respond")
    with pytest.raises(Transient):
        await world.restart_lost()


async def test_a_clock_set_back_loses_no_operation() -> None:
    world, _ = await lost()
    world.clock.step(-3600)
    assert await world.restart_lost() == 1
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.total_seconds) == (TenantState.ACTIVE, 0.0)


async def test_a_clock_set_back_a_little_ends_nothing() -> None:
    world = await new_world()
    await world.sign_up()
    world.clock.step(-299)
    assert await world.restart_lost() == 0
    assert world.workflows.terminated == []


async def test_an_unreadable_row_is_skipped() -> None:
    world = await new_world()
    operations = {slug: await world.sign_up(slug) for slug in ("first", "second", "third")}
    world.workflows.running.clear()
    key = keys.shard(Slug("second")), keys.tenant_key("second")
    row, etag = world.storage.rows[TABLE][key]
    newer = {**row, "schema_version": rows.SCHEMA_VERSION + 1}
    world.storage.rows[TABLE][key] = newer, etag
    world.clock.advance(60)
    assert await world.restart_lost() == 2
    assert not any(each.startswith(operations["second"].id) for each in world.workflows.running)
    assert world.storage.rows[TABLE][key] == (newer, etag)


async def test_a_hub_that_is_replaced_at_any_step_loses_nothing() -> None:
    for steps in range(1, 12):
        world = await new_world(workers=2)
        await world.sign_up(version="slow-1")
        await world.run(steps=steps)
        world.workflows.running.clear()
        world.clock.advance(60)
        await world.timers()
        await world.run()
        assert (await world.tenant()).state is TenantState.ACTIVE, f"replaced after {steps} steps"
        assert await violations(world) == []


async def test_a_start_that_was_not_recorded_is_made_once() -> None:
    world, operation = await lost()
    world.clock.advance(60)
    world.worker.faults.away = lambda name: Transient("tables are away") if name == "transact tenants" else None
    assert await world.restart_lost() == 0
    world.worker.faults.reset()
    assert await world.restart_lost() == 1
    assert world.workflows.started == [operation.id, f"{operation.id}.1"]


async def test_an_operation_is_not_restarted_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    world, operation = await lost()
    limit = world.settings.recovery.max_restarts
    for _ in range(limit + 2):
        world.workflows.running.clear()
        world.clock.advance(60)
        await world.restart_lost()
    assert world.workflows.started[-1] == f"{operation.id}.{limit}"
    assert [each.levelname for each in caplog.records if "needs an operator" in each.message] == ["ERROR"] * 2


async def test_a_waiting_operation_is_not_lost() -> None:
    world = await new_world(max_concurrent=1)
    first, second = await world.sign_up("first", version="never-ready-1"), await world.sign_up("second")
    world.clock.advance(3600)
    world.workflows.running.clear()
    assert await world.timers() == 1
    assert list(world.workflows.running) == [f"{first.id}.1"]
    await world.run()
    assert (await world.tenant("second")).operation.id == second.id
    assert (await world.tenant("second")).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_slot_after_a_long_wait_is_not_stuck() -> None:
    world = await new_world(max_concurrent=1)
    first, second = await world.sign_up("first"), await world.sign_up("second")
    world.clock.advance(600)
    await world.do(Activity.APPLY, first)
    await world.do(Activity.AWAIT, first)
    assert second.id in world.workflows.running
    world.clock.advance(61)  # the task hub is slow to begin
    await world.restart_lost()
    assert world.workflows.terminated == []
    assert f"{second.id}.1" not in world.workflows.started


async def test_an_unreadable_reservation_stops_nobody() -> None:
    world, operation = await lost()
    await world.sign_up("other")
    held = world.storage.rows["clusters"]
    key = next(key for key in held if key[1].startswith("starting:") and held[key][0]["operation_id"] != operation.id)
    held[key] = {**held[key][0], "schema_version": rows.SCHEMA_VERSION + 1}, held[key][1]
    world.clock.advance(60)
    assert await world.timers() >= 1
    assert f"{operation.id}.1" in world.workflows.running


async def test_a_reservation_of_before_a_move_does_not_count() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")], max_concurrent=1)
    for slug in ("first", "second"):
        await world.sign_up(slug)
    operation = await world.sign_up()
    waits_on = (await world.tenant()).cluster
    other = await world.cluster("two" if waits_on == "one" else "one")
    reserve = world.worker.reservations.reserve
    await reserve(other, new_instance_id(), operation.id, weight=1, max_starting=9, max_waiting=0)
    world.clock.advance(70)
    await world.restart_lost()
    assert (await world.tenant()).operation.restarts == 0
