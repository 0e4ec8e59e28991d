"""Dependency checks: what each says when it responds, fails, or is silent."""

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
