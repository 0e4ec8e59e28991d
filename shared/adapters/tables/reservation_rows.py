"""The rows of reservations in the table `clusters`: one partition for each cluster.

| PartitionKey | RowKey | what |
|---|---|---|
| on:NAME | allocation | the sums: weights reserved and wanted, slots in use, how many wait for one, and all |
| on:NAME | instance:ID | one instance's reservation |
| on:NAME | starting:ID | an index row: it has a slot |
| on:NAME | waiting:TIME:ID | an index row: it waits for a slot, the oldest first |
| on:NAME | waking:TIME:ID | an index row: it waits to be woken, the oldest first |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.adapters.tables.rows import with_schema
from shared.adapters.tables.storage import Create, Delete, Replace, Row, Upsert, Write
from shared.application.ports.reservations import Sums
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.domain.placement import Reservation, ReservationState

TABLE = "clusters"


@dataclass(frozen=True, slots=True)
class Found:
    """A reservation as it is in its row."""

    reservation: Reservation
    etag: str


def partition(cluster: ClusterName) -> str:
    """Return the partition of a cluster's reservations."""
    return f"on:{cluster}"


def _row(cluster: ClusterName, reservation: Reservation) -> Row:
    return _with_key(cluster, f"instance:{reservation.instance}", reservation)


def _index_row(cluster: ClusterName, reservation: Reservation) -> Row | None:
    state, instance = reservation.state, reservation.instance
    if state.is_waiting:
        return _with_key(cluster, f"{state}:{reservation.since:%Y%m%d%H%M%S%f}:{instance}", reservation)
    return _with_key(cluster, f"{state}:{instance}", reservation) if state.is_pending else None


def replacing(cluster: ClusterName, before: Found | None, after: Reservation | None) -> list[Write]:
    """Return the writes that put a reservation, or none, in the place of another one, or of none."""
    writes: list[Write] = []
    old = before and _index_row(cluster, before.reservation)
    new = after and _index_row(cluster, after)
    if before and after:
        writes.append(Replace(_row(cluster, after), before.etag))
    elif before:
        writes.append(Delete(_row(cluster, before.reservation), before.etag))
    elif after:
        writes.append(Create(_row(cluster, after)))
    if old and new and old["RowKey"] == new["RowKey"]:
        return [*writes, Upsert(new)]
    return [*writes, *([Delete(old)] if old else []), *([Create(new)] if new else [])]


def _with_key(cluster: ClusterName, key: str, reservation: Reservation) -> Row:
    values: Mapping[str, Any] = {
        "PartitionKey": partition(cluster),
        "RowKey": key,
        "instance": reservation.instance,
        "operation_id": reservation.operation_id,
        "weight": reservation.weight,
        "state": reservation.state.value,
        "since": reservation.since,
    }
    return with_schema(dict(values))


def reservation_of(row: Row) -> Reservation:
    """Return the reservation that a row, or its index row, says."""
    since: datetime = row["since"]
    return Reservation(
        InstanceId(row["instance"]),
        OperationId(row["operation_id"]),
        int(row["weight"]),
        ReservationState(row["state"]),
        since,
    )


def sums_of(row: Row) -> Sums:
    """Return the sums that the row `allocation` says."""
    return Sums(**{name: int(row[name]) for name in Sums.__dataclass_fields__})
