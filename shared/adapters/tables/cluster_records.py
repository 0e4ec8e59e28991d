"""The table `clusters`: what is registered, and what is placed where.

| PartitionKey | RowKey | what |
|---|---|---|
| cluster | NAME | the registration: region, capacity, state, access |
| on:NAME | allocation | the sum of the weights placed on it, and how many of them start |
| on:NAME | tenant:SLUG | one tenant's place, its weight, and whether it starts |

The sums and a place change in one transaction, so that they always add up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables.connection import Row, Tables, Write, delete_if, replace_if
from shared.application.ports import Stored
from shared.domain.clusters import Cluster, ClusterAccess, ClusterState, Placement
from shared.errors import Conflict, NotFound

TABLE = "clusters"
FRESH_SECONDS = 5.0
_ACCESS = TypeAdapter[ClusterAccess](ClusterAccess)


@dataclass(frozen=True, slots=True)
class _Sums:
    """An allocation row: the weights placed, the tenants that start, and the row's ETag."""

    allocated: int
    starting: int
    etag: str

    def plus(self, weight: int, starting: int) -> "_Sums":
        return replace(self, allocated=self.allocated + weight, starting=self.starting + starting)


class TableClusterRecords:
    """Implements `shared.application.ports.ClusterRecords`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        # Writers of one worker queue here rather than fail each other's conditions on the allocation row.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._registered: Sequence[Cluster] = ()
        self._registered_at = float("-inf")
        # What was last read or written of each allocation row: a write that relies on it fails if it is out of date.
        self._known: dict[str, _Sums] = {}

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, up to five seconds old, without their allocation."""
        if not self._registered or asyncio.get_running_loop().time() - self._registered_at > FRESH_SECONDS:
            return await self._read_registrations()
        return self._registered

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters as they are now, with their allocation."""
        # Not up to five seconds old: placement decides by this, and a cordon that was answered is to hold from then on.
        clusters = await self._read_registrations()
        allocations = await asyncio.gather(*(self._read_allocation(cluster.name) for cluster in clusters))
        return [
            replace(cluster, allocated=sums.allocated, starting=sums.starting)
            for cluster, sums in zip(clusters, allocations, strict=True)
        ]

    async def register(self, cluster: Cluster) -> Cluster:
        """Add a cluster or replace its registration, and return it with its allocation, which stays as it is."""
        await self._tables.upsert(TABLE, _row(cluster))
        self._registered_at = float("-inf")
        sums = await self._read_allocation(cluster.name)
        return replace(cluster, allocated=sums.allocated, starting=sums.starting)

    async def get(self, name: str) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        try:
            row, etag = await self._tables.get(TABLE, "cluster", name)
        except NotFound as error:
            raise NotFound(f"no cluster {name} is registered") from error
        sums = await self._read_allocation(name)
        return Stored(replace(_cluster(row), allocated=sums.allocated, starting=sums.starting), etag)

    async def save(self, cluster: Stored[Cluster]) -> None:
        """Write a registration in the place of the one that was read; raises Conflict if that is not there any more."""
        name = cluster.value.name
        try:
            await self._tables.transact(TABLE, [replace_if(_row(cluster.value), cluster.etag)])
        except (Conflict, NotFound) as error:
            raise Conflict(f"cluster {name} was changed by somebody else") from error
        self._registered_at = float("-inf")

    async def reserve(self, cluster: Cluster, slug: str, weight: int, at_once: int) -> Placement:
        """Give a tenant its place on a cluster where it is one of `at_once` that start; again changes nothing."""
        place: Row = {"PartitionKey": _on(cluster.name), "RowKey": f"tenant:{slug}", "weight": weight, "starting": True}
        async with self._turns[cluster.name]:
            known = self._known.get(cluster.name)
            while True:
                sums = known or await self._read_allocation(cluster.name)
                fits, busy = sums.allocated + weight <= cluster.capacity, sums.starting >= at_once
                if fits and not busy:
                    try:
                        await self._write(cluster.name, sums.plus(weight, 1), ("create", place))
                    except Conflict:
                        pass  # another worker wrote first, or this tenant has its place: perhaps by this very call
                    else:
                        return Placement.PLACED
                if await self._place(cluster.name, slug) is not None:
                    return Placement.PLACED
                if known is None and not fits:
                    return Placement.FULL
                if known is None and busy:
                    return Placement.BUSY
                known = None

    async def has_place(self, cluster: str, slug: str) -> bool:
        """Whether a tenant has its place on a cluster."""
        return await self._place(cluster, slug) is not None

    async def started(self, cluster: str, slug: str) -> None:
        """Say that a tenant with a place does not start any more; saying it again changes nothing."""
        async with self._turns[cluster]:
            known = self._known.get(cluster)
            while (found := await self._place(cluster, slug)) is not None and found[0]["starting"]:
                place, etag = found
                sums = known or await self._read_allocation(cluster)
                known = None
                try:
                    await self._write(cluster, sums.plus(0, -1), replace_if({**place, "starting": False}, etag))
                except (Conflict, NotFound):
                    continue

    async def release(self, cluster: str, slug: str) -> None:
        """Give a tenant's place back; releasing again changes nothing."""
        async with self._turns[cluster]:
            while (found := await self._place(cluster, slug)) is not None:
                place, etag = found
                sums = await self._read_allocation(cluster)
                less = sums.plus(-int(place["weight"]), -1 if place["starting"] else 0)
                try:
                    await self._write(cluster, less, delete_if(place, etag))
                except (Conflict, NotFound):
                    continue

    async def _read_registrations(self) -> Sequence[Cluster]:
        now = asyncio.get_running_loop().time()
        rows = self._tables.query(TABLE, "PartitionKey eq 'cluster'", {})
        self._registered = [_cluster(row) async for row, _ in rows]
        self._registered_at = now
        return self._registered

    async def _write(self, cluster: str, sums: "_Sums", place: Write) -> None:
        """Change a place and the sums together; raises Conflict if either is not as it was."""
        self._known.pop(cluster, None)
        # write_id makes each write differ, so that an unchanged sum still gets a new ETag.
        row = {
            "PartitionKey": _on(cluster),
            "RowKey": "allocation",
            "allocated": sums.allocated,
            "starting": sums.starting,
            "write_id": token_hex(4),
        }
        _, etag = await self._tables.transact(TABLE, [place, replace_if(row, sums.etag)])
        self._known[cluster] = replace(sums, etag=etag)

    async def _read_allocation(self, cluster: str) -> "_Sums":
        try:
            row, etag = await self._tables.get(TABLE, _on(cluster), "allocation")
        except NotFound:
            return _Sums(0, 0, "")
        self._known[cluster] = _Sums(int(row["allocated"]), int(row["starting"]), etag)
        return self._known[cluster]

    async def _place(self, cluster: str, slug: str) -> tuple[Row, str] | None:
        try:
            return await self._tables.get(TABLE, _on(cluster), f"tenant:{slug}")
        except NotFound:
            return None


def _on(cluster: str) -> str:
    return f"on:{cluster}"


def _row(cluster: Cluster) -> Row:
    return {
        "PartitionKey": "cluster",
        "RowKey": cluster.name,
        "region": cluster.region,
        "capacity": cluster.capacity,
        "state": cluster.state.value,
        "access": _ACCESS.dump_json(cluster.access).decode(),
    }


def _cluster(row: Row) -> Cluster:
    return Cluster(
        name=row["RowKey"],
        region=row["region"],
        capacity=int(row["capacity"]),
        state=ClusterState(row["state"]),
        access=_ACCESS.validate_json(row["access"]),
    )
