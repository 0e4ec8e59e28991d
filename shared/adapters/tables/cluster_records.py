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
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables.connection import Row, Tables, delete_if, replace_if
from shared.domain.clusters import Cluster, ClusterAccess, ClusterState
from shared.errors import Conflict, NotFound

TABLE = "clusters"
_ACCESS = TypeAdapter[ClusterAccess](ClusterAccess)


class TableClusterRecords:
    """Implements `shared.application.ports.ClusterRecords`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        # Writers of one worker queue here rather than fail each other's conditions on the allocation row.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters with their present allocation."""
        rows = [row async for row, _ in self._tables.query(TABLE, "PartitionKey eq 'cluster'", {})]
        allocations = await asyncio.gather(*(self._allocation(row["RowKey"]) for row in rows))
        return [_cluster(row, allocated) for row, (allocated, _) in zip(rows, allocations, strict=True)]

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
        allocated, _ = await self._allocation(cluster.name)
        return _cluster(row, allocated)

    async def reserve(self, cluster: Cluster, slug: str, weight: int) -> bool:
        """Give a tenant its place on a cluster, False when it does not fit; reserving again changes nothing."""
        place: Row = {"PartitionKey": _on(cluster.name), "RowKey": f"tenant:{slug}", "weight": weight}
        async with self._turns[cluster.name]:
            while True:
                allocated, etag = await self._allocation(cluster.name)
                if allocated + weight > cluster.capacity:
                    return await self._place(cluster.name, slug) is not None
                allocation = _allocation_row(cluster.name, allocated + weight)
                try:
                    await self._tables.transact(TABLE, [("create", place), replace_if(allocation, etag)])
                except Conflict:
                    # Another worker wrote first, or this tenant has its place already: perhaps by this very call.
                    if await self._place(cluster.name, slug) is not None:
                        return True
                else:
                    return True

    async def release(self, cluster: str, slug: str) -> None:
        """Give a tenant's place back; releasing again changes nothing."""
        async with self._turns[cluster]:
            while (found := await self._place(cluster, slug)) is not None:
                place, place_etag = found
                allocated, etag = await self._allocation(cluster)
                allocation = _allocation_row(cluster, allocated - int(place["weight"]))
                try:
                    await self._tables.transact(TABLE, [delete_if(place, place_etag), replace_if(allocation, etag)])
                except (Conflict, NotFound):
                    continue

    async def _allocation(self, cluster: str) -> tuple[int, str]:
        try:
            row, etag = await self._tables.get(TABLE, _on(cluster), "allocation")
        except NotFound:
            return 0, ""
        return int(row["allocated"]), etag

    async def _place(self, cluster: str, slug: str) -> tuple[Row, str] | None:
        try:
            return await self._tables.get(TABLE, _on(cluster), f"tenant:{slug}")
        except NotFound:
            return None


def _on(cluster: str) -> str:
    return f"on:{cluster}"


def _allocation_row(cluster: str, allocated: int) -> Row:
    # write_id makes each write differ, so that an unchanged sum still gets a new ETag.
    return {
        "PartitionKey": _on(cluster),
        "RowKey": "allocation",
        "allocated": allocated,
        "write_id": token_hex(4),
    }


def _cluster(row: Row, allocated: int) -> Cluster:
    return Cluster(
        name=row["RowKey"],
        region=row["region"],
        capacity=int(row["capacity"]),
        state=ClusterState(row["state"]),
        access=_ACCESS.validate_json(row["access"]),
        allocated=allocated,
    )
