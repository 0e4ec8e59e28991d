"""The table `tenants`: each tenant, its ended operations and its audit trail in one partition.

PartitionKey is one of 16 shards of the slug's hash: enough for the account's 20,000 requests a second at 2,000 a
partition, and few enough to list. Rows of one tenant share a partition so that a change of state, the end of its
operation and the audit entry are one transaction.

| RowKey | what |
|---|---|
| tenant:SLUG | the tenant with its present or last operation |
| tenant:SLUG!activity | when its instance was last active; see activity.py |
| due:YYYYMMDDHHMM:SLUG | an index row for an active tenant: when a sweep has to look at it; see due.py |
| open:OPERATION-ID | an index row for an open operation: what recovery needs to know of all of them |
| operation:ID | an operation as it began, then as it ended; `at`, its end, is for purging |
| audit:SLUG:NEWEST-FIRST | one audit entry; `at` is its time |
| transition:YYYYMMDD:SLUG:INSTANCE:SEQUENCE | one transition, by the day in UTC; never changed |
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import datetime
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.rows import page_of, read_row, readable, with_schema
from shared.adapters.tables.storage import Create, Delete, Row, TableStorage, Upsert, Write, create_or_replace
from shared.application.ports.stored import Page, Stored
from shared.application.ports.tenants import OpenOperation, TenantFilter
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation, slug_of
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Observed, Tenant
from shared.domain.uses import Size, Transition
from shared.errors import ChangedMeanwhile, Conflict, NotFound

TABLE = "tenants"

_OPERATION = TypeAdapter(Operation)
_OBSERVED = TypeAdapter[Observed | None](Observed | None)
_POLICY = TypeAdapter(PolicyOverride)
_REPLICAS = TypeAdapter(dict[str, int])
_SIZE = TypeAdapter[Size | None](Size | None)
_TRANSITION = TypeAdapter[Transition | None](Transition | None)
_TENANT = TypeAdapter(Tenant)
_AUDIT = TypeAdapter(AuditEntry)
_OPEN = TypeAdapter(OpenOperation)


class TableTenantRepository:
    """Implements `shared.application.ports.tenants.TenantRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def get(self, slug: Slug) -> Stored[Tenant]:
        """Return a tenant; raises NotFound, and Transient for a row that this version cannot read."""
        try:
            row, etag = await self._tables.get(TABLE, keys.shard(slug), keys.tenant_key(slug))
        except NotFound as error:
            raise NotFound(f"there is no tenant {slug}") from error
        return Stored(read_row(TABLE, row, tenant_of), etag)

    async def get_operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound, and Transient for a row it cannot read."""
        slug = slug_of(operation_id)
        if not slug:
            raise NotFound("there is no such operation: its id is not one that berth gives")
        tenant = (await self.get(slug)).value
        if tenant.operation.id == operation_id:
            return tenant.operation
        try:
            row, _ = await self._tables.get(TABLE, keys.shard(slug), keys.operation_key(operation_id))
        except NotFound as error:
            raise NotFound(f"there is no operation {operation_id}") from error
        return read_row(TABLE, row, lambda row: _OPERATION.validate_json(row["operation"]))

    async def save(
        self,
        tenant: Stored[Tenant],
        *,
        audit: AuditEntry | None = None,
        begins_operation: bool = False,
        ends_operation: bool = False,
    ) -> Stored[Tenant]:
        """Write a tenant, its operation, its index row, an audit entry and its last transition, or nothing.

        Raises ChangedMeanwhile.
        """
        value, write_id = tenant.value, token_hex(8)
        writes: list[Write] = [create_or_replace({**_tenant_row(value), "write_id": write_id}, tenant.etag)]
        if audit is not None:
            writes.append(Upsert(_audit_row(audit)))
        if value.operation.is_open:
            writes.append(Upsert(_open_row(value)))
            if begins_operation:
                # No id begins twice: a request may have been held up until what it asked for was done and has ended.
                writes.append(Create(_operation_row(value.operation)))
        elif ends_operation:
            writes += [Delete(_open_row(value)), Upsert(_operation_row(value.operation))]
        if audit is not None and value.state is TenantState.ACTIVE and not value.operation.is_open:
            writes.append(Upsert(due_row(value.slug, value.changed_at, value.changed_at)))
        if (audit is not None or ends_operation) and value.transition is not None:
            writes.append(Upsert(transition_row(value.slug, value.transition)))  # it may be there, with this content
        try:
            etags = await self._tables.transact(TABLE, writes)
        except (Conflict, NotFound) as error:
            row, etag = await self._written(value.slug)
            if row.get("write_id") != write_id:
                raise ChangedMeanwhile(f"tenant {value.slug} was changed by somebody else") from error
            return Stored(value, etag)  # the write was done, only its response was lost
        return Stored(value, etags[0])

    async def list(self, wanted: TenantFilter, *, limit: int, token: str) -> Page[Tenant]:
        """Return up to `limit` tenants, ordered by shard and slug; raises Invalid for a token that is not ours."""
        start, after = keys.read_tenant_token(token) if token else (keys.SHARDS[0], "")
        filters = {name: value for name, value in asdict(wanted).items() if value and name != "prefix"}
        # An activity has no slug of its own.
        where = "PartitionKey eq @shard and RowKey ge @first and RowKey lt @end and slug gt ''" + "".join(
            f" and {name} eq @{name}" for name in filters
        )
        first, end = keys.tenant_key(wanted.prefix), keys.tenant_keys_end(wanted.prefix)

        async def rows() -> AsyncIterator[Row]:
            for shard in keys.SHARDS[keys.SHARDS.index(start) :]:
                next_ = max(first, keys.activity_key(after)) if after and shard == start else first
                parameters = {"shard": shard, "first": next_, "end": end, **filters}
                async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1):
                    yield row

        def token_after(row: Row) -> str:
            return keys.write_tenant_token(Slug(row["slug"]))

        return await page_of(TABLE, rows(), tenant_of, limit=limit, token_after=token_after)

    async def open_operations(self) -> Sequence[OpenOperation]:
        """Return all operations that have not ended; a row that cannot be read is skipped."""

        async def of_shard(shard: str) -> list[OpenOperation]:
            where = "PartitionKey eq @shard and RowKey gt 'open:' and RowKey lt 'open;'"
            rows = [row async for row, _ in self._tables.query(TABLE, where, {"shard": shard})]
            return readable(TABLE, rows, _OPEN.validate_python)

        shards = await asyncio.gather(*(of_shard(shard) for shard in keys.SHARDS))
        return [each for found in shards for each in found]

    async def operations(self, slug: Slug, *, since: datetime, limit: int) -> Sequence[Operation]:
        """Return up to `limit` operations of a slug that began from a moment on, newest first."""
        where = "PartitionKey eq @shard and RowKey gt @after and RowKey lt @end"
        parameters = {
            "shard": keys.shard(slug),
            "after": keys.operation_key(f"{slug}."),
            "end": keys.operation_key(f"{slug}.{keys.newest_first_since(since)}"),
        }
        rows = (row async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit))
        found = await page_of(
            TABLE, rows, lambda row: _OPERATION.validate_json(row["operation"]), limit=limit, token_after=lambda _: ""
        )
        return found.items

    async def audit(self, slug: Slug, *, since: datetime, limit: int, token: str) -> Page[AuditEntry]:
        """Return the audit trail of a slug from a moment on, newest first; raises Invalid for a token not ours."""
        after = keys.read_audit_token(token) if token else ""
        where = "PartitionKey eq @shard and RowKey gt @after and RowKey lt @end"
        end = keys.audit_key(slug, keys.newest_first_since(since))
        parameters = {"shard": keys.shard(slug), "after": keys.audit_key(slug, after), "end": end}
        rows = (row async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1))

        def token_after(row: Row) -> str:
            return keys.write_audit_token(row["RowKey"].rsplit(":", 1)[1])

        return await page_of(
            TABLE, rows, lambda row: _AUDIT.validate_json(row["entry"]), limit=limit, token_after=token_after
        )

    async def _written(self, slug: Slug) -> tuple[Row, str]:
        try:
            return await self._tables.get(TABLE, keys.shard(slug), keys.tenant_key(slug))
        except NotFound:
            return {}, ""


def due_row(slug: Slug, since: datetime, at: datetime) -> Row:
    """Return the index row of a tenant that was last changed at `since` and is to be looked at from `at` on."""
    return with_schema(
        {
            "PartitionKey": keys.shard(slug),
            "RowKey": keys.due_key(slug, at),
            "slug": slug,
            "since": since.isoformat(),
        }
    )


def _tenant_row(tenant: Tenant) -> Row:
    columns: dict[str, Any] = _TENANT.dump_python(
        tenant, mode="json", exclude={"operation", "observed", "policy", "replicas", "size", "next_size", "transition"}
    )
    return with_schema(
        {
            **{name: value for name, value in columns.items() if value is not None},
            "PartitionKey": keys.shard(tenant.slug),
            "RowKey": keys.tenant_key(tenant.slug),
            "operation": _OPERATION.dump_json(tenant.operation).decode(),
            "observed": _OBSERVED.dump_json(tenant.observed).decode(),
            "policy": _POLICY.dump_json(tenant.policy).decode(),
            "replicas": _REPLICAS.dump_json(dict(tenant.replicas)).decode(),
            "size": _SIZE.dump_json(tenant.size).decode(),
            "next_size": _SIZE.dump_json(tenant.next_size).decode(),
            "transition": _TRANSITION.dump_json(tenant.transition).decode(),
        }
    )


def tenant_of(row: Row) -> Tenant:
    """Return the tenant of its row; raises ValueError or KeyError for one that cannot be read."""
    operation = _OPERATION.validate_json(row["operation"])
    if row.get("cluster") and not row.get("instance"):
        raise ValueError("nothing could be removed from that cluster")
    columns = {
        **row,
        "operation": operation,
        "observed": _OBSERVED.validate_json(row["observed"]),
        "policy": _POLICY.validate_json(row["policy"]),
        "replicas": _REPLICAS.validate_json(row["replicas"]),
        "size": _SIZE.validate_json(row["size"]),
        "next_size": _SIZE.validate_json(row["next_size"]),
        "transition": _TRANSITION.validate_json(row["transition"]),
    }
    names = Tenant.__dataclass_fields__
    return _TENANT.validate_python({name: value for name, value in columns.items() if name in names})


def _open_row(tenant: Tenant) -> Row:
    operation = tenant.operation
    return with_schema(
        {
            "PartitionKey": keys.shard(tenant.slug),
            "RowKey": keys.open_key(operation.id),
            "slug": tenant.slug,
            "operation_id": operation.id,
            "kind": operation.kind.value,
            "instance": tenant.instance,
            "cluster": tenant.cluster,
            "heartbeat_at": operation.heartbeat_at,
            "is_aborting": operation.is_aborting,
        }
    )


def _operation_row(operation: Operation) -> Row:
    return with_schema(
        {
            "PartitionKey": keys.shard(operation.slug),
            "RowKey": keys.operation_key(operation.id),
            "operation": _OPERATION.dump_json(operation).decode(),
            **({"at": operation.finished_at} if operation.finished_at else {}),
        }
    )


def transition_row(slug: Slug, transition: Transition) -> Row:
    """Return the row of a tenant's transition."""
    key = keys.transition_key(slug, transition)
    entry = _TRANSITION.dump_json(transition).decode()
    return with_schema({"PartitionKey": keys.shard(slug), "RowKey": key, "slug": slug, "entry": entry})


def _audit_row(entry: AuditEntry) -> Row:
    return with_schema(
        {
            "PartitionKey": keys.shard(entry.slug),
            "RowKey": keys.audit_key(entry.slug, keys.audit_end(entry)),
            "entry": _AUDIT.dump_json(entry).decode(),
            "at": entry.at,
        }
    )
