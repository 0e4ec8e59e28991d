"""Recovery: which open operations are started again, which are ended, and which are left alone."""

from datetime import timedelta

from shared.adapters.tables.keys import shard, tenant_key
from shared.adapters.tables.storage import Upsert
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.errors import Transient
from tests.support.world import new_world, violations


async def test_a_lost_operation_is_started_once() -> None:
    world = await new_world(workers=2)
    operation = await world.sign_up()
    world.workflows.running.clear()  # the task hub was replaced
    world.clock.advance(59)
    assert await world.worker.recovery.restart_lost(world.workflows) == 0
    world.clock.advance(2)
    assert await world.worker.recovery.restart_lost(world.workflows) == 1
    assert await world.workers[1].recovery.restart_lost(world.workflows) == 0
    assert world.workflows.started == [operation.id] * 2
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert await violations(world) == []


async def test_a_stuck_operation_is_ended_then_started() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.clock.advance(299)
    await world.worker.recovery.restart_lost(world.workflows)
    assert world.workflows.terminated == []
    world.clock.advance(2)
    assert await world.worker.recovery.restart_lost(world.workflows) == 0
    assert world.workflows.terminated == [operation.id]
    assert await world.worker.recovery.restart_lost(world.workflows) == 1


async def test_a_clock_set_back_hides_no_lost_operation() -> None:
    world = await new_world()
    await world.sign_up()
    world.workflows.running.clear()
    world.clock.step(-timedelta(hours=5).total_seconds())
    assert await world.worker.recovery.restart_lost(world.workflows) == 1


async def test_one_failure_does_not_stop_the_others() -> None:
    world = await new_world()
    for slug in ("one-1", "two-2", "three-3"):
        await world.sign_up(slug)
    world.workflows.running.clear()
    world.clock.advance(61)
    real, failed = world.workflows.start, list[str]()

    async def start_but_one(operation: object) -> None:
        if not failed:
            failed.append(str(operation))
            raise Transient("away")
        await real(operation)  # type: ignore[arg-type]

    class Flaky:
        is_running = world.workflows.is_running
        terminate = world.workflows.terminate
        start = staticmethod(start_but_one)

    assert await world.worker.recovery.restart_lost(Flaky()) == 2
    assert await world.worker.recovery.restart_lost(world.workflows) == 1


async def test_an_unreadable_row_does_not_stop_recovery() -> None:
    world = await new_world()
    for slug in ("one-1", "two-2"):
        await world.sign_up(slug)
    key = shard(Slug("one-1")), tenant_key("one-1")
    row, _ = await world.storage.get("tenants", *key)
    await world.storage.transact("tenants", [Upsert({**row, "state": "moving"})])
    world.workflows.running.clear()
    world.clock.advance(61)
    assert await world.worker.recovery.restart_lost(world.workflows) == 1
