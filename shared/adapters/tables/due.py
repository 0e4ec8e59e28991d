"""The index of due dates in the table `tenants`: rows `due:YYYYMMDDHHMM:SLUG` in the partitions of their tenants.

`TableTenantRepository` writes one with each change that leaves a tenant active without an open operation, due at once.
A sweep moves it to the time at which the tenant is to be looked at next.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from itertools import batched

from shared.adapters.tables import keys
from shared.adapters.tables.rows import read_or_skip
from shared.adapters.tables.storage import MAX_WRITES, Delete, Replace, Row, TableStorage, Upsert, Write
from shared.adapters.tables.tenants import TABLE, due_row
from shared.application.ports.due import DuePage, DueTenant
from shared.domain.slugs import Slug
from shared.domain.sweeps import Position
from shared.errors import Conflict, NotFound

MOVES = MAX_WRITES // 2  # of one transaction: the old row goes, and a new one comes


class TableDueIndex:
    """Implements `shared.application.ports.due.DueIndex`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def page(self, position: Position, *, until: datetime, limit: int) -> DuePage:
        """Return the next tenants that are due, all of one shard; a row that cannot be read is skipped."""
        where = "PartitionKey eq @shard and RowKey gt @after and RowKey lt @end"
        shard, after = position.shard, position.after
        while shard < len(keys.SHARDS):
            parameters = {"shard": keys.SHARDS[shard], "after": after or "due:", "end": keys.due_end(until)}
            found: list[DueTenant] = []
            count = 0
            async for row, etag in self._tables.query(TABLE, where, parameters, page_size=limit):
                count, after = count + 1, row["RowKey"]
                at = Position(shard, after)
                due = read_or_skip(TABLE, row, lambda row, at=at, etag=etag: _due(row, at, etag))
                if due is not None:
                    found.append(due)
                if count == limit:
                    break
            if count < limit:
                shard, after = shard + 1, ""
            if count:
                return DuePage(found, Position(shard, after))
        return DuePage((), None)

    async def move(self, moves: Sequence[tuple[DueTenant, datetime | None]]) -> None:
        """Move or delete rows of one shard: many together, or if one of them was changed meanwhile, each alone."""
        for part in batched(moves, MOVES, strict=False):
            try:
                await self._tables.transact(TABLE, [write for each in part for write in _writes(*each)])
            except (Conflict, NotFound):
                if len(part) > 1:
                    for each in part:
                        with contextlib.suppress(Conflict, NotFound):
                            await self._tables.transact(TABLE, _writes(*each))


def _writes(due: DueTenant, at: datetime | None) -> list[Write]:
    old: Row = {"PartitionKey": keys.shard(due.slug), "RowKey": due.position.after}
    new = None if at is None else due_row(due.slug, due.since, at)
    if new is not None and new["RowKey"] == old["RowKey"]:
        return [Replace(new, due.etag)]
    return [Delete(old, due.etag), *([] if new is None else [Upsert(new)])]


def _due(row: Row, position: Position, etag: str) -> DueTenant:
    return DueTenant(Slug(row["slug"]), datetime.fromisoformat(row["since"]), position, etag)
