"""The log of transitions in the table `tenants`; `TableTenantRepository` writes them, see tenants.py."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import read_row
from shared.adapters.tables.storage import Row, TableStorage
from shared.adapters.tables.tenants import TABLE
from shared.application.ports.costs import TenantTransition
from shared.domain.slugs import Slug
from shared.domain.uses import Transition

_TRANSITION = TypeAdapter(Transition)
_LAST = TypeAdapter[Transition | None](Transition | None)
_WHERE = "PartitionKey eq @shard and RowKey gt @start and RowKey lt @end"


class TableTransitions:
    """Implements `shared.application.ports.costs.Transitions`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    @property
    def shards(self) -> Sequence[str]:
        """All shards, in order."""
        return keys.SHARDS

    async def of_day(self, shard: str, day: date) -> AsyncIterator[TenantTransition]:
        """Yield the transitions of a day in UTC, by `instance_key` and sequence; raises UnreadableRow."""
        start = keys.transition_day(datetime.combine(day, time(), UTC))
        parameters = {"shard": shard, "start": start, "end": start[:-1] + ";"}
        async for row, _ in self._tables.query(TABLE, _WHERE, parameters):
            yield read_row(TABLE, row, _read)

    async def last_ones(self, shard: str) -> AsyncIterator[TenantTransition]:
        """Yield the last transition of each tenant that has one; raises UnreadableRow."""
        parameters = {"shard": shard, "start": "tenant:", "end": "tenant;"}
        async for row, _ in self._tables.query(TABLE, _WHERE + " and slug gt ''", parameters):  # an activity has none
            last = read_row(TABLE, row, lambda row: _LAST.validate_json(row["transition"]))
            if last is not None:
                yield TenantTransition(Slug(row["slug"]), last)

    async def of_tenant(self, slug: Slug) -> Sequence[Transition]:
        """Return all transitions of a tenant that are kept, in order. It looks at those of a whole shard."""
        parameters = {"shard": keys.shard(slug), "start": "transition:", "end": "transition;", "slug": slug}
        rows = [row async for row, _ in self._tables.query(TABLE, _WHERE + " and slug eq @slug", parameters)]
        return [read_row(TABLE, row, _read).transition for row in rows]

    async def first_day(self) -> date | None:
        """Return the day in UTC of the oldest transition, or None if there is none."""
        days = await asyncio.gather(*map(self._first_day, keys.SHARDS))
        return min((day for day in days if day is not None), default=None)

    async def _first_day(self, shard: str) -> date | None:
        parameters = {"shard": shard, "start": "transition:", "end": "transition;"}
        async for row, _ in self._tables.query(TABLE, _WHERE, parameters, page_size=1):
            return datetime.strptime(row["RowKey"].split(":")[1], "%Y%m%d").replace(tzinfo=UTC).date()
        return None


def _read(row: Row) -> TenantTransition:
    return TenantTransition(Slug(row["slug"]), _TRANSITION.validate_json(row["entry"]))
