"""The table `tenants`: each tenant, its ended operations and its audit trail in one partition.

PartitionKey is one of 16 shards of the slug's hash: enough for the account's 20,000 requests a second at 2,000 a
partition, and few enough to list. Rows of one tenant share a partition so that a change of state, the end of its
operation and the audit entry are one transaction.

| RowKey | what |
|---|---|
| tenant:SLUG | the tenant with its present or last operation |
| operation:ID | an ended operation |
| audit:SLUG:NEWEST-FIRST | one audit entry |
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import asdict
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter

from shared.adapters.tables.connection import Row, Tables, Write, replace_if
from shared.application.ports import Page, Stored, TenantFilter
from shared.domain.naming import shard
from shared.domain.operations import Operation, newest_first, slug_of
from shared.domain.tenants import AuditEntry, Observed, Tenant
from shared.errors import Conflict, NotFound

TABLE = "tenants"
SHARDS = "0123456789abcdef"

_PLACE = re.compile(r"[0-9a-f][a-z0-9-]{1,63}")  # a shard and a slug
_AUDIT_PLACE = re.compile(r"[0-9a-z]{20}[a-z]{1,20}")  # the end of an audit entry's RowKey
_OPERATION = TypeAdapter(Operation)
_OBSERVED = TypeAdapter[Observed | None](Observed | None)
_TENANT = TypeAdapter(Tenant)
_AUDIT = TypeAdapter(AuditEntry)


class TableTenantRecords:
    """Implements `shared.application.ports.TenantRecords`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, slug: str) -> Stored[Tenant]:
        """Return a tenant; raises NotFound."""
        try:
            row, etag = await self._tables.get(TABLE, shard(slug), f"tenant:{slug}")
        except NotFound as error:
            raise NotFound(f"there is no tenant {slug}") from error
        return Stored(_tenant(row), etag)

    async def get_operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound."""
        slug = slug_of(operation_id)
        if not slug:
            raise NotFound("there is no such operation: its id is not one that berth gives")
        tenant = (await self.get(slug)).value
        if tenant.operation.id == operation_id:
            return tenant.operation
        try:
            row, _ = await self._tables.get(TABLE, shard(slug), f"operation:{operation_id}")
        except NotFound as error:
            raise NotFound(f"there is no operation {operation_id}") from error
        return _OPERATION.validate_json(row["operation"])

    async def save(self, tenant: Stored[Tenant], audit: AuditEntry | None = None) -> Stored[Tenant]:
        """Write a tenant with its operation and an audit entry, all or nothing; raises Conflict."""
        value = tenant.value
        partition, write_id = shard(value.slug), token_hex(8)
        writes: list[Write] = [replace_if({**_row(value), "write_id": write_id}, tenant.etag)]
        if audit is not None:
            writes.append(("upsert", _audit_row(audit)))
        if not value.operation.is_open:
            key = f"operation:{value.operation.id}"
            operation = _OPERATION.dump_json(value.operation).decode()
            writes.append(("upsert", {"PartitionKey": partition, "RowKey": key, "operation": operation}))
        try:
            etags = await self._tables.transact(TABLE, writes)
        except Conflict as error:
            row, etag = await self._written(value.slug)
            if row.get("write_id") != write_id:
                raise Conflict(f"tenant {value.slug} was changed by somebody else") from error
            return Stored(value, etag)  # the write was done, only its answer was lost
        return Stored(value, etags[0])

    async def list(self, wanted: TenantFilter, *, limit: int, token: str) -> Page[Tenant]:
        """Return up to `limit` tenants, ordered by shard and slug; raises ValueError for a token that is not ours."""
        start, after = _read_token(token) if token else (SHARDS[0], "")
        filters = {name: value for name, value in asdict(wanted).items() if value}
        where = "PartitionKey eq @shard and RowKey gt @after and RowKey lt 'tenant;'" + "".join(
            f" and {name} eq @{name}" for name in filters
        )
        found: list[Tenant] = []
        for letter in SHARDS[SHARDS.index(start) :]:
            parameters = {"shard": letter, "after": f"tenant:{after if letter == start else ''}", **filters}
            async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit):
                if len(found) == limit:
                    return Page(tuple(found), _write_token(found[-1].slug))
                found.append(_tenant(row))
        return Page(tuple(found), "")

    async def with_open_operation(self) -> AsyncIterator[Stored[Tenant]]:
        """Yield every tenant whose operation has not ended."""
        where = "PartitionKey eq @shard and RowKey gt 'tenant:' and RowKey lt 'tenant;' and operation_open eq true"
        for letter in SHARDS:
            async for row, etag in self._tables.query(TABLE, where, {"shard": letter}):
                yield Stored(_tenant(row), etag)

    async def audit(self, slug: str, *, limit: int, token: str) -> Page[AuditEntry]:
        """Return a tenant's audit trail, newest first; raises ValueError for a token that is not ours."""
        after = _decode(token, _AUDIT_PLACE) if token else ""
        where = "PartitionKey eq @shard and RowKey gt @after and RowKey lt @end"
        parameters = {"shard": shard(slug), "after": f"audit:{slug}:{after}", "end": f"audit:{slug};"}
        found: list[AuditEntry] = []
        last = ""
        async for row, _ in self._tables.query(TABLE, where, parameters, page_size=limit + 1):
            if len(found) == limit:
                return Page(tuple(found), _encode(last))
            found.append(_AUDIT.validate_json(row["entry"]))
            last = row["RowKey"].rsplit(":", 1)[1]
        return Page(tuple(found), "")

    async def _written(self, slug: str) -> tuple[Row, str]:
        try:
            return await self._tables.get(TABLE, shard(slug), f"tenant:{slug}")
        except NotFound:
            return {}, ""


def _row(tenant: Tenant) -> Row:
    columns: dict[str, Any] = _TENANT.dump_python(tenant, mode="json", exclude={"operation", "observed"})
    return {
        **{name: value for name, value in columns.items() if value is not None},
        "PartitionKey": shard(tenant.slug),
        "RowKey": f"tenant:{tenant.slug}",
        "operation": _OPERATION.dump_json(tenant.operation).decode(),
        "operation_open": tenant.operation.is_open,
        "observed": _OBSERVED.dump_json(tenant.observed).decode(),
    }


def _tenant(row: Row) -> Tenant:
    operation = _OPERATION.validate_json(row["operation"])
    observed = _OBSERVED.validate_json(row["observed"])
    columns = {**row, "operation": operation, "observed": observed}
    names = Tenant.__dataclass_fields__
    return _TENANT.validate_python({name: value for name, value in columns.items() if name in names})


def _audit_row(audit: AuditEntry) -> Row:
    # The operation's own letters keep two entries of one millisecond apart.
    key = f"audit:{audit.slug}:{newest_first(audit.at)}{audit.operation_id[-10:]}{audit.after}"
    return {"PartitionKey": shard(audit.slug), "RowKey": key, "entry": _AUDIT.dump_json(audit).decode()}


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


def _decode(token: str, form: re.Pattern[str]) -> str:
    """Return what a token says. It comes back from callers, so it must be to the letter what `_encode` makes."""
    try:
        text = urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise ValueError("this is not the `next` of a list; leave it out to begin at the start") from error
    if not form.fullmatch(text) or _encode(text) != token:
        raise ValueError("this is not the `next` of a list; leave it out to begin at the start")
    return text


def _write_token(slug: str) -> str:
    return _encode(f"{shard(slug)}{slug}")


def _read_token(token: str) -> tuple[str, str]:
    text = _decode(token, _PLACE)
    return text[0], text[1:]
