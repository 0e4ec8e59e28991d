"""The table `clusters`: what is registered, and what is placed where.

| PartitionKey | RowKey | what |
|---|---|---|
| cluster | NAME | the registration: region, capacity, state, access |
| on:NAME | allocation | the sum of the weights placed on it |
| on:NAME | tenant:SLUG | one tenant's place and weight |

The sum and a place change in one transaction, so that they always add up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables.connection import Row, Tables, Write, delete_if, replace_if
from shared.domain.clusters import Cluster, ClusterAccess, ClusterState
from shared.errors import Conflict, NotFound

TABLE = "clusters"
FRESH_SECONDS = 5.0
_ACCESS = TypeAdapter[ClusterAccess](ClusterAccess)


class TableClusterRecords:
    """Implements `shared.application.ports.ClusterRecords`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        # Writers of one worker queue here rather than fail each other's conditions on the allocation row.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._registered: Sequence[Cluster] = ()
        self._registered_at = float("-inf")
        # What was last read or written of each allocation row: a write that relies on it fails if it is out of date.
        self._known: dict[str, tuple[int, str]] = {}

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, up to five seconds old, without their allocation."""
        now = asyncio.get_running_loop().time()
        if not self._registered or now - self._registered_at > FRESH_SECONDS:
            rows = self._tables.query(TABLE, "PartitionKey eq 'cluster'", {})
            self._registered = [_cluster(row) async for row, _ in rows]
            self._registered_at = now
        return self._registered

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters with their present allocation."""
        clusters = await self.registered()
        allocations = await asyncio.gather(*(self._read_allocation(cluster.name) for cluster in clusters))
        return [
            replace(cluster, allocated=allocated) for cluster, (allocated, _) in zip(clusters, allocations, strict=True)
        ]

    async def register(self, cluster: Cluster) -> Cluster:
        """Add a cluster or change its registration; its allocation stays as it is."""
        row = {
            "PartitionKey": "cluster",
            "RowKey": cluster.name,
            "region": cluster.region,
            "capacity": cluster.capacity,
            "state": cluster.state.value,
            "access": _ACCESS.dump_json(cluster.access).decode(),
        }
        await self._tables.upsert(TABLE, row)
        self._registered_at = float("-inf")
        allocated, _ = await self._read_allocation(cluster.name)
        return replace(cluster, allocated=allocated)

    async def reserve(self, cluster: Cluster, slug: str, weight: int) -> bool:
        """Give a tenant its place on a cluster, False when it does not fit; reserving again changes nothing."""
        place: Row = {"PartitionKey": _on(cluster.name), "RowKey": f"tenant:{slug}", "weight": weight}
        async with self._turns[cluster.name]:
            known = self._known.get(cluster.name)
            while True:
                allocated, etag = known or await self._read_allocation(cluster.name)
                if allocated + weight <= cluster.capacity:
                    try:
                        await self._write(cluster.name, allocated + weight, etag, ("create", place))
                    except Conflict:
                        pass  # another worker wrote first, or this tenant has its place: perhaps by this very call
                    else:
                        return True
                if await self._place(cluster.name, slug) is not None:
                    return True
                if known is None and allocated + weight > cluster.capacity:
                    return False
                known = None

    async def release(self, cluster: str, slug: str) -> None:
        """Give a tenant's place back; releasing again changes nothing."""
        async with self._turns[cluster]:
            while (found := await self._place(cluster, slug)) is not None:
                place, place_etag = found
                allocated, etag = await self._read_allocation(cluster)
                try:
                    await self._write(cluster, allocated - int(place["weight"]), etag, delete_if(place, place_etag))
                except (Conflict, NotFound):
                    continue

    async def _write(self, cluster: str, allocated: int, etag: str, place: Write) -> None:
        """Change a place and the sum together; raises Conflict if either is not as it was."""
        self._known.pop(cluster, None)
        # write_id makes each write differ, so that an unchanged sum still gets a new ETag.
        row = {
            "PartitionKey": _on(cluster),
            "RowKey": "allocation",
            "allocated": allocated,
            "write_id": token_hex(4),
        }
        _, written = await self._tables.transact(TABLE, [place, replace_if(row, etag)])
        self._known[cluster] = allocated, written

    async def _read_allocation(self, cluster: str) -> tuple[int, str]:
        try:
            row, etag = await self._tables.get(TABLE, _on(cluster), "allocation")
        except NotFound:
            return 0, ""
        self._known[cluster] = int(row["allocated"]), etag
        return self._known[cluster]

    async def _place(self, cluster: str, slug: str) -> tuple[Row, str] | None:
        try:
            return await self._tables.get(TABLE, _on(cluster), f"tenant:{slug}")
        except NotFound:
            return None


def _on(cluster: str) -> str:
    return f"on:{cluster}"


def _cluster(row: Row) -> Cluster:
    return Cluster(
        name=row["RowKey"],
        region=row["region"],
        capacity=int(row["capacity"]),
        state=ClusterState(row["state"]),
        access=_ACCESS.validate_json(row["access"]),
    )
