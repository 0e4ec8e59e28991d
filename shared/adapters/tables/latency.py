"""The table `latency`: one row for each ended operation, with the seconds of every step."""

from datetime import datetime
from typing import Any

from shared.adapters.tables.rows import with_schema
from shared.adapters.tables.storage import TableStorage, Upsert
from shared.domain.lifecycle import OperationKind
from shared.domain.tenants import Tenant

TABLE = "latency"


class TableLatencyRepository:
    """Implements `shared.application.ports.latency.LatencyRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def record(self, tenant: Tenant) -> None:
        """Keep the durations of a tenant's ended operation; writing it twice leaves one row.

        The row has PartitionKey KIND-YYYYMMDD of its end, `queued_seconds` (from the request to the first work),
        `total_seconds`, and `NAME_seconds` for each step that ran.
        """
        operation = tenant.operation
        ended = operation.finished_at or operation.heartbeat_at
        row: dict[str, Any] = {
            "PartitionKey": partition(operation.kind, ended),
            "RowKey": operation.id,
            "slug": tenant.slug,
            "plan": tenant.plan,
            "cluster": operation.cluster,
            "outcome": operation.state.value,
            "ended_at": ended,
            "queued_seconds": operation.queued_seconds,
            "total_seconds": operation.total_seconds,
        }
        for step in operation.steps:
            if step.seconds is not None:
                row[f"{step.name}_seconds"] = step.seconds
        await self._tables.transact(TABLE, [Upsert(with_schema(row))])


def partition(kind: OperationKind, ended: datetime) -> str:
    """Return the partition of the operations of a kind that ended on a day in UTC; they sort by the day."""
    return f"{kind}-{ended:%Y%m%d}"
