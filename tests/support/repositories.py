"""Repositories of one worker on a table storage."""

from shared.adapters.clock import SystemClock
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.storage import TableStorage
from shared.application.ports.clock import Clock


def clusters_on(storage: TableStorage, clock: Clock | None = None) -> TableClusterRepository:
    """Return one worker's clusters on a table storage; by default with the real clock."""
    clock = clock or SystemClock()
    return TableClusterRepository(storage, TableReservationRepository(storage, clock), clock)
