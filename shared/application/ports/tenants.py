"""The repository of tenants, their operations and their audit trail."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.application.ports.stored import Page, Stored
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants to list; an empty field lets all through."""

    state: str = ""
    plan: str = ""
    cluster: str = ""
    region: str = ""


class TenantRepository(Protocol):
    """The tenants, their operations and their audit trail."""

    async def get(self, slug: Slug) -> Stored[Tenant]:
        """Return a tenant; raises NotFound, and Transient for a row that this version cannot read."""
        ...

    async def get_operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound, and Transient for a row it cannot read."""
        ...

    async def save(self, tenant: Stored[Tenant], *, audit: AuditEntry | None = None) -> Stored[Tenant]:
        """Write a tenant, with its operation and an audit entry, all or nothing.

        Raises Conflict when somebody else wrote the row since it was read, or when it exists and should not.
        """
        ...

    async def list(self, wanted: TenantFilter, *, limit: int, token: str) -> Page[Tenant]:
        """Return up to `limit` tenants in a stable order; raises ValueError for a token that is not ours."""
        ...

    def with_open_operation(self) -> AsyncIterator[Stored[Tenant]]:
        """Yield every tenant whose operation has not ended; a row that cannot be read is skipped."""
        ...

    async def audit(self, slug: Slug, *, since: datetime, limit: int, token: str) -> Page[AuditEntry]:
        """Return the audit trail of a slug from a moment on, newest first; raises ValueError for a token not ours."""
        ...
