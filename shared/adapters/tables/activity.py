"""Activity in the table `tenants`, and the table `sources`.

| table | PartitionKey | RowKey | what |
|---|---|---|---|
| tenants | shard | tenant:SLUG!activity | when the tenant's instance was last active; `active_at` is for purging |
| sources | source | SOURCE:CLUSTER | in which time a source has watched a cluster, or all of them |

An activity is the row right after its tenant's, so that one request reads both. It has an ETag of its own: a report of
activity is in the way of no operation. It names its instance: the next owner of a slug does not inherit it.
"""

from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import read_row, readable, with_schema
from shared.adapters.tables.storage import Row, TableStorage, create_or_replace
from shared.adapters.tables.tenants import TABLE, tenant_of
from shared.application.ports.stored import Stored
from shared.domain.activity import TenantActivity, Watch
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict, NotFound

SOURCES = "sources"
PARTITION = "source"

_ACTIVITY = TypeAdapter(TenantActivity)
_WATCH = TypeAdapter(Watch)


class TableActivityRepository:
    """Implements `shared.application.ports.activity.ActivityRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def find(self, slug: Slug) -> Stored[TenantActivity] | None:
        """Return the activity of a slug's present or former instance, or None if none is recorded."""
        return await self._find(TABLE, keys.shard(slug), keys.activity_key(slug), _activity)

    async def find_with_tenant(self, slug: Slug) -> tuple[Tenant, TenantActivity | None]:
        """Return a tenant, and the activity of its slug's present or former instance; raises NotFound."""
        where = "PartitionKey eq @shard and RowKey ge @tenant and RowKey le @activity"
        parameters = {"shard": keys.shard(slug), "tenant": keys.tenant_key(slug), "activity": keys.activity_key(slug)}
        rows = {row["RowKey"]: row async for row, _ in self._tables.query(TABLE, where, parameters)}
        if parameters["tenant"] not in rows:
            raise NotFound(f"there is no tenant {slug}")
        activity = rows.get(parameters["activity"])
        return (
            read_row(TABLE, rows[parameters["tenant"]], tenant_of),
            None if activity is None else read_row(TABLE, activity, _activity),
        )

    async def save(self, activity: Stored[TenantActivity]) -> None:
        """Write an activity; raises Conflict when somebody else wrote it since it was read."""
        value = activity.value
        row = {
            "PartitionKey": keys.shard(value.slug),
            "RowKey": keys.activity_key(value.slug),
            "activity": _ACTIVITY.dump_json(value).decode(),
            "active_at": value.last_at,
        }
        await self._save(TABLE, row, activity.etag)

    async def find_watch(self, source: str, cluster: str) -> Stored[Watch] | None:
        """Return in which time a source has watched a cluster, or None."""
        return await self._find(SOURCES, PARTITION, keys.watch_key(source, cluster), _watch)

    async def save_watch(self, watch: Stored[Watch]) -> None:
        """Write in which time a source has watched; raises Conflict when somebody else wrote it since it was read."""
        value = watch.value
        row = {
            "PartitionKey": PARTITION,
            "RowKey": keys.watch_key(value.source, value.cluster),
            "watch": _WATCH.dump_json(value).decode(),
        }
        await self._save(SOURCES, row, watch.etag)

    async def watches(self) -> Sequence[Watch]:
        """Return in which times all sources have watched; a row that cannot be read is skipped."""
        rows = self._tables.query(SOURCES, "PartitionKey eq @partition", {"partition": PARTITION})
        return readable(SOURCES, [row async for row, _ in rows], _watch)

    async def _find[T](self, table: str, partition: str, key: str, parse: Callable[[Row], T]) -> Stored[T] | None:
        try:
            row, etag = await self._tables.get(table, partition, key)
        except NotFound:
            return None
        return Stored(read_row(table, row, parse), etag)

    async def _save(self, table: str, row: Row, etag: str) -> None:
        try:
            await self._tables.transact(table, [create_or_replace(with_schema(row), etag)])
        except NotFound as error:  # it was purged since
            raise Conflict("the row is not there any more") from error


def _activity(row: Row) -> TenantActivity:
    return _ACTIVITY.validate_json(row["activity"])


def _watch(row: Row) -> Watch:
    return _WATCH.validate_json(row["watch"])
