"""The table `clusters`: the registrations, and the reservations on each cluster.

| PartitionKey | RowKey | what |
|---|---|---|
| cluster | NAME | the registration: region, capacity, state, access |
| on:NAME | allocation | the sum of the weights reserved on it, and how many of its slots are in use |
| on:NAME | instance:ID | one instance's reservation, its weight, and whether it has a slot |

The sums and a reservation change in one transaction, so that they always add up.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables.rows import read_or_skip, read_row, with_schema
from shared.adapters.tables.storage import Create, Delete, Replace, Row, TableStorage, Upsert, Write, create_or_replace
from shared.application.ports.clock import Clock
from shared.application.ports.stored import Stored
from shared.domain.clusters import Cluster, ClusterAccess, ClusterName, ClusterState
from shared.domain.instances import InstanceId
from shared.domain.placement import ReservationResult
from shared.errors import Conflict, NotFound

TABLE = "clusters"
CACHE_SECONDS = 5.0
_ACCESS = TypeAdapter[ClusterAccess](ClusterAccess)


@dataclass(frozen=True, slots=True)
class _Sums:
    """An allocation row: the weights reserved, the slots in use, and the row's ETag."""

    allocated: int
    starting: int
    etag: str

    def plus(self, weight: int, starting: int) -> "_Sums":
        return replace(self, allocated=self.allocated + weight, starting=self.starting + starting)


class TableClusterRepository:
    """Implements `shared.application.ports.clusters.ClusterRepository`."""

    def __init__(self, tables: TableStorage, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        # Writers of one worker wait here rather than fail each other's conditions on the allocation row.
        self._locks: defaultdict[ClusterName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._registered: Sequence[Cluster] = ()
        self._registered_at = float("-inf")
        # What was last read or written of each allocation row: a write that relies on it fails if it is out of date.
        self._known: dict[ClusterName, _Sums] = {}

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, up to five seconds old, without their allocation."""
        if not self._registered or self._clock.monotonic() - self._registered_at > CACHE_SECONDS:
            return await self._read_registrations()
        return self._registered

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters as they are now, with their allocation."""
        # Not up to five seconds old: placement decides by this, and a cordon must hold from its response on.
        clusters = await self._read_registrations()
        allocations = await asyncio.gather(*(self._read_allocation(cluster.name) for cluster in clusters))
        return [
            replace(cluster, allocated=sums.allocated, starting=sums.starting)
            for cluster, sums in zip(clusters, allocations, strict=True)
        ]

    async def register(self, cluster: Cluster) -> Cluster:
        """Add a cluster or replace its registration, and return it with its allocation, which stays as it is."""
        with contextlib.suppress(NotFound):
            row, _ = await self._tables.get(TABLE, "cluster", cluster.name)
            read_row(TABLE, row, _cluster)  # what this version cannot read it does not replace either
        await self._tables.transact(TABLE, [Upsert(_row(cluster))])
        self._registered_at = float("-inf")
        sums = await self._read_allocation(cluster.name)
        return replace(cluster, allocated=sums.allocated, starting=sums.starting)

    async def get(self, name: ClusterName) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        try:
            row, etag = await self._tables.get(TABLE, "cluster", name)
        except NotFound as error:
            raise NotFound(f"no cluster {name} is registered") from error
        sums = await self._read_allocation(name)
        return Stored(replace(read_row(TABLE, row, _cluster), allocated=sums.allocated, starting=sums.starting), etag)

    async def save(self, cluster: Stored[Cluster]) -> None:
        """Replace the registration that was read; raises Conflict if somebody changed it since."""
        name = cluster.value.name
        try:
            await self._tables.transact(TABLE, [create_or_replace(_row(cluster.value), cluster.etag)])
        except (Conflict, NotFound) as error:
            raise Conflict(f"cluster {name} was changed by somebody else") from error
        self._registered_at = float("-inf")

    async def reserve(
        self, cluster: Cluster, instance: InstanceId, *, weight: int, max_starting: int
    ) -> ReservationResult:
        """Give an instance a reservation on a cluster and one of its `max_starting` slots; again changes nothing."""
        key = {"PartitionKey": _on(cluster.name), "RowKey": f"instance:{instance}"}
        reservation = with_schema({**key, "weight": weight, "starting": True})
        async with self._locks[cluster.name]:
            known = self._known.get(cluster.name)
            while True:
                sums = known or await self._read_allocation(cluster.name)
                fits = sums.allocated + weight <= cluster.capacity
                has_slot = sums.starting < max_starting
                if fits and has_slot:
                    try:
                        await self._write(cluster.name, sums.plus(weight, 1), Create(reservation))
                    except Conflict:
                        pass  # another worker wrote first, or the instance has a reservation, perhaps by this call
                    else:
                        return ReservationResult.RESERVED
                if await self._reservation(cluster.name, instance) is not None:
                    return ReservationResult.RESERVED
                if known is None and not fits:
                    return ReservationResult.FULL
                if known is None and not has_slot:
                    return ReservationResult.NO_SLOT
                known = None

    async def has_reservation(self, cluster: ClusterName, instance: InstanceId) -> bool:
        """Whether an instance has its reservation on a cluster."""
        return await self._reservation(cluster, instance) is not None

    async def release_slot(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Release the slot of an instance that no longer starts; again changes nothing."""
        async with self._locks[cluster]:
            known = self._known.get(cluster)
            while (found := await self._reservation(cluster, instance)) is not None and found[0]["starting"]:
                reservation, etag = found
                sums = known or await self._read_allocation(cluster)
                known = None
                try:
                    await self._write(cluster, sums.plus(0, -1), Replace({**reservation, "starting": False}, etag))
                except (Conflict, NotFound):
                    continue

    async def release(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Release an instance's reservation, with its slot; again changes nothing."""
        async with self._locks[cluster]:
            while (found := await self._reservation(cluster, instance)) is not None:
                reservation, etag = found
                sums = await self._read_allocation(cluster)
                less = sums.plus(-int(reservation["weight"]), -1 if reservation["starting"] else 0)
                try:
                    await self._write(cluster, less, Delete(reservation, etag))
                except (Conflict, NotFound):
                    continue

    async def _read_registrations(self) -> Sequence[Cluster]:
        now = self._clock.monotonic()
        rows = [row async for row, _ in self._tables.query(TABLE, "PartitionKey eq 'cluster'", {})]
        read = (read_or_skip(TABLE, row, _cluster) for row in rows)
        self._registered = [cluster for cluster in read if cluster is not None]
        self._registered_at = now
        return self._registered

    async def _write(self, cluster: ClusterName, sums: _Sums, reservation: Write) -> None:
        """Change a reservation and the sums together; raises Conflict if either was changed since it was read."""
        self._known.pop(cluster, None)
        # write_id makes each write differ, so that an unchanged sum still gets a new ETag.
        row = {
            "PartitionKey": _on(cluster),
            "RowKey": "allocation",
            "allocated": sums.allocated,
            "starting": sums.starting,
            "write_id": token_hex(4),
        }
        _, etag = await self._tables.transact(TABLE, [reservation, create_or_replace(with_schema(row), sums.etag)])
        self._known[cluster] = replace(sums, etag=etag)

    async def _read_allocation(self, cluster: ClusterName) -> _Sums:
        try:
            row, etag = await self._tables.get(TABLE, _on(cluster), "allocation")
        except NotFound:
            return _Sums(0, 0, "")
        sums = read_row(TABLE, row, lambda row: _Sums(int(row["allocated"]), int(row["starting"]), etag))
        self._known[cluster] = sums
        return sums

    async def _reservation(self, cluster: ClusterName, instance: InstanceId) -> tuple[Row, str] | None:
        try:
            return await self._tables.get(TABLE, _on(cluster), f"instance:{instance}")
        except NotFound:
            return None


def _on(cluster: ClusterName) -> str:
    return f"on:{cluster}"


def _row(cluster: Cluster) -> Row:
    row = {
        "PartitionKey": "cluster",
        "RowKey": cluster.name,
        "region": cluster.region,
        "capacity": cluster.capacity,
        "state": cluster.state.value,
        "access": _ACCESS.dump_json(cluster.access).decode(),
    }
    return with_schema(row)


def _cluster(row: Row) -> Cluster:
    return Cluster(
        name=ClusterName(row["RowKey"]),
        region=row["region"],
        capacity=int(row["capacity"]),
        state=ClusterState(row["state"]),
        access=_ACCESS.validate_json(row["access"]),
    )
