"""The registrations and breakers in the table `clusters`, whose other rows are in `reservation_rows`.

| PartitionKey | RowKey | what |
|---|---|---|
| cluster | NAME | the registration: region, capacity, state, access, domain, gateway, uid |
| cluster | breaker:NAME | an open breaker: since when the cluster does not respond, and with which error |
| cluster | uid:UID | which registration has claimed this cluster, so that no two can at the same moment |
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace

from pydantic import TypeAdapter

from shared.adapters.tables.rows import read_or_skip, read_row, readable, with_schema
from shared.adapters.tables.storage import Create, Delete, Replace, Row, TableStorage, Write, create_or_replace
from shared.application.ports.clock import Clock
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.stored import Stored
from shared.domain.clusters import Breaker, Cluster, ClusterAccess, ClusterName, ClusterState, GatewayRef
from shared.errors import Conflict, NotFound
from shared.single_flight import SingleFlight

TABLE = "clusters"
CACHE_SECONDS = 5.0
_BREAKER = "breaker:"
_UID = "uid:"
_ACCESS = TypeAdapter[ClusterAccess](ClusterAccess)
_GATEWAY = TypeAdapter[GatewayRef | None](GatewayRef | None)


class TableClusterRepository:
    """Implements `shared.application.ports.clusters.ClusterRepository`."""

    def __init__(self, tables: TableStorage, reservations: ReservationRepository, clock: Clock) -> None:
        self._tables = tables
        self._reservations = reservations
        self._clock = clock
        self._registered: Sequence[Cluster] = ()
        self._registered_at = float("-inf")
        self._read_registrations = SingleFlight(self._query_registrations)  # many signups arrive together

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, up to five seconds old, without their allocation."""
        if not self._registered or self._clock.monotonic() - self._registered_at > CACHE_SECONDS:
            return await self._read_registrations()
        return self._registered

    async def registration(self, name: ClusterName) -> Cluster:
        """Return one registration, up to five seconds old, without its allocation; raises NotFound."""
        for cluster in await self.registered():
            if cluster.name == name:
                return cluster
        return (await self.get(name)).value  # registered a moment ago, by another worker

    async def list(self, *, exact: bool = True) -> Sequence[Cluster]:
        """Return all clusters as they are now; without `exact`, with the sums that this worker read or wrote last."""
        # Not up to five seconds old: placement decides by this, and a cordon must hold from its response on.
        registered = await self._read_registrations()
        return await asyncio.gather(*(self._with_sums(cluster, exact=exact) for cluster in registered))

    async def get(self, name: ClusterName) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        try:
            row, etag = await self._tables.get(TABLE, "cluster", name)
        except NotFound as error:
            raise NotFound(f"no cluster {name} is registered") from error
        cluster = replace(read_row(TABLE, row, _cluster), breaker=await self._read_breaker(name))
        return Stored(await self._with_sums(cluster), etag)

    async def takes_tenants(self, cluster: Cluster) -> bool:
        """Whether a cluster is registered at this moment as it was read, by region and uid, and not cordoned."""
        try:
            row, _ = await self._tables.get(TABLE, "cluster", cluster.name)
        except NotFound:
            return False
        now = read_row(TABLE, row, _cluster)
        return now.state is ClusterState.OPEN and (now.region, now.uid) == (cluster.region, cluster.uid)

    async def save(self, cluster: Stored[Cluster], *, claims_uid: bool = False) -> None:
        """Write the registration in place of the one that was read; raises Conflict if somebody changed it since.

        With `claims_uid`, the claim of its uid is written in the same transaction; also raises Conflict if that is
        another registration's.
        """
        name = cluster.value.name
        writes: list[Write] = [create_or_replace(_row(cluster.value), cluster.etag)]
        if claims_uid:
            writes.append(await self._claim(cluster.value))
        if not cluster.etag:  # a late check of a removed registration may have left a breaker
            writes += await self._without_breaker(name)
        try:
            await self._tables.transact(TABLE, writes)
        except (Conflict, NotFound) as error:
            with contextlib.suppress(NotFound):  # what failed may be the claim
                row, _ = await self._tables.get(TABLE, "cluster", name)
                if all(row.get(column) == value for column, value in _row(cluster.value).items()):
                    self._registered_at = float("-inf")
                    return  # it is as it was to be: only the response of the write was lost
            raise Conflict(
                f"cluster {name} was changed by somebody else, or is registered under another name"
            ) from error
        self._registered_at = float("-inf")

    async def remove(self, cluster: Stored[Cluster]) -> None:
        """Delete the registration that was read, with its breaker; raises Conflict if somebody changed it since.

        One that is gone already is no conflict: perhaps only the response of the write was lost.
        """
        name = cluster.value.name
        row: Row = {"PartitionKey": "cluster", "RowKey": name}
        try:
            await self._tables.transact(TABLE, [Delete(row, cluster.etag), *await self._without_breaker(name)])
        except (Conflict, NotFound) as error:
            with contextlib.suppress(NotFound):
                await self._tables.get(TABLE, "cluster", name)
                raise Conflict(f"cluster {name} was changed by somebody else") from error
        self._registered_at = float("-inf")

    async def set_breaker(self, name: ClusterName, breaker: Breaker | None) -> None:
        """Open a cluster's breaker, or close it for None; one that is open already keeps its time and reason."""
        key: Row = {"PartitionKey": "cluster", "RowKey": f"{_BREAKER}{name}"}
        row = key if breaker is None else {**key, "since": breaker.since, "reason": breaker.reason}
        write = Delete(key) if breaker is None else Create(with_schema(row))
        with contextlib.suppress(NotFound, Conflict):  # it was so already
            await self._tables.transact(TABLE, [write])
        self._registered_at = float("-inf")

    async def _without_breaker(self, name: ClusterName) -> Sequence[Write]:
        """Return the write that deletes a cluster's breaker, if it is open."""
        with contextlib.suppress(NotFound):
            row, etag = await self._tables.get(TABLE, "cluster", f"{_BREAKER}{name}")
            return [Delete(row, etag)]
        return []

    async def _claim(self, cluster: Cluster) -> Write:
        """Return the write by which a registration claims its uid; raises Conflict if another one has it.

        A claim counts only while its registration has this uid. So nobody has to give one back.
        """
        key = {"PartitionKey": "cluster", "RowKey": f"{_UID}{cluster.uid}"}
        row = with_schema({**key, "name": cluster.name})
        try:
            found, etag = await self._tables.get(TABLE, "cluster", key["RowKey"])
        except NotFound:
            return Create(row)
        if found["name"] != cluster.name:
            with contextlib.suppress(NotFound):
                other, _ = await self._tables.get(TABLE, "cluster", found["name"])
                if other.get("uid") == cluster.uid:
                    raise Conflict(f"the cluster of {cluster.name} is registered as {found['name']} already")
        return Replace(row, etag)

    async def _query_registrations(self) -> Sequence[Cluster]:
        now = self._clock.monotonic()
        rows = [row async for row, _ in self._tables.query(TABLE, "PartitionKey eq 'cluster'", {})]
        breakers = {
            row["RowKey"].removeprefix(_BREAKER): read_or_skip(TABLE, row, _breaker)
            for row in rows
            if row["RowKey"].startswith(_BREAKER)
        }
        registrations = (row for row in rows if not row["RowKey"].startswith((_BREAKER, _UID)))
        clusters = readable(TABLE, registrations, _cluster)
        self._registered = [replace(cluster, breaker=breakers.get(cluster.name)) for cluster in clusters]
        self._registered_at = now
        return self._registered

    async def _read_breaker(self, name: ClusterName) -> Breaker | None:
        try:
            row, _ = await self._tables.get(TABLE, "cluster", f"{_BREAKER}{name}")
        except NotFound:
            return None
        return read_or_skip(TABLE, row, _breaker)

    async def _with_sums(self, cluster: Cluster, *, exact: bool = True) -> Cluster:
        sums = await self._reservations.sums(cluster.name, fresh=exact)
        return replace(cluster, **asdict(sums))


def _row(cluster: Cluster) -> Row:
    row = {
        "PartitionKey": "cluster",
        "RowKey": cluster.name,
        "region": cluster.region,
        "capacity": cluster.capacity,
        "state": cluster.state.value,
        "access": _ACCESS.dump_json(cluster.access).decode(),
        "domain": cluster.domain,
        "gateway": _GATEWAY.dump_json(cluster.gateway).decode(),
        "uid": cluster.uid,
        "max_instances": cluster.max_instances or 0,
    }
    return with_schema(row)


def _cluster(row: Row) -> Cluster:
    return Cluster(
        name=ClusterName(row["RowKey"]),
        region=row["region"],
        capacity=int(row["capacity"]),
        state=ClusterState(row["state"]),
        access=_ACCESS.validate_json(row["access"]),
        domain=row.get("domain", ""),  # a registration of before there were routes has neither
        gateway=_GATEWAY.validate_json(row.get("gateway", "null")),
        uid=str(row["uid"]),
        max_instances=int(row["max_instances"]) or None,
    )


def _breaker(row: Row) -> Breaker:
    return Breaker(since=row["since"], reason=str(row["reason"]))
