"""The first activity of a provisioning: place the tenant on a cluster and apply its objects there."""

from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, ActivityPorts, OperationActivity
from shared.application.admission import Admission, Queued
from shared.application.ports.clusters import TenantTemplates
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import StepName
from shared.domain.workflow import Outcome, Verdict, Work


class ApplyTenant(OperationActivity):
    """Reserves room for a tenant, then applies its objects; QUEUED while no slot is free."""

    def __init__(self, ports: ActivityPorts, *, admission: Admission, templates: TenantTemplates) -> None:
        super().__init__(ports)
        self._admission = admission
        self._templates = templates

    @override
    async def _run(self, work: Work) -> Outcome:
        tenant = await self._open_tenant(work)
        if tenant is None:
            return ENDED
        operation = tenant.value.operation
        if operation.is_aborting:  # it failed before, and is to be compensated
            return Outcome(Verdict.FAILED, operation.reason or "cancelled")
        placed = await self._admission.place(tenant)
        if isinstance(placed, Queued):
            await self._record_position(placed)
            return Outcome(Verdict.QUEUED, wait=placed.wait)
        objects = self._templates.render(placed.value)
        cluster = await self._connections.connect(ClusterName(placed.value.cluster))
        await cluster.apply(objects)
        return DONE

    async def _record_position(self, queued: Queued) -> None:
        value, now = queued.tenant.value, self._clock.now()
        operation = value.operation.start_step(StepName.PLACE, now)
        operation = operation.with_message(f"queued: position {queued.position}", now)
        await self._tenants.save(queued.tenant.with_value(replace(value, operation=operation)))
