"""The table `idempotency`: what each idempotency key stands for, in partitions that are purged as a whole.

| PartitionKey | RowKey | what |
|---|---|---|
| END-DIGIT | hash of the key | a claim, or the mark that the period before is closed for this key |

Time is cut into periods of `PERIOD_LIFETIMES` lifetimes of a key: four days, with the default lifetime of a day. END
is the moment at which the last claim of a period has expired, and DIGIT is the first one of the hash. So a purge reads
only the partitions whose END is over.

A claim is made in the period of its moment, with one request. Only within a lifetime after the beginning of a period
can the one before still have a live claim. Then a claim takes two requests: it first closes the earlier period for its
key, by a mark in the place of a claim. If there is a live claim already, that one counts. If somebody claims there
later, whose clock is behind or who was held up, it finds the mark and continues in the next period. So of all claims
whose clocks are less than a lifetime apart exactly one holds, also across the end of a period.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from shared.adapters.tables.rows import read_row, with_schema
from shared.adapters.tables.storage import Row, TableStorage, create_or_replace
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from shared.errors import Conflict, NotFound, Transient

TABLE = "idempotency"
PERIOD_LIFETIMES = 4  # more make fewer second requests, and keep rows for longer
MAX_TRIES = 10  # at one row, against other claims and against a table that vanishes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TableIdempotencyRepository:
    """Implements `shared.application.ports.idempotency.IdempotencyRepository`.

    Args:
        tables: Where the table is.
        lifetime: How long a key is known. With another lifetime the periods are others too, and the keys that were
            claimed before may be forgotten.
    """

    def __init__(self, tables: TableStorage, *, lifetime: timedelta) -> None:
        self._tables = tables
        self._lifetime = lifetime
        self._length = PERIOD_LIFETIMES * lifetime

    async def claim(self, claim: Claim, *, now: datetime) -> Claim:
        """Take a key, and return what it stands for: this claim, or an earlier one that has not expired."""
        period, age = divmod(now - _EPOCH, self._length)
        if age < self._lifetime:
            held = await self._take(self._closed(claim.key, period - 1), claim.key, now)
            if held is not None:
                return held
        for number in range(period, period + MAX_TRIES):
            held = await self._take(self._row(claim, number, now), claim.key, now)
            if held is not None:
                return held
        raise Transient("an idempotency key cannot be claimed: the clocks are too far apart")

    async def find(self, key: str, *, now: datetime) -> Claim | None:
        """Return what a key stands for, or None if nobody claimed it or the claim has expired; writes nothing."""
        period, age = divmod(now - _EPOCH, self._length)
        # Another worker's clock may be ahead, as in `claim`.
        for number in range(period - 1 if age < self._lifetime else period, period + 2):
            place = self._key(key, number)
            try:
                row, _ = await self._tables.get(TABLE, place["PartitionKey"], place["RowKey"])
            except NotFound:
                continue
            held, expires_at = read_row(TABLE, row, lambda row: _read(key, row))
            if held is not None and expires_at > now:
                return held
        return None

    async def _take(self, row: Row, key: str, now: datetime) -> Claim | None:
        """Write a row unless its place has a live claim or a mark; return the claim that it has then, None for a mark.

        Raises Transient if others write it all the time, or if the table vanishes.
        """
        etag = ""
        for _ in range(MAX_TRIES):
            try:
                await self._tables.transact(TABLE, [create_or_replace(row, etag)])
            except (Conflict, NotFound):
                try:
                    found, etag = await self._tables.get(TABLE, row["PartitionKey"], row["RowKey"])
                except NotFound:
                    etag = ""
                    continue
                held, expires_at = read_row(TABLE, found, lambda found: _read(key, found))
                if held is None or expires_at > now:
                    return held
            else:
                return _read(key, row)[0]
        raise Transient("an idempotency key cannot be claimed: its row is written by others all the time, or vanishes")

    def _closed(self, key: str, period: int) -> Row:
        return with_schema({**self._key(key, period), "closed": True})

    def _row(self, claim: Claim, period: int, now: datetime) -> Row:
        columns = {
            "fingerprint": claim.fingerprint,
            "operation_id": claim.operation_id,
            "expires_at": now + self._lifetime,
        }
        return with_schema({**self._key(claim.key, period), **columns})

    def _key(self, key: str, period: int) -> Row:
        digest = sha256(key.encode()).hexdigest()
        end = _EPOCH + (period + 1) * self._length + self._lifetime
        return {"PartitionKey": f"{partitions_at(end)}-{digest[0]}", "RowKey": digest}


def partitions_at(end: datetime) -> str:
    """Return how the keys of the partitions begin whose claims have all expired at a moment; they sort by it."""
    return f"{end:%Y%m%dT%H%M%S}"


def _read(key: str, row: Row) -> tuple[Claim | None, datetime]:
    """Return a row's claim, or None for a mark, and when it expires."""
    if row.get("closed"):
        return None, _EPOCH
    return Claim(key, row["fingerprint"], OperationId(row["operation_id"])), row["expires_at"]
