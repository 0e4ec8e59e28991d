"""Operators' changes of clusters: none undoes another one."""

import asyncio
from dataclasses import replace

import pytest

from shared.domain.clusters import ClusterName, ClusterState
from shared.errors import Conflict, NotFound
from tests.support.builders import new_cluster
from tests.support.world import new_world

ONE = ClusterName("one")


async def test_concurrent_changes_both_hold() -> None:
    world = await new_world(workers=2)
    await asyncio.gather(
        world.workers[0].registry.change(ONE, state=ClusterState.CORDONED, capacity=None),
        world.workers[1].registry.change(ONE, state=None, capacity=5),
    )
    assert await world.cluster() == replace(new_cluster(), state=ClusterState.CORDONED, capacity=5)


async def test_a_change_that_changes_nothing_writes_nothing() -> None:
    world = await new_world()
    await world.worker.registry.change(ONE, state=ClusterState.OPEN, capacity=10)
    assert "transact clusters" not in world.worker.faults.calls


async def test_lasting_conflicts_end_the_change() -> None:
    world = await new_world()
    world.worker.faults.away = lambda name: Conflict("changed") if name == "transact clusters" else None
    with pytest.raises(Conflict, match="changing too fast"):
        await world.worker.registry.change(ONE, state=None, capacity=5)


async def test_an_unknown_cluster_is_not_found() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await world.worker.registry.change(ClusterName("none"), state=None, capacity=5)
