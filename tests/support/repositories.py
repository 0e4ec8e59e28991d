"""Repositories of one worker on a table storage."""

from contextlib import suppress

from shared.adapters.clock import SystemClock
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.storage import TableStorage
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.stored import Stored
from shared.domain.clusters import Cluster
from shared.errors import NotFound


def clusters_on(storage: TableStorage, clock: Clock | None = None) -> TableClusterRepository:
    """Return one worker's clusters on a table storage; by default with the real clock."""
    clock = clock or SystemClock()
    return TableClusterRepository(storage, TableReservationRepository(storage, clock), clock)


async def register(clusters: ClusterRepository, cluster: Cluster) -> Cluster:
    """Register a cluster or replace its registration, without a probe, and return it with its allocation."""
    etag = ""
    with suppress(NotFound):
        etag = (await clusters.get(cluster.name)).etag
    await clusters.save(Stored(cluster, etag))
    return (await clusters.get(cluster.name)).value
