"""What the latency row of each operation and sweep says: its seconds, and why it did not succeed."""

from typing import Any

import pytest

from shared.adapters.tables.latency import TABLE
from shared.adapters.tables.latency_rollups import TABLE as ROLLUPS
from shared.adapters.tables.storage import Row
from shared.application.forget import MIN_SILENCE_SECONDS
from shared.domain.clusters import ClusterName
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import BerthError, Forbidden, Permanent, Transient, Unreachable
from tests.support.memory_tables import MemoryTables
from tests.support.sweeping import new_fleet
from tests.support.world import PORTAL, World, new_world

ONE = ClusterName("one")
DAY = 86400.0


def rows(storage: MemoryTables, kind: str) -> list[Row]:
    """Return the latency rows of a kind."""
    held = storage.rows.get(TABLE, {}).items()
    return [row for (partition, _), (row, _) in held if partition.startswith(f"{kind}-2")]


def late_days(world: World) -> list[str]:
    return [key for _, key in world.storage.rows.get(ROLLUPS, {})]


def ended(storage: MemoryTables, kind: str) -> tuple[str, str]:
    """Return how the one operation of a kind has ended, and the class of the reason."""
    [row] = rows(storage, kind)
    return row["outcome"], row["failure"]


async def test_each_kind_of_operation_has_a_row() -> None:
    world = await new_world()
    await world.active(version="slow-1")
    await world.sleep()
    await world.run()
    await world.wake()
    await world.run()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    for kind, steps in {
        "provision": {"place", "apply", "start"},
        "hibernate": {"stop"},
        "wake": {"place", "apply", "start"},
        "delete": {"remove"},
    }.items():
        [row] = rows(world.storage, kind)
        assert {name for name in ("place", "apply", "start", "stop", "remove") if f"{name}_seconds" in row} == steps
        named = [row[name] for name in ("cluster", "plan", "version", "outcome", "failure")]
        assert named == ["one", "trial", "slow-1", "succeeded", "none"]
        assert row["waiting_seconds"] + row["work_seconds"] == pytest.approx(row["total_seconds"])
    [signup] = rows(world.storage, "provision")
    assert signup["start_seconds"] > 0
    assert signup["waiting_seconds"] == signup["queued_seconds"] + signup["start_seconds"]
    assert not late_days(world)


@pytest.mark.parametrize(
    ("version", "failure"),
    [("missing-1", "image"), ("never-ready-1", "timeout"), ("denied-600", "image"), ("node-9999", "no-room")],
)
async def test_a_failed_signup_has_the_class_of_its_status(version: str, failure: str) -> None:
    world = await new_world()
    await world.active(version=version)
    assert ended(world.storage, "provision") == ("failed", failure)


@pytest.mark.parametrize(
    ("call", "error", "failure"),
    [
        ("apply", Permanent("forbidden: quota"), "refused"),
        ("apply", Forbidden("no right to patch secrets"), "refused"),
        ("apply", Transient("500"), "timeout"),
        ("wait_until_ready", Unreachable("reset"), "unreachable"),
        ("wait_until_ready", Forbidden("no right to list pods"), "refused"),
    ],
)
async def test_a_failed_signup_has_the_class_of_its_error(call: str, error: BerthError, failure: str) -> None:
    world = await new_world()
    await world.sign_up()
    world.worker.faults.away = lambda name: error if name == call else None
    await world.run()
    assert ended(world.storage, "provision") == ("failed", failure)


async def test_a_break_off_is_unexpected() -> None:
    world = await new_world()
    await world.sign_up()

    def broken(name: str) -> None:
        if name == "apply":
            raise ValueError("on purpose")

    world.worker.faults.away = broken
    await world.run()
    assert ended(world.storage, "provision") == ("failed", "unexpected")


async def test_what_was_cancelled_has_no_other_class() -> None:
    world = await new_world()
    operation = await world.sign_up(version="never-ready-1")
    await world.do(Activity.APPLY, operation)
    await world.cancel(operation)
    await world.run()
    assert ended(world.storage, "provision") == ("cancelled", "cancelled")


async def test_a_wake_keeps_its_first_class() -> None:
    world = await new_world()
    await world.asleep()
    await world.wake()
    world.worker.faults.away = lambda name: Permanent("a webhook denies it") if name == "apply" else None
    await world.run()
    assert ended(world.storage, "wake") == ("failed", "refused")


async def test_a_forgotten_operation_has_a_row() -> None:
    world = await new_world()
    await world.active()
    await world.sleep()
    world.kubernetes[ONE].away = Unreachable("the API server cannot be reached")
    for _ in range(2):
        await world.timers()
    world.clock.advance(MIN_SILENCE_SECONDS)
    await world.worker.forget.forget(Slug("acme"), "region lost", PORTAL, world.workflows)
    assert ended(world.storage, "hibernate") == ("cancelled", "forgotten")


@pytest.mark.parametrize(("days", "marked"), [(0, []), (1, ["late:20260228"])])
async def test_a_row_is_written_though_its_worker_died(days: int, marked: list[str]) -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    world.worker.faults.away = lambda name: Transient("away") if name == f"transact {TABLE}" else None
    await world.do(Activity.AWAIT, operation)
    assert (await world.tenant()).operation.state is OperationState.SUCCEEDED
    assert not rows(world.storage, "provision")
    world.worker.faults.reset()
    world.clock.advance(days * DAY)
    await world.do(Activity.AWAIT, operation)
    assert ended(world.storage, "provision") == ("succeeded", "none")
    assert late_days(world) == marked


async def test_a_sweep_has_a_row_when_it_has_ended() -> None:
    fleet = await new_fleet(["acme"])
    fleet.ends = None
    sweep = await fleet.start()
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    assert not rows(fleet.storage, "sweep")
    fleet.clock.advance(30)
    fleet.ends = OperationState.SUCCEEDED
    await fleet.run(sweep)
    [row] = rows(fleet.storage, "sweep")
    assert (row["RowKey"], row["outcome"], row["decide_seconds"]) == (sweep.id, "succeeded", 0.0)
    assert row["act_seconds"] == row["total_seconds"] == row["waiting_seconds"] >= 30
    assert row["ended_at"] == (await fleet.sweep(sweep.id)).ended_at


async def test_a_refused_sweep_has_failed_and_a_dry_run_no_row() -> None:
    fleet = await new_fleet([f"t-{number}" for number in range(3)], allocated=4)
    await fleet.swept(dry_run=True)
    assert not rows(fleet.storage, "sweep")
    await fleet.swept()
    assert ended(fleet.storage, "sweep") == ("failed", "refused")
    assert "act_seconds" not in rows(fleet.storage, "sweep")[0]


async def test_a_sweeps_row_is_written_though_tables_were_away() -> None:
    fleet = await new_fleet(["acme"])
    sweep = await fleet.start()
    fleet.worker.faults.away = lambda name: Transient("away") if name == f"transact {TABLE}" else None
    progress: Any = None
    for _ in range(5):
        progress = await fleet.worker.advance.run(sweep.id, fleet.workflows)
        await fleet.end_hibernations()
    assert not (await fleet.sweep(sweep.id)).is_open
    assert not progress.ended
    fleet.worker.faults.reset()
    await fleet.run(sweep)
    assert ended(fleet.storage, "sweep") == ("succeeded", "none")
