"""Deleting: start to remove a tenant with everything it has."""

from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation
from shared.domain.slugs import Slug


class Delete:
    """Takes requests to delete."""

    def __init__(self, *, tenants: TenantRepository, start: IdempotentStart) -> None:
        self._tenants = tenants
        self._start = start

    async def delete(self, slug: Slug, caller: Caller, workflows: Workflows) -> Operation:
        """Start to remove a tenant.

        Raises:
            NotFound: There is no such tenant, or it is deleted already.
            Conflict: Another operation is running on it.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            stored = await existing_tenant(self._tenants, slug)
            self._start.ensure_in_time(operation.created_at)
            before = stored.value
            tenant = stored.with_value(before.begin(operation, operation.created_at))
            await save_change(self._tenants, tenant, before=before.state, reason="requested", begins_operation=True)
            return True

        return await self._start.begin(OperationKind.DELETE, slug, caller, workflows, save)
