"""The table `latency`: one row for each ended operation, with the seconds of every step.

| PartitionKey | RowKey | what |
|---|---|---|
| KIND-YYYYMMDD | OPERATION-ID | an operation of a kind that ended on that day in UTC; a sweep has the kind `sweep` |

Each has `queued_seconds` (from the request to the first work), `total_seconds`, and `NAME_seconds` for each step that
ran. `wait_steps` names the steps in which berth only waits; `waiting_seconds` is all waiting, `work_seconds` the rest.
`failure` is the class of the reason why it did not succeed.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from secrets import token_hex

from shared.adapters.tables import latency_rollups
from shared.adapters.tables.rows import readable, with_schema
from shared.adapters.tables.storage import Create, Row, TableStorage, Upsert
from shared.domain.failures import FailureClass
from shared.domain.latency import STEPS, WAIT_STEPS, LatencyKind, Sample
from shared.domain.operations import OperationState
from shared.errors import Conflict

TABLE = "latency"


class TableLatencyRepository:
    """Implements `shared.application.ports.latency.LatencyRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def record(self, sample: Sample, *, now: datetime) -> bool:
        """Keep how long an ended operation took unless it is kept, and mark its day if that is not today."""
        row = {**_row(sample), "write_id": token_hex(8)}
        is_new = True
        try:
            await self._tables.transact(TABLE, [Create(row)])
        except Conflict:  # or it was written just now, and only the response was lost
            found, _ = await self._tables.get(TABLE, row["PartitionKey"], row["RowKey"])
            is_new = found.get("write_id") == row["write_id"]
        if sample.day != now.astimezone(UTC).date():
            # After the row: whoever finds the mark finds the row too.
            await self._tables.transact(latency_rollups.TABLE, [Upsert(latency_rollups.late_row(sample.day))])
        return is_new

    async def of_day(self, kind: LatencyKind, day: date) -> Sequence[Sample]:
        """Return all operations of a kind that ended on a day in UTC; a row that cannot be read is skipped."""
        rows = self._tables.query(TABLE, "PartitionKey eq @partition", {"partition": partition(kind, day)})
        return readable(TABLE, [row async for row, _ in rows], lambda row: _sample(row, kind))


def partition(kind: LatencyKind, day: date) -> str:
    """Return the partition of the operations of a kind that ended on a day in UTC; they sort by the day."""
    return f"{kind}-{day:%Y%m%d}"


def _row(sample: Sample) -> Row:
    return with_schema(
        {
            "PartitionKey": partition(sample.kind, sample.day),
            "RowKey": sample.id,
            "slug": sample.slug,
            "plan": sample.plan,
            "cluster": sample.cluster,
            "version": sample.version,
            "outcome": sample.outcome.value,
            "failure": sample.failure.value,
            "ended_at": sample.ended_at,
            "queued_seconds": sample.queued_seconds,
            "total_seconds": sample.total_seconds,
            "waiting_seconds": sample.waiting_seconds,
            "work_seconds": sample.total_seconds - sample.waiting_seconds,
            "wait_steps": ",".join(step for step in STEPS if step in sample.steps and step in WAIT_STEPS),
            **{f"{step}_seconds": seconds for step, seconds in sample.steps.items()},
        }
    )


def _sample(row: Row, kind: LatencyKind) -> Sample:
    return Sample(
        id=row["RowKey"],
        kind=kind,
        ended_at=row["ended_at"],
        outcome=OperationState(row["outcome"]),
        failure=FailureClass(row["failure"]),
        cluster=row["cluster"],
        plan=row["plan"],
        version=row["version"],
        slug=row["slug"],
        queued_seconds=float(row["queued_seconds"]),
        total_seconds=float(row["total_seconds"]),
        steps={step: float(row[name]) for step in STEPS if (name := f"{step}_seconds") in row},
    )
