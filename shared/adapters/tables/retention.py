"""Deleting old rows, in transactions of one partition.

Idempotency keys and latency rows are in partitions of their time, so just those are read that go. Operations and audit
entries share their tenant's partition; the service itself filters them by a column with their time, and only those that
go are sent.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.adapters.tables import (
    costs,
    idempotency,
    keys,
    latency,
    latency_rollups,
    reconciliations,
    sweeps,
    tenants,
)
from shared.adapters.tables.storage import MAX_WRITES, Delete, TableStorage
from shared.domain.latency import LatencyKind
from shared.errors import Conflict, NotFound


class TableOldRecords:
    """Implements `shared.application.ports.retention.OldRecords`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def purge_idempotency_keys(self, *, now: datetime) -> AsyncIterator[int]:
        """Delete the partitions whose keys have all expired."""
        where = "PartitionKey lt @end"
        async for count in self._delete(idempotency.TABLE, where, {"end": idempotency.partitions_at(now)}):
            yield count

    async def purge_latency(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the latency rows of the operations that ended on an earlier day."""
        where = "PartitionKey gt @start and PartitionKey lt @end"
        day = before.astimezone(UTC).date()
        for kind in LatencyKind:
            parameters = {"start": f"{kind}-", "end": latency.partition(kind, day)}
            async for count in self._delete(latency.TABLE, where, parameters):
                yield count

    async def purge_latency_rollups(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the daily roll-ups of earlier days."""
        end = keys.rollup_start(before.astimezone(UTC).date())
        for kind in LatencyKind:
            where, parameters = "PartitionKey eq @kind and RowKey lt @end", {"kind": kind.value, "end": end}
            async for count in self._delete(latency_rollups.TABLE, where, parameters):
                yield count

    async def purge_operations(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the operations that ended earlier; each tenant keeps its last one, which its own row contains."""
        async for count in self._delete_of_tenants("operation", "at", before):
            yield count

    async def purge_audit(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the audit entries of earlier changes."""
        async for count in self._delete_of_tenants("audit", "at", before):
            yield count

    async def purge_activity(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete what is recorded of slugs that were last active earlier."""
        async for count in self._delete_of_tenants("tenant", "active_at", before):  # which a tenant itself never has
            yield count

    async def purge_findings(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the findings of reconciliation that ended earlier."""
        where = "PartitionKey eq @partition and ended_at lt @before"
        parameters = {"partition": reconciliations.PARTITION, "before": before}
        async for count in self._delete(reconciliations.TABLE, where, parameters):
            yield count

    async def purge_sweeps(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the sweeps that began earlier, with their decisions; last each one's place in the list."""
        where = "PartitionKey eq @shared and RowKey gt @start and RowKey lt 'list;' and started_at lt @before"
        parameters = {"shared": sweeps.SHARED, "start": sweeps.LIST, "before": before}
        old = [each async for each in self._tables.query(sweeps.TABLE, where, parameters)]
        for row, etag in old:
            async for count in self._delete(sweeps.TABLE, "PartitionKey eq @sweep", {"sweep": row["sweep_id"]}):
                yield count
            key = {name: row[name] for name in ("PartitionKey", "RowKey")}
            yield await self._delete_batch(sweeps.TABLE, [Delete(key, etag)])

    async def purge_costs(self, *, before: datetime) -> AsyncIterator[int]:
        """Delete the costs of whole months that ended earlier, and the transitions and nodes of earlier days."""
        month, transition = f"{before:%Y%m}", keys.transition_day(before)
        of_shard = "PartitionKey gt @start and PartitionKey lt @end"
        for shard in keys.SHARDS:
            parameters = {"start": f"{shard}-", "end": f"{shard}-{month}"}
            async for count in self._delete(costs.TABLE, of_shard, parameters):
                yield count
            parameters = {"shard": shard, "start": "transition:", "end": transition}
            where = "PartitionKey eq @shard and RowKey gt @start and RowKey lt @end"
            async for count in self._delete(tenants.TABLE, where, parameters):
                yield count
        old: Mapping[str, tuple[str, Mapping[str, Any]]] = {
            costs.DAILY: ("PartitionKey lt @month", {"month": month}),
            costs.TODAY: ("day lt @day", {"day": f"{before:%Y-%m-%d}"}),
            costs.NODES: ("at lt @before", {"before": before}),
        }
        for table, (where, parameters) in old.items():
            async for count in self._delete(table, where, parameters):
                yield count

    async def _delete_of_tenants(self, kind: str, column: str, before: datetime) -> AsyncIterator[int]:
        where = f"PartitionKey eq @shard and RowKey gt @start and RowKey lt @end and {column} lt @before"
        # Each night from another shard on, so that none is left out for ever by runs that end early.
        first = before.toordinal() % len(keys.SHARDS)
        for shard in keys.SHARDS[first:] + keys.SHARDS[:first]:
            parameters = {"shard": shard, "start": f"{kind}:", "end": f"{kind};", "before": before}
            async for count in self._delete(tenants.TABLE, where, parameters):
                yield count

    async def _delete(self, table: str, where: str, parameters: Mapping[str, Any]) -> AsyncIterator[int]:
        batch: list[Delete] = []
        async for row, etag in self._tables.query(table, where, parameters):
            if batch and (len(batch) == MAX_WRITES or row["PartitionKey"] != batch[0].row["PartitionKey"]):
                yield await self._delete_batch(table, batch)
                batch = []
            batch.append(Delete({name: row[name] for name in ("PartitionKey", "RowKey")}, etag))
        if batch:
            yield await self._delete_batch(table, batch)

    async def _delete_batch(self, table: str, batch: list[Delete]) -> int:
        try:
            await self._tables.transact(table, batch)
        except (Conflict, NotFound):
            return 0  # another worker deletes the same rows; what is left of them goes with the next run
        return len(batch)
