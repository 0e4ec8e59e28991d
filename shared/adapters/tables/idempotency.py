"""The table `idempotency`: one row for each idempotency key, found by its hash and kept for a day."""

from datetime import datetime
from hashlib import sha256

from shared.adapters.tables.rows import read_row, with_schema
from shared.adapters.tables.storage import Delete, Row, TableStorage, create_or_replace
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from shared.errors import Conflict, NotFound

TABLE = "idempotency"


class TableIdempotencyRepository:
    """Implements `shared.application.ports.idempotency.IdempotencyRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def claim(self, claim: Claim, *, now: datetime) -> Claim:
        """Take a key, and return what it stands for: this claim, or an earlier one that has not expired."""
        etag = ""
        while True:
            try:
                await self._tables.transact(TABLE, [create_or_replace(_row(claim), etag)])
            except (Conflict, NotFound):
                try:
                    row, etag = await self._tables.get(TABLE, *_key(claim.key))
                except NotFound:
                    etag = ""
                    continue
                held = read_row(TABLE, row, lambda row: _claim(claim.key, row))
                if held.expires_at > now:
                    return held
            else:
                return claim

    async def purge(self, *, now: datetime) -> int:
        """Delete the rows that have expired, and return how many those were. Reads the whole table."""
        deleted = 0
        where = "expires_at lt @now"
        async for row, etag in self._tables.query(TABLE, where, {"now": now}):
            try:
                await self._tables.transact(TABLE, [Delete(row, etag)])
                deleted += 1
            except (NotFound, Conflict):
                continue  # taken again meanwhile
        return deleted


def _key(key: str) -> tuple[str, str]:
    digest = sha256(key.encode()).hexdigest()
    return digest[:2], digest


def _row(claim: Claim) -> Row:
    partition, row = _key(claim.key)
    return with_schema(
        {
            "PartitionKey": partition,
            "RowKey": row,
            "fingerprint": claim.fingerprint,
            "operation_id": claim.operation_id,
            "expires_at": claim.expires_at,
        }
    )


def _claim(key: str, row: Row) -> Claim:
    return Claim(key, row["fingerprint"], OperationId(row["operation_id"]), row["expires_at"])
