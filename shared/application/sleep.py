"""Putting a tenant to sleep: start to stop its pods; its volume and all else stay."""

from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict


class Sleep:
    """Takes requests to put a tenant to sleep."""

    def __init__(self, *, tenants: TenantRepository, start: IdempotentStart) -> None:
        self._tenants = tenants
        self._start = start

    async def sleep(
        self, slug: Slug, caller: Caller, workflows: Workflows, *, unless_changed: Tenant | None = None
    ) -> Operation | Tenant:
        """Start to put an active tenant to sleep, and return the operation; or the tenant, if it sleeps already.

        Asking again while that goes on returns the same operation.

        Args:
            slug: The tenant.
            caller: Who asks.
            workflows: Where the orchestration is started.
            unless_changed: The tenant as the caller has decided on it, if that is by a rule: its policy counts too.

        Raises:
            NotFound: There is no such tenant, or it is deleted.
            Conflict: It is not active, another operation is running on it, or it has changed since.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            stored = await existing_tenant(self._tenants, slug)
            before = stored.value
            if unless_changed is not None and before.changed_at != unless_changed.changed_at:
                raise Conflict(f"{slug} was changed after it was decided on")
            tenant = stored.with_value(before.begin(operation, operation.created_at))
            self._start.ensure_in_time(
                operation.created_at
            )  # after that, because joining another request is never late
            await save_change(self._tenants, tenant, before=before.state, reason="requested", begins_operation=True)
            return True

        return await self._start.begin_once(OperationKind.HIBERNATE, slug, caller, workflows, save)
