"""Changing a registration: nobody undoes what somebody else does at the same moment."""

import asyncio

import pytest

from shared.domain.clusters import ClusterName, ClusterState
from shared.errors import BerthError, Conflict, NotFound
from tests.support.builders import new_cluster
from tests.support.world import new_world

ONE = ClusterName("one")


async def test_a_change_keeps_what_it_does_not_name() -> None:
    world = await new_world()
    changed = await world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=None)
    assert (changed.state, changed.capacity) == (ClusterState.CORDONED, 10)
    changed = await world.worker.registry.change(ONE, state=None, capacity=3)
    assert (changed.state, changed.capacity) == (ClusterState.CORDONED, 3)
    assert await world.cluster() == changed


async def test_an_unknown_cluster_is_not_found() -> None:
    world = await new_world()
    with pytest.raises(NotFound, match="no cluster two is registered"):
        await world.worker.registry.change(ClusterName("two"), state=ClusterState.CORDONED, capacity=None)


async def test_a_change_that_is_there_writes_nothing() -> None:
    world = await new_world()
    world.worker.faults.reset()
    await world.worker.registry.change(ONE, state=ClusterState.OPEN, capacity=10)
    assert not any(name.startswith("transact") for name in world.worker.faults.calls)


async def test_a_change_with_a_lost_response_holds() -> None:
    for number in range(1, 5):
        world = await new_world()
        world.worker.faults.lose(number)
        await world.worker.registry.change(ONE, state=None, capacity=3)
        assert (await world.cluster()).capacity == 3, f"lost response of call {number}"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_registration_meanwhile_is_kept(number: int) -> None:
    world = await new_world(workers=2)
    stall = world.worker.faults.stall(number)
    late = asyncio.create_task(world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=None))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await world.workers[1].clusters.register(new_cluster(region="mars", capacity=20))
    stall.release()
    await late
    cluster = await world.cluster()
    assert (cluster.region, cluster.capacity, cluster.state) == ("mars", 20, ClusterState.CORDONED)


async def test_two_changes_at_once_both_hold() -> None:
    world = await new_world(workers=2)
    await asyncio.gather(
        world.workers[0].registry.change(ONE, state=ClusterState.CORDONED, capacity=None),
        world.workers[1].registry.change(ONE, state=None, capacity=3),
    )
    cluster = await world.cluster()
    assert (cluster.state, cluster.capacity) == (ClusterState.CORDONED, 3)


async def test_a_change_among_endless_changes_is_refused() -> None:
    world = await new_world()

    def busy(name: str) -> BerthError | None:
        return Conflict("the row was changed") if name == "transact clusters" else None

    world.worker.faults.away = busy
    with pytest.raises(Conflict, match="cluster one is changing too fast"):
        await world.worker.registry.change(ONE, state=None, capacity=3)
    assert (await world.cluster()).capacity == 10
