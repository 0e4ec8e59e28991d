"""Retrying: provision a failed tenant once more."""

from dataclasses import replace

from shared.application.admission import Admission
from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant


class Retry:
    """Takes requests to retry."""

    def __init__(self, *, tenants: TenantRepository, admission: Admission, start: IdempotentStart) -> None:
        self._tenants = tenants
        self._admission = admission
        self._start = start

    async def retry(self, slug: Slug, version: str, caller: Caller, workflows: Workflows) -> Operation:
        """Provision a failed tenant once more, with another version if `version` is not empty.

        It gets a new instance. One that it has lost is dropped, also if there is no room for the new one then.

        Raises:
            NotFound: There is no such tenant, or it is deleted.
            Conflict: It has not failed, or another operation is running on it.
            NoRoom, QueueFull, Transient: As for a signup.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            stored = await existing_tenant(self._tenants, slug)
            self._start.ensure_in_time(operation.created_at)
            if stored.value.has_lost_instance:
                stored = await self._drop_instance(stored, operation, workflows)
            before, now = stored.value, operation.created_at
            tenant = before.begin(operation, now)
            tenant = replace(tenant, version=version or tenant.version)
            async with self._admission.reserved(
                operation, region=before.region, plan=before.plan, workflows=workflows
            ) as placement:
                tenant = tenant.placed(placement.cluster, placement.instance, placement.size, now, placement.message)
                await save_change(
                    self._tenants,
                    stored.with_value(tenant),
                    before=before.state,
                    reason="requested",
                    begins_operation=True,
                )
            return await self._admission.may_start(placement)

        return await self._start.begin(OperationKind.PROVISION, slug, caller, workflows, save)

    async def _drop_instance(
        self, stored: Stored[Tenant], operation: Operation, workflows: Workflows
    ) -> Stored[Tenant]:
        """Let go of a tenant's lost instance and return the tenant: the new one may need the room."""
        lost = stored.value
        dropped = await save_change(
            self._tenants,
            stored.with_value(lost.drop_instance(operation.created_at)),
            before=lost.state,
            reason=f"the lost instance {lost.instance} on {lost.cluster} was dropped for a new one",
            actor=operation.actor,
            action="drop instance",
        )
        await self._admission.release(lost.cluster, lost.instance, workflows)
        return dropped
