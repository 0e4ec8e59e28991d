"""What a tenant's callers see of its past: a slug's next owner sees nothing of the former one."""

from collections.abc import Sequence

from shared.application.ports.stored import Page
from shared.application.ports.tenants import TenantRepository
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant
from shared.errors import NotFound


class TenantHistory:
    """Shows the operations and the audit trail of a slug's present tenant, those since its signup.

    A deleted tenant is the present one until somebody else takes the slug.
    """

    def __init__(self, tenants: TenantRepository) -> None:
        self._tenants = tenants

    async def operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound."""
        operation = await self._tenants.get_operation(operation_id)
        if not operation.is_open:  # an open one is always the present tenant's
            tenant = (await self._tenants.get(operation.slug)).value
            if operation.id != tenant.operation.id and operation.created_at < tenant.created_at:
                raise NotFound(f"there is no operation {operation_id}")
        return operation

    async def operations(self, tenant: Tenant, *, limit: int) -> Sequence[Operation]:
        """Return up to `limit` operations of a tenant as they stand, newest first."""
        found = await self._tenants.operations(tenant.slug, since=tenant.created_at, limit=limit)
        return [tenant.operation if each.id == tenant.operation.id else each for each in found]

    async def audit(self, slug: Slug, *, limit: int, token: str) -> Page[AuditEntry]:
        """Return the audit trail, newest first; raises NotFound, and Invalid for a token that is not ours."""
        tenant = (await self._tenants.get(slug)).value
        return await self._tenants.audit(slug, since=tenant.created_at, limit=limit, token=token)
