"""The repository of tenants, their operations and their audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.application.ports.stored import Page, Stored
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation, OperationId, age
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants to list; an empty field lets all through. `prefix` is how their slugs begin."""

    state: str = ""
    plan: str = ""
    cluster: str = ""
    region: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """An operation that has not ended, as its index row shows it, with the tenant's instance and cluster."""

    slug: Slug
    operation_id: OperationId
    kind: OperationKind
    instance: InstanceId
    cluster: ClusterName
    heartbeat_at: datetime
    is_aborting: bool

    def heartbeat_age(self, now: datetime) -> float:
        """Seconds since the last heartbeat."""
        return age(self.heartbeat_at, now)


class TenantRepository(Protocol):
    """The tenants, their operations and their audit trail."""

    async def get(self, slug: Slug) -> Stored[Tenant]:
        """Return a tenant; raises NotFound, and Transient for a row that this version cannot read."""
        ...

    async def get_operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound, and Transient for a row it cannot read."""
        ...

    async def save(
        self,
        tenant: Stored[Tenant],
        *,
        audit: AuditEntry | None = None,
        begins_operation: bool = False,
        ends_operation: bool = False,
    ) -> Stored[Tenant]:
        """Write a tenant, with its operation and an audit entry, all or nothing.

        `begins_operation` says that this write is the first of the tenant's operation, and `ends_operation` that it
        ends the one that was open until now.

        Raises ChangedMeanwhile when somebody else wrote the row since it was read, when it exists and should not, or
        when an operation begins that was begun before.
        """
        ...

    async def list(self, wanted: TenantFilter, *, limit: int, token: str) -> Page[Tenant]:
        """Return up to `limit` tenants in a stable order; raises Invalid for a token that is not ours."""
        ...

    async def open_operations(self) -> Sequence[OpenOperation]:
        """Return all operations that have not ended; a row that cannot be read is skipped."""
        ...

    async def operations(self, slug: Slug, *, since: datetime, limit: int) -> Sequence[Operation]:
        """Return up to `limit` operations of a slug that began from a moment on, newest first.

        One that is open is as it began. A row that cannot be read is skipped.
        """
        ...

    async def audit(self, slug: Slug, *, since: datetime, limit: int, token: str) -> Page[AuditEntry]:
        """Return the audit trail of a slug from a moment on, newest first; raises Invalid for a token not ours."""
        ...
