"""The repository of clusters: registrations and breakers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from local.gateway.process import NAME, NAMESPACE
from shared.adapters.clock import SystemClock
from shared.adapters.tables.clusters import CACHE_SECONDS, TABLE, TableClusterRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.storage import Delete, Row, TableStorage, Upsert, create_or_replace
from shared.application.cluster_registry import ClusterRegistry, Registration
from shared.application.ports.stored import Stored
from shared.domain.clusters import (
    AzureAccess,
    Breaker,
    Cluster,
    ClusterName,
    ClusterState,
    GatewayRef,
    KubeconfigAccess,
)
from shared.domain.instances import InstanceId, new_instance_id
from shared.domain.operations import OperationId
from shared.errors import Conflict, NotFound, Transient
from shared.telemetry import metrics
from tests.support.builders import new_cluster
from tests.support.clock import START, FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_connections import FakeConnections
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.recorded_telemetry import recorded_telemetry
from tests.support.repositories import clusters_on, register

ACME = InstanceId("acme")


@pytest.fixture
def workers(storage: TableStorage) -> list[TableClusterRepository]:
    """Repositories of three workers."""
    return [clusters_on(storage) for _ in range(3)]


async def reserve(storage: TableStorage, cluster: Cluster) -> None:
    """Reserve a weight of 4 on a cluster."""
    reservations = TableReservationRepository(storage, SystemClock())
    operation_id = OperationId("acme.1")
    await reservations.reserve(cluster, ACME, operation_id, weight=4, max_starting=9, max_waiting=0)


def registration(name: ClusterName) -> Registration:
    """Return a registration of the cluster to which the context of its name leads."""
    gateway = GatewayRef(NAMESPACE, NAME, "", NAMESPACE)
    return Registration(name, "mars", 5, None, KubeconfigAccess(name), f"{name}.example.com", gateway)


def registry(clusters: TableClusterRepository) -> ClusterRegistry:
    return ClusterRegistry(clusters, FakeConnections(clusters, {}, Faults()))


@pytest.mark.parametrize("state", ClusterState)
async def test_a_cluster_comes_back_as_registered(workers: list[TableClusterRepository], state: ClusterState) -> None:
    access = AzureAccess("https://cluster.example.com", "-----BEGIN CERTIFICATE-----")
    cluster = new_cluster("c" + new_instance_id(), state=state, access=access)
    assert await register(workers[0], cluster) == cluster
    assert (await workers[1].get(cluster.name)).value == cluster
    assert cluster in await workers[1].list()
    assert cluster in await workers[1].registered()


async def test_a_registration_without_a_gateway_is_read(
    workers: list[TableClusterRepository], storage: TableStorage, cluster: Cluster
) -> None:
    row, etag = await storage.get("clusters", "cluster", cluster.name)
    old = {column: value for column, value in row.items() if column not in ("domain", "gateway")}
    await storage.transact("clusters", [create_or_replace(old, etag)])
    assert await workers[1].registration(cluster.name) == replace(cluster, domain="", gateway=None)
    assert (await register(workers[1], cluster)).gateway == cluster.gateway


async def test_one_registration_is_found_by_its_name(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    assert await workers[0].registration(cluster.name) == cluster
    with pytest.raises(NotFound, match="no cluster nowhere is registered"):
        await workers[0].registration(ClusterName("nowhere"))


async def test_registering_again_keeps_the_allocation(
    workers: list[TableClusterRepository], storage: TableStorage, cluster: Cluster
) -> None:
    await reserve(storage, cluster)
    changed = await register(workers[1], replace(cluster, state=ClusterState.CORDONED))
    assert (changed.allocated, changed.starting, changed.free, changed.state) == (4, 1, 6, ClusterState.CORDONED)


async def test_a_lost_response_registers_once(faulty: FaultyTables, faults: Faults) -> None:
    clusters, cluster = clusters_on(faulty), new_cluster("c" + new_instance_id())
    for number in range(1, 4):
        faults.lose(number)
    assert await register(clusters, cluster) == cluster


async def test_a_breaker_is_seen_by_every_worker(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    name = cluster.name
    for number in range(2):  # the first time and reason stay
        await workers[0].set_breaker(name, Breaker(START + timedelta(seconds=number), f"reason {number}"))
    expected = replace(cluster, breaker=Breaker(START, "reason 0"))
    assert expected in await workers[1].list()
    assert (await workers[1].get(name)).value == expected
    assert await register(workers[1], cluster) == expected  # registering anew closes nothing
    for _ in range(2):
        await workers[1].set_breaker(name, None)
    assert cluster in await workers[0].list()


async def test_a_changed_registration_is_not_written_over(
    workers: list[TableClusterRepository], cluster: Cluster
) -> None:
    stale = await workers[0].get(cluster.name)
    await workers[1].save(stale.with_value(replace(stale.value, capacity=20)))
    with pytest.raises(Conflict, match="changed by somebody else"):
        await workers[0].save(stale.with_value(replace(stale.value, state=ClusterState.CORDONED)))
    assert (await workers[0].get(cluster.name)).value == replace(cluster, capacity=20)


async def test_a_removed_registration_is_gone_everywhere(
    workers: list[TableClusterRepository], cluster: Cluster
) -> None:
    name, breaker = cluster.name, Breaker(START, "away")
    await workers[1].set_breaker(name, breaker)
    stored = await workers[0].get(name)
    for worker in workers[:2]:  # one that is gone already is no conflict
        await worker.remove(stored)
    with pytest.raises(NotFound):
        await workers[2].get(name)
    for found in (await workers[2].list(), await workers[0].registered()):
        assert name not in {each.name for each in found}


async def test_a_removed_registration_leaves_no_breaker(
    workers: list[TableClusterRepository], cluster: Cluster
) -> None:
    await workers[0].remove(await workers[0].get(cluster.name))
    await workers[1].set_breaker(cluster.name, Breaker(START, "late"))  # by a check that began before
    assert await register(workers[2], cluster) == cluster


async def test_a_changed_registration_is_not_removed(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    stale = await workers[0].get(cluster.name)
    await workers[1].save(stale.with_value(replace(stale.value, capacity=20)))
    with pytest.raises(Conflict, match="changed by somebody else"):
        await workers[0].remove(stale)
    await workers[0].remove(await workers[0].get(cluster.name))
    again = await register(workers[1], cluster)
    with pytest.raises(Conflict, match="changed by somebody else"):
        await workers[0].remove(stale)
    assert (await workers[2].get(cluster.name)).value == again


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_lost_response_removes_once(
    faulty: FaultyTables, faults: Faults, workers: list[TableClusterRepository], cluster: Cluster, number: int
) -> None:
    await workers[0].set_breaker(cluster.name, Breaker(START, "away"))
    stored = await workers[0].get(cluster.name)
    faults.lose(number)
    await clusters_on(faulty).remove(stored)
    with pytest.raises(NotFound):
        await workers[0].get(cluster.name)


async def test_whether_it_takes_tenants_is_read_at_once(
    workers: list[TableClusterRepository], cluster: Cluster
) -> None:
    assert await workers[1].registered()  # which are kept for five seconds
    assert await workers[1].takes_tenants(cluster)
    for change in ({"state": ClusterState.CORDONED}, {"region": "mars"}, {"uid": new_instance_id()}):
        await register(workers[0], replace(cluster, **change))
        assert not await workers[1].takes_tenants(cluster)
    await workers[0].remove(await workers[0].get(cluster.name))
    assert not await workers[1].takes_tenants(cluster)


def twins() -> tuple[Cluster, Cluster]:
    """Return two registrations of one cluster."""
    uid = new_instance_id()
    first, second = (new_cluster("c" + new_instance_id(), uid=uid) for _ in range(2))
    return first, second


async def test_of_two_at_once_one_claims_a_cluster(workers: list[TableClusterRepository]) -> None:
    for _ in range(5):
        saves = [worker.save(Stored(each, ""), claims_uid=True) for worker, each in zip(workers, twins(), strict=False)]
        results = await asyncio.gather(*saves, return_exceptions=True)
        assert [type(each) for each in results if each is not None] == [Conflict]


async def test_a_claim_holds_while_its_registration_has_the_uid(workers: list[TableClusterRepository]) -> None:
    first, second = twins()
    await workers[0].save(Stored(first, ""), claims_uid=True)
    before = await workers[0].get(first.name)
    with pytest.raises(Conflict, match=f"is registered as {first.name} already"):
        await workers[1].save(Stored(second, ""), claims_uid=True)
    with pytest.raises(NotFound):
        await workers[1].get(second.name)
    await workers[0].save(before, claims_uid=True)  # again
    recreated = replace(first, uid=new_instance_id())
    await workers[1].save((await workers[1].get(first.name)).with_value(recreated), claims_uid=True)
    await workers[2].save(Stored(second, ""), claims_uid=True)
    assert {first.name, second.name} <= {each.name for each in await workers[0].list()}
    with pytest.raises(Conflict, match=f"is registered as {second.name} already"):
        await workers[0].save((await workers[0].get(first.name)).with_value(first), claims_uid=True)


async def test_a_claim_outlives_no_lost_registration(
    workers: list[TableClusterRepository], storage: TableStorage
) -> None:
    first, second = twins()
    await workers[0].save(Stored(first, ""), claims_uid=True)
    await storage.transact(TABLE, [Delete({"PartitionKey": "cluster", "RowKey": first.name})])
    await workers[1].save(Stored(second, ""), claims_uid=True)
    with pytest.raises(Conflict, match=f"is registered as {second.name} already"):
        await workers[0].save(Stored(first, ""), claims_uid=True)


async def test_a_lost_response_claims_once(faulty: FaultyTables, faults: Faults, storage: TableStorage) -> None:
    first, second = twins()
    for number in range(1, 5):
        faults.lose(number)
    await clusters_on(faulty).save(Stored(first, ""), claims_uid=True)
    with pytest.raises(Conflict, match="already"):
        await clusters_on(storage).save(Stored(second, ""), claims_uid=True)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["get clusters", "query clusters", "transact clusters"])
async def test_two_registrations_at_once_are_one(storage: TableStorage, call: str, after: bool) -> None:
    names = [ClusterName("c" + new_instance_id()) for _ in range(2)]
    both = dict.fromkeys(names, FakeCluster(FakeClock()))
    faults = Faults()
    workers = [clusters_on(FaultyTables(storage, faults)), clusters_on(storage)]
    first, second = (
        ClusterRegistry(each, FakeConnections(each, both, Faults())).register(registration(name))
        for each, name in zip(workers, names, strict=True)
    )
    stall = faults.stall_next(call, after=after)
    late = asyncio.create_task(first)
    await asyncio.wait_for(stall.reached.wait(), 5)
    results = await asyncio.gather(second, return_exceptions=True)
    stall.release()
    results += await asyncio.gather(late, return_exceptions=True)
    [refused] = [each for each in results if isinstance(each, BaseException)]
    assert isinstance(refused, Conflict)
    assert "this cluster is registered already, as" in str(refused)
    assert len([each for each in await workers[0].list() if each.name in names]) == 1


async def test_an_unknown_cluster_is_not_found(workers: list[TableClusterRepository]) -> None:
    with pytest.raises(NotFound, match="no cluster nobody's is registered"):
        await workers[0].get(ClusterName("nobody's"))


async def test_operators_never_undo_each_other(
    workers: list[TableClusterRepository], storage: TableStorage, cluster: Cluster
) -> None:
    await reserve(storage, cluster)
    for capacity in range(1, 6):
        await register(workers[0], cluster)
        changed = await asyncio.gather(
            registry(workers[0]).change(cluster.name, state=ClusterState.CORDONED, capacity=None),
            registry(workers[1]).change(cluster.name, state=None, capacity=capacity),
        )
        expected = replace(
            cluster, state=ClusterState.CORDONED, capacity=capacity, allocated=4, starting=1, instances=1
        )
        assert expected in changed
        assert (await workers[0].get(cluster.name)).value == expected


async def test_a_cordon_holds_in_every_worker_at_once(workers: list[TableClusterRepository], cluster: Cluster) -> None:
    assert cluster in await workers[1].registered()  # and is kept for five seconds
    await registry(workers[0]).change(cluster.name, state=ClusterState.CORDONED, capacity=None)
    assert {each.name: each.state for each in await workers[1].list()}[cluster.name] is ClusterState.CORDONED


async def test_registrations_are_kept_for_seconds(storage: TableStorage, cluster: Cluster) -> None:
    clock = FakeClock()
    here, there = clusters_on(storage, clock), clusters_on(storage, clock)
    await here.registered()
    late = await register(there, new_cluster("c" + new_instance_id()))
    clock.advance(CACHE_SECONDS)
    assert late not in await here.registered()
    assert late in await there.registered()
    clock.advance(0.1)
    assert late in await here.registered()


@pytest.mark.parametrize("column", [{"state": "drained"}, {"access": "{"}, {"schema_version": 99}, {"uid": None}])
async def test_an_unreadable_registration_stops_no_list(
    workers: list[TableClusterRepository],
    storage: TableStorage,
    cluster: Cluster,
    column: Row,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = await register(workers[0], new_cluster("c" + new_instance_id()))
    row, _ = await storage.get(TABLE, "cluster", cluster.name)
    changed = {name: value for name, value in {**row, **column}.items() if value is not None}
    await storage.transact(TABLE, [Upsert(changed)])
    with recorded_telemetry() as told:
        for found in (await workers[0].list(), await workers[1].registered()):
            names = {each.name for each in found}
            assert other.name in names
            assert cluster.name not in names
    assert len(told.values(metrics.ROWS_SKIPPED, table=TABLE)) >= 2
    assert any(record.levelname == "ERROR" and cluster.name in record.message for record in caplog.records)
    for call in (workers[0].get(cluster.name), register(workers[0], cluster)):
        with pytest.raises(Transient, match=f"the row {cluster.name}"):
            await call
    await storage.transact(TABLE, [Upsert(row)])
