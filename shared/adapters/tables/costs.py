"""The cost ledger: four tables.

| table | PartitionKey | RowKey | what |
|---|---|---|---|
| costs | SHARD-YYYYMM | YYYYMMDD:SLUG:INSTANCE | what an instance cost on a day, once that is final |
| coststoday | SHARD | SLUG:INSTANCE | the same for the day that is not; `day` says which day that is |
| costsdaily | YYYYMM | YYYYMMDD:fleet, YYYYMMDD:in:CLUSTER | the sums of a day, once that is final |
| costsdaily | today | fleet, in:CLUSTER | the same for the day that is not |
| costsdaily | ledger | last-final | the last day that is final |
| costsdaily | ledger | time | nothing: when it was written tells the time of the tables |
| nodes | CLUSTER | YYYYMMDDTHHMMSSffffff | the nodes of a cluster from then on |
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from secrets import token_hex

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import read_row, readable, with_schema
from shared.adapters.tables.storage import MAX_WRITES, Delete, Row, TableStorage, Upsert, create_or_replace
from shared.application.ports.stored import Stored
from shared.domain.assets import SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_rollups import ClusterDay, FleetDay
from shared.domain.costs import InstanceDay
from shared.domain.slugs import Slug
from shared.domain.uses import instance_key
from shared.errors import Conflict, NotFound

TABLE, TODAY, DAILY, NODES = "costs", "coststoday", "costsdaily", "nodes"
_OPEN, _LEDGER, _LAST_FINAL, _TIME = "today", "ledger", "last-final", "time"
_WITHIN = "PartitionKey eq @partition and RowKey gt @start and RowKey lt @end"
_AT_ONCE = 16  # partitions that are read at the same time

_INSTANCE = TypeAdapter(InstanceDay)
_CLUSTER = TypeAdapter(ClusterDay)
_FLEET = TypeAdapter(FleetDay)
_NODES = TypeAdapter(SeenNodes)


class TableCostLedger:
    """Implements `shared.application.ports.costs.CostLedger`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def time(self) -> datetime:
        """Return the time by the clock of the tables, which is the same for all workers."""
        await self._tables.transact(DAILY, [Upsert(with_schema({"PartitionKey": _LEDGER, "RowKey": _TIME}))])
        return await self._tables.written_at(DAILY, _LEDGER, _TIME)

    async def last_final(self) -> Stored[date | None]:
        """Return the last day that is final, or None if there is none."""
        try:
            row, etag = await self._tables.get(DAILY, _LEDGER, _LAST_FINAL)
        except NotFound:
            return Stored(None)
        return Stored(read_row(DAILY, row, lambda row: date.fromisoformat(row["day"])), etag)

    async def save_last_final(self, day: Stored[date | None]) -> None:
        """Write that a day is final; raises Conflict if somebody else has written one since it was read."""
        assert day.value is not None
        write_id = token_hex(8)
        row: Row = {"PartitionKey": _LEDGER, "RowKey": _LAST_FINAL, "day": day.value.isoformat(), "write_id": write_id}
        try:
            await self._tables.transact(DAILY, [create_or_replace(with_schema(row), day.etag)])
        except Conflict:  # or it was written just now, and only the response was lost
            found, _ = await self._tables.get(DAILY, _LEDGER, _LAST_FINAL)
            if found.get("write_id") != write_id:
                raise

    async def of_day(self, shard: str, day: date) -> AsyncIterator[InstanceDay]:
        """Yield the rows of a final day that the next day goes on from, by `instance_key`; raises UnreadableRow."""
        parameters = _keys_within(_partition(shard, day), f"{day:%Y%m%d}")
        async for row, _ in self._tables.query(TABLE, f"{_WITHIN} and goes_on eq true", parameters):
            yield read_row(TABLE, row, _instance)

    async def keys_of(self, shard: str, day: date) -> set[str]:
        """Return the `instance_key` of each row of a final day."""
        parameters = _keys_within(_partition(shard, day), f"{day:%Y%m%d}")
        return {row["RowKey"].partition(":")[2] async for row, _ in self._tables.query(TABLE, _WITHIN, parameters)}

    async def delete(self, shard: str, day: date, keys: Sequence[str]) -> None:
        """Delete the rows of instances on a final day; those that are gone already do not matter."""
        await self._delete_rows(TABLE, _partition(shard, day), (f"{day:%Y%m%d}:{key}" for key in keys))

    async def write(self, shard: str, rows: Sequence[InstanceDay], *, is_final: bool) -> None:
        """Write up to 100 rows of one shard, over those of the same instances and day."""
        await self._tables.transact(
            TABLE if is_final else TODAY, [Upsert(_row(shard, each, is_final)) for each in rows]
        )

    async def write_day(self, fleet: FleetDay, clusters: Sequence[ClusterDay], *, is_final: bool) -> None:
        """Write the sums of a day, in the place of those of the same day."""
        day = f"{fleet.day:%Y%m%d}"
        partition, prefix = (f"{fleet.day:%Y%m}", f"{day}:") if is_final else (_OPEN, "")
        entries = [(f"in:{each.cluster}", "cluster", _CLUSTER.dump_json(each)) for each in clusters]
        entries.append(("fleet", "fleet", _FLEET.dump_json(fleet)))
        columns = {"PartitionKey": partition, "day": fleet.day.isoformat(), "until": fleet.until}
        rows: list[Row] = [
            {**columns, "RowKey": f"{prefix}{name}", "kind": kind, "entry": entry.decode()}
            for name, kind, entry in entries
        ]
        for part in batched(rows, MAX_WRITES, strict=False):
            await self._tables.transact(DAILY, [Upsert(with_schema(row)) for row in part])
        if is_final:  # a cluster may have been on the day when it was computed before, and not be any more
            found = self._tables.query(DAILY, _WITHIN, _keys_within(partition, day))
            left = {row["RowKey"] async for row, _ in found} - {row["RowKey"] for row in rows}
            await self._delete_rows(DAILY, partition, left)

    async def clusters_between(self, start: date, end: date) -> Sequence[ClusterDay]:
        """Return the sums of all clusters for the days from `start` to `end`, both included, in order."""
        rows = await self._days_between(start, end, "cluster")
        found = [read_row(DAILY, row, lambda row: _CLUSTER.validate_json(row["entry"])) for row in rows]
        return sorted(found, key=lambda each: (each.day, each.cluster))

    async def fleet_between(self, start: date, end: date) -> Sequence[FleetDay]:
        """Return the sums of the fleet for the days from `start` to `end`, both included, in order."""
        rows = await self._days_between(start, end, "fleet")
        found = [read_row(DAILY, row, lambda row: _FLEET.validate_json(row["entry"])) for row in rows]
        return sorted(found, key=lambda each: each.day)

    async def of_tenant(self, slug: Slug, days: Sequence[date]) -> Sequence[InstanceDay]:
        """Return what a tenant's instances cost on final days, in order, and on the present one if it is among them."""
        shard, limit = keys.shard(slug), asyncio.Semaphore(_AT_ONCE)

        async def read(table: str, partition: str, prefix: str) -> Sequence[InstanceDay]:
            async with limit:
                found = self._tables.query(table, _WITHIN, _keys_within(partition, f"{prefix}{slug}"))
                rows = [row async for row, _ in found]
            return readable(table, rows, _instance)

        # The day that is not final first: if it becomes so meanwhile, its final rows count.
        final = (await self.last_final()).value
        rows = [each for each in await read(TODAY, shard, "") if final is None or each.day > final]
        for part in await asyncio.gather(*(read(TABLE, _partition(shard, day), f"{day:%Y%m%d}:") for day in days)):
            rows += part
        by_key = {(each.day, each.instance): each for each in rows if each.day in days}
        return sorted(by_key.values(), key=lambda each: (each.day, each.instance))

    async def see(self, nodes: SeenNodes) -> None:
        """Record the nodes of a cluster."""
        row: Row = {"PartitionKey": nodes.cluster, "RowKey": _moment(nodes.at), "at": nodes.at}
        row["entry"] = _NODES.dump_json(nodes).decode()
        await self._tables.transact(NODES, [Upsert(with_schema(row))])

    async def seen(self, cluster: ClusterName, start: datetime, end: datetime) -> Sequence[SeenNodes]:
        """Return the nodes of a cluster that were seen from `start` on and before `end`, in order."""
        where = "PartitionKey eq @cluster and RowKey ge @start and RowKey lt @end"
        parameters = {"cluster": cluster, "start": _moment(start), "end": _moment(end)}
        rows = [row async for row, _ in self._tables.query(NODES, where, parameters)]
        return readable(NODES, rows, lambda row: _NODES.validate_json(row["entry"]))

    async def _delete_rows(self, table: str, partition: str, keys_: Iterable[str]) -> None:
        """Delete rows, one by one: another worker may delete some of them at the same time."""
        for key in keys_:
            with suppress(NotFound):
                await self._tables.transact(table, [Delete({"PartitionKey": partition, "RowKey": key})])

    async def _days_between(self, start: date, end: date, kind: str) -> list[Row]:
        """Return the rows of a kind of final days, and those of the day that is not if it is among them."""
        where, limit = "PartitionKey eq @partition and kind eq @kind", asyncio.Semaphore(_AT_ONCE)

        async def read(partition: str, where: str) -> list[Row]:
            parameters = {"partition": partition, "kind": kind, "start": f"{start:%Y%m%d}:", "end": f"{end:%Y%m%d};"}
            async with limit:
                return [row async for row, _ in self._tables.query(DAILY, where, parameters)]

        # The day that is not final first: if it becomes so meanwhile, its final rows count.
        final = (await self.last_final()).value
        rows = [row for row in await read(_OPEN, where) if final is None or row["day"] > final.isoformat()]
        newest = max((row["until"] for row in rows), default=None)  # of a cluster that is gone, an older row is left
        rows = [row for row in rows if row["until"] == newest]
        months_ = (read(month, f"{where} and RowKey ge @start and RowKey lt @end") for month in months(start, end))
        for part in await asyncio.gather(*months_):
            rows += part
        by_key = {(row["day"], row["RowKey"].rpartition(":")[2]): row for row in rows}
        return [row for (day, _), row in by_key.items() if start.isoformat() <= day <= end.isoformat()]


def months(start: date, end: date) -> Iterable[str]:
    """Return the partitions of all months from one day to another, both included."""
    day = start.replace(day=1)
    while day <= end:
        yield f"{day:%Y%m}"
        day = (day + timedelta(days=31)).replace(day=1)


def _keys_within(partition: str, start: str) -> Mapping[str, str]:
    """Return the parameters of `_WITHIN` for the row keys of a partition that begin with a part and a colon."""
    return {"partition": partition, "start": f"{start}:", "end": f"{start};"}


def _partition(shard: str, day: date) -> str:
    return f"{shard}-{day:%Y%m}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S%f}"


def _row(shard: str, instance: InstanceDay, is_final: bool) -> Row:
    key = instance_key(instance.slug, instance.instance)
    places = {
        True: {"PartitionKey": _partition(shard, instance.day), "RowKey": f"{instance.day:%Y%m%d}:{key}"},
        False: {"PartitionKey": shard, "RowKey": key},
    }
    columns = {"day": instance.day.isoformat(), "goes_on": instance.goes_on}
    return with_schema({**places[is_final], **columns, "entry": _INSTANCE.dump_json(instance).decode()})


def _instance(row: Row) -> InstanceDay:
    return _INSTANCE.validate_json(row["entry"])
