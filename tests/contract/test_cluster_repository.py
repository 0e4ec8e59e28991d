"""The repository of clusters: registrations, and reservations that add up whoever writes at the same moment."""

import asyncio
from dataclasses import replace

import pytest

from shared.adapters.clock import SystemClock
from shared.adapters.tables import rows
from shared.adapters.tables.clusters import CACHE_SECONDS, TABLE, TableClusterRepository
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.application.cluster_registry import ClusterRegistry
from shared.domain.clusters import AzureAccess, Cluster, ClusterName, ClusterState
from shared.domain.instances import InstanceId, new_instance_id
from shared.domain.placement import ReservationResult
from shared.errors import Conflict, NotFound, Transient
from tests.support.builders import new_cluster
from tests.support.clock import FakeClock
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

ACME = InstanceId("acme")


@pytest.fixture
def workers(storage: TableStorage) -> list[TableClusterRepository]:
    """Repositories of three workers."""
    return [TableClusterRepository(storage, SystemClock()) for _ in range(3)]


async def sums(clusters: TableClusterRepository, name: ClusterName) -> tuple[int, int]:
    found = (await clusters.get(name)).value
    return found.allocated, found.starting


@pytest.mark.parametrize("state", ClusterState)
async def test_a_cluster_comes_back_as_registered(workers: list[TableClusterRepository], state: ClusterState) -> None:
    access = AzureAccess("https://cluster.example.com", "-----BEGIN CERTIFICATE-----")
    cluster = new_cluster("c" + new_instance_id(), state=state, access=access)
    assert await workers[0].register(cluster) == cluster
    assert (await workers[1].get(cluster.name)).value == cluster
    assert cluster in await workers[1].list()
    assert cluster in await workers[1].registered()


async def test_reservations_never_overbook(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    instances = [new_instance_id() for _ in range(15)]
    placed = await asyncio.gather(
        *(workers[i % 3].reserve(cluster, instance, weight=1, max_starting=99) for i, instance in enumerate(instances))
    )
    assert placed.count(ReservationResult.RESERVED) == cluster.capacity
    assert placed.count(ReservationResult.FULL) == 5
    again = await asyncio.gather(
        *(workers[0].reserve(cluster, instance, weight=1, max_starting=99) for instance in instances)
    )
    assert list(again) == list(placed)
    assert await sums(workers[2], cluster.name) == (10, 10)
    for _ in range(2):
        await asyncio.gather(*(workers[i % 3].release(cluster.name, instance) for i, instance in enumerate(instances)))
    assert await sums(workers[0], cluster.name) == (0, 0)


async def test_a_weight_counts_in_full(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    instances = [new_instance_id() for _ in range(2)]
    assert await workers[0].reserve(cluster, instances[0], weight=8, max_starting=9) is ReservationResult.RESERVED
    assert await workers[1].reserve(cluster, instances[1], weight=8, max_starting=9) is ReservationResult.FULL
    assert await workers[1].reserve(cluster, instances[1], weight=2, max_starting=9) is ReservationResult.RESERVED
    await workers[2].release(cluster.name, instances[0])
    assert await sums(workers[0], cluster.name) == (2, 1)


async def test_no_more_start_at_once_than_may(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    instances = [new_instance_id() for _ in range(6)]
    said = await asyncio.gather(
        *(workers[i % 3].reserve(cluster, instance, weight=1, max_starting=2) for i, instance in enumerate(instances))
    )
    assert (said.count(ReservationResult.RESERVED), said.count(ReservationResult.NO_SLOT)) == (2, 4)
    first = instances[said.index(ReservationResult.RESERVED)]
    for _ in range(2):
        await workers[0].release_slot(cluster.name, first)
    assert await workers[1].has_reservation(cluster.name, first)
    assert await sums(workers[0], cluster.name) == (2, 1)
    other = instances[said.index(ReservationResult.NO_SLOT)]
    assert await workers[1].reserve(cluster, other, weight=1, max_starting=2) is ReservationResult.RESERVED
    for instance in instances:
        await workers[2].release(cluster.name, instance)
    assert await sums(workers[0], cluster.name) == (0, 0)


async def test_a_lost_response_reserves_once(
    workers: list[TableClusterRepository], faulty: FaultyTables, faults: Faults, cluster: Cluster
) -> None:
    clusters = TableClusterRepository(faulty, SystemClock())
    for change in ("reserve", "release_slot", "release"):
        before = await sums(clusters, cluster.name)
        count = len(faults.calls)
        for number in range(count + 1, count + 4):  # the write is one of the next three calls
            faults.lose(number)
        match change:
            case "reserve":
                result = await clusters.reserve(cluster, ACME, weight=2, max_starting=9)
                assert result is ReservationResult.RESERVED
                assert (before, await sums(workers[0], cluster.name)) == ((0, 0), (2, 1))
            case "release_slot":
                await clusters.release_slot(cluster.name, ACME)
                assert (before, await sums(workers[0], cluster.name)) == ((2, 1), (2, 0))
            case _:
                await clusters.release(cluster.name, ACME)
                assert (before, await sums(workers[0], cluster.name)) == ((2, 0), (0, 0))
    assert not await workers[0].has_reservation(cluster.name, ACME)


async def test_registering_again_keeps_the_allocation(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    assert await workers[0].reserve(cluster, ACME, weight=4, max_starting=99) is ReservationResult.RESERVED
    changed = await workers[1].register(replace(cluster, state=ClusterState.CORDONED))
    assert (changed.allocated, changed.free, changed.state) == (4, 6, ClusterState.CORDONED)


async def test_a_changed_registration_is_not_written_over(
    workers: list[TableClusterRepository], cluster: Cluster
) -> None:
    stale = await workers[0].get(cluster.name)
    await workers[1].save(stale.with_value(replace(stale.value, capacity=20)))
    with pytest.raises(Conflict, match="changed by somebody else"):
        await workers[0].save(stale.with_value(replace(stale.value, state=ClusterState.CORDONED)))
    assert (await workers[0].get(cluster.name)).value == replace(cluster, capacity=20)


async def test_an_unknown_cluster_is_not_found(workers: list[TableClusterRepository]) -> None:
    with pytest.raises(NotFound, match="no cluster nobody's is registered"):
        await workers[0].get(ClusterName("nobody's"))


async def test_operators_never_undo_each_other(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    assert await workers[0].reserve(cluster, ACME, weight=4, max_starting=99) is ReservationResult.RESERVED
    for capacity in range(1, 6):
        await workers[0].register(cluster)
        changed = await asyncio.gather(
            ClusterRegistry(workers[0]).change(cluster.name, state=ClusterState.CORDONED, capacity=None),
            ClusterRegistry(workers[1]).change(cluster.name, state=None, capacity=capacity),
        )
        expected = replace(cluster, state=ClusterState.CORDONED, capacity=capacity, allocated=4, starting=1)
        assert expected in changed
        assert (await workers[0].get(cluster.name)).value == expected


async def test_a_cordon_holds_in_every_worker_at_once(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    assert cluster in await workers[1].registered()  # and is kept for five seconds
    await ClusterRegistry(workers[0]).change(cluster.name, state=ClusterState.CORDONED, capacity=None)
    assert {each.name: each.state for each in await workers[1].list()}[cluster.name] is ClusterState.CORDONED


async def test_registrations_are_kept_for_seconds(storage: TableStorage, cluster: Cluster) -> None:
    clock = FakeClock()
    here, there = TableClusterRepository(storage, clock), TableClusterRepository(storage, clock)
    await here.registered()
    late = await there.register(new_cluster("c" + new_instance_id()))
    clock.advance(CACHE_SECONDS)
    assert late not in await here.registered()
    assert late in await there.registered()
    clock.advance(0.1)
    assert late in await here.registered()


@pytest.mark.parametrize("column", [{"state": "drained"}, {"access": "{"}, {"schema_version": 99}])
async def test_an_unreadable_registration_stops_no_list(
    workers: list[TableClusterRepository],
    storage: TableStorage,
    cluster: Cluster,
    column: Row,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = await workers[0].register(new_cluster("c" + new_instance_id()))
    row, _ = await storage.get(TABLE, "cluster", cluster.name)
    await storage.transact(TABLE, [Upsert({**row, **column})])
    before = rows.skipped_rows[TABLE]
    for found in (await workers[0].list(), await workers[1].registered()):
        names = {each.name for each in found}
        assert other.name in names
        assert cluster.name not in names
    assert rows.skipped_rows[TABLE] >= before + 2
    assert any(record.levelname == "ERROR" and cluster.name in record.message for record in caplog.records)
    for call in (workers[0].get(cluster.name), workers[0].register(cluster)):
        with pytest.raises(Transient, match=f"the row {cluster.name}"):
            await call
    await storage.transact(TABLE, [Upsert(row)])
