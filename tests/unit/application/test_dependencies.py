"""Dependency checks: what each says when it responds, fails, or is silent, and whether berth is ready."""

import asyncio

import pytest

from shared.application.dependencies import READY_SECONDS, are_ready
from shared.domain.clusters import ClusterName
from shared.errors import Permanent, Transient
from tests.support.builders import new_cluster
from tests.support.world import new_world

ONE, TWO = ClusterName("one"), ClusterName("two")


async def test_everything_that_responds_is_ok() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {"tables": "ok", "task hub": "ok", "cluster one": "ok", "cluster two": "ok"}


async def test_an_error_is_the_result_of_its_own_check() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    world.kubernetes[ONE].away = Permanent("forbidden: no such token")
    world.workflows.away = True
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {
        "tables": "ok",
        "task hub": "the task hub is away",
        "cluster one": "forbidden: no such token",
        "cluster two": "ok",
    }


async def test_a_cluster_without_a_response_ends_in_time() -> None:
    world = await new_world()
    await world.worker.dependencies.run(world.workflows)
    number = world.worker.faults.calls.index("check") + 1
    world = await new_world()
    world.worker.faults.stall(number)
    found = await world.worker.dependencies.run(world.workflows, timeout=0.2)
    assert found == {"tables": "ok", "task hub": "ok", "cluster one": "no response within 0.2 s"}


async def test_tables_that_fall_silent_end_in_time() -> None:
    world = await new_world()
    await world.worker.dependencies.run(world.workflows)
    number = world.worker.faults.calls.index("query clusters") + 1
    world = await new_world()
    world.worker.faults.stall(number)
    found = await world.worker.dependencies.run(world.workflows, timeout=0.2)
    assert found == {"tables": "no response within 0.2 s", "task hub": "ok"}


async def test_tables_that_fail_later_are_a_result_too() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Transient("no connection") if name == "query clusters" else None
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {"tables": "no connection", "task hub": "ok"}


async def test_tables_that_are_away_hide_the_clusters() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Transient("no connection") if "tables" in name else None
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {"tables": "no connection", "task hub": "ok"}
    assert world.worker.faults.calls == ["check tables"]


async def test_tables_without_a_response_hide_the_clusters() -> None:
    world = await new_world()
    world.worker.faults.stall(1)
    found = await world.worker.dependencies.run(world.workflows, timeout=0.2)
    assert found == {"tables": "no response within 0.2 s", "task hub": "ok"}


@pytest.mark.parametrize(
    ("failed", "is_ready"),
    [
        ([], True),
        (["cluster one"], True),
        (["cluster one", "cluster two"], False),
        (["tables"], False),
        (["task hub"], False),
        (["task hub", "cluster one"], False),
    ],
)
def test_one_cluster_that_responds_is_enough(failed: list[str], is_ready: bool) -> None:
    checks = dict.fromkeys(("tables", "task hub", "cluster one", "cluster two"), "ok")
    assert are_ready(checks | dict.fromkeys(failed, "no response")) is is_ready


def test_no_cluster_needs_to_be_registered() -> None:
    assert are_ready({"tables": "ok", "task hub": "ok"})


async def test_readiness_is_kept_for_some_seconds() -> None:
    world = await new_world()
    assert await world.worker.dependencies.is_ready(world.workflows)
    world.kubernetes[ONE].away = Transient("away")
    asked = len(world.worker.faults.calls)
    world.clock.advance(READY_SECONDS)
    for _ in range(10):
        assert await world.worker.dependencies.is_ready(world.workflows)
    assert len(world.worker.faults.calls) == asked
    world.clock.advance(0.1)
    assert not await world.worker.dependencies.is_ready(world.workflows)
    world.kubernetes[ONE].away = None
    assert not await world.worker.dependencies.is_ready(world.workflows)


async def test_all_who_ask_at_once_share_one_check() -> None:
    world = await new_world()
    stall = world.worker.faults.stall(1)
    first = [asyncio.create_task(world.worker.dependencies.is_ready(world.workflows)) for _ in range(20)]
    await stall.reached.wait()
    later = [asyncio.create_task(world.worker.dependencies.is_ready(world.workflows)) for _ in range(20)]
    await asyncio.sleep(0)
    stall.release()
    assert await asyncio.gather(*first, *later) == [True] * 40
    assert world.worker.faults.calls.count("check tables") == 1
