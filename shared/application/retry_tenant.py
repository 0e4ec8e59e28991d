"""Retrying: provision a failed tenant once more."""

from dataclasses import replace

from shared.application.admission import Admission
from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.transitions import save_transition
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation
from shared.domain.slugs import Slug


class Retry:
    """Takes requests to retry."""

    def __init__(self, *, tenants: TenantRepository, admission: Admission, start: IdempotentStart) -> None:
        self._tenants = tenants
        self._admission = admission
        self._start = start

    async def retry(self, slug: Slug, version: str, caller: Caller, workflows: Workflows) -> Operation:
        """Provision a failed tenant once more, with another version if `version` is not empty.

        Raises:
            NotFound: There is no such tenant, or it is deleted.
            Conflict: It has not failed, or another operation is running on it.
            NoRoom, QueueFull, Transient: As for a signup.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            stored = await existing_tenant(self._tenants, slug)
            self._start.ensure_in_time(operation.created_at)
            before, now = stored.value, operation.created_at
            tenant = before.begin(operation, now)
            tenant = replace(tenant, version=version or tenant.version)
            async with self._admission.reserved(
                operation, region=before.region, plan=before.plan, workflows=workflows
            ) as placement:
                tenant = tenant.placed(placement.cluster, placement.instance, now, placement.message)
                await save_transition(
                    self._tenants,
                    stored.with_value(tenant),
                    before=before.state,
                    reason="requested",
                    begins_operation=True,
                )
            return await self._admission.may_start(placement)

        return await self._start.begin(OperationKind.PROVISION, slug, caller, workflows, save)
