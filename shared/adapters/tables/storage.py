"""Table storage as the repositories use it: rows, conditional writes, and transactions within one partition."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.errors import Permanent

MAX_WRITES = 100  # of one transaction

type Row = dict[str, Any]
"""One entity: PartitionKey, RowKey and its properties."""


@dataclass(frozen=True, slots=True)
class Create:
    """Write a row that must not exist yet."""

    row: Row


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace the row with that ETag."""

    row: Row
    etag: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create a row or replace it without a condition."""

    row: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a row if it still has that ETag; an empty one lets any row be deleted."""

    row: Row
    etag: str = ""


type Write = Create | Replace | Upsert | Delete


def create_or_replace(row: Row, etag: str) -> Create | Replace:
    """Return the write that replaces the row with that ETag, or that creates it for an empty ETag."""
    return Replace(row, etag) if etag else Create(row)


def check_transaction(writes: Sequence[Write]) -> None:
    """Raise Permanent for what the service takes for no transaction."""
    if not 0 < len(writes) <= MAX_WRITES:
        raise Permanent(f"a transaction has 1 to {MAX_WRITES} writes, not {len(writes)}")
    if len({write.row["PartitionKey"] for write in writes}) > 1:
        raise Permanent("a transaction writes to one partition")
    if len({write.row["RowKey"] for write in writes}) < len(writes):
        raise Permanent("a transaction writes each row once")


class TableStorage(Protocol):
    """The tables of one storage account, made on first use. All methods raise Transient when they may work later."""

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """Return a row and its ETag; raises NotFound."""
        ...

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        """Return when a row was last written, by the service's own clock; raises NotFound."""
        ...

    def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match an OData filter, with their ETags, ordered by partition and row key.

        Args:
            table: The table.
            where: The filter; `@name` stands for a parameter.
            parameters: The values of the parameters.
            page_size: Rows of one page; pages that come back empty are skipped.
        """
        ...

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Make writes in one partition, all or none, and return the new ETags in order (empty for a deleted row).

        Raises:
            Conflict: A condition does not hold. A retry after a lost response raises it too, though the write was done:
                the caller compares the row's `write_id` with its own.
            NotFound: A row that was to be replaced or deleted is not there.
            Permanent: More than 100 writes, more than one partition, or a row twice.
        """
        ...
