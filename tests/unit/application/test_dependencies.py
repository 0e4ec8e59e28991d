"""Dependency checks: what responds, and what is wrong with what does not."""

import asyncio

from shared.errors import Permanent, Transient
from tests.support.builders import new_cluster
from tests.support.world import new_world


async def test_all_that_respond_are_ok() -> None:
    world = await new_world(clusters=[new_cluster("one"), new_cluster("two")])
    found = await world.worker.dependencies.run(world.workflows)
    assert found == dict.fromkeys(("tables", "task hub", "cluster one", "cluster two"), "ok")


async def test_what_is_wrong_is_named() -> None:
    world = await new_world(clusters=[new_cluster("one"), new_cluster("two")])
    world.workflows.away = True
    for cluster, error in zip(world.kubernetes.values(), (Permanent("no rights"), Transient("away")), strict=True):
        cluster.away = error
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {
        "tables": "ok",
        "task hub": "the task hub is away",
        "cluster one": "no rights",
        "cluster two": "away",
    }


async def test_without_tables_no_cluster_is_asked() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Transient("table storage is away") if "tables" in name else None
    found = await world.worker.dependencies.run(world.workflows)
    assert found == {"tables": "table storage is away", "task hub": "ok"}


async def test_a_check_that_hangs_is_cut_off() -> None:
    class Hanging:
        async def check(self) -> None:
            await asyncio.Event().wait()

    world = await new_world()
    found = await world.worker.dependencies.run(Hanging(), timeout=0.01)
    assert found["task hub"] == "no response within 0.01 s"
