"""The first activity of a provisioning: place the tenant on a cluster and apply its objects there."""

import logging
from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, ActivityPorts, OperationActivity
from shared.application.admission import Admission, Queued
from shared.application.ports.clusters import KubernetesCluster, TenantTemplates
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName
from shared.domain.tenants import Tenant
from shared.domain.workflow import Outcome, Verdict, Work
from shared.events import log_event

logger = logging.getLogger(__name__)

REMOVE_TIMEOUT = 30.0  # seconds


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
        cluster = await self._connections.connect(placed.value.cluster)
        await cluster.apply(objects)
        return await self._undo_unless_open(work, placed.value, cluster)

    async def _undo_unless_open(self, work: Work, applied: Tenant, cluster: KubernetesCluster) -> Outcome:
        """Remove what was just applied if the operation was aborted or ended meanwhile.

        Whoever ended it may have removed the instance before these objects were applied. An instance that
        became active meanwhile stays.
        """
        fresh = (await self._tenants.get(work.slug)).value
        if fresh.is_done_with(applied.instance):
            log_event(logger, "applied objects removed: the operation ended", cluster=applied.cluster)
            await cluster.remove(namespace_name(applied.instance), timeout=REMOVE_TIMEOUT)
        is_open = fresh.operation.id == work.operation_id and fresh.operation.is_open
        if not is_open:  # another worker ended it, perhaps well: then the instance is in use
            return ENDED
        return Outcome(Verdict.FAILED, fresh.operation.reason or "cancelled") if fresh.operation.is_aborting else DONE

    async def _record_position(self, queued: Queued) -> None:
        value, now = queued.tenant.value, self._clock.now()
        operation = value.operation.start_step(StepName.PLACE, now)
        operation = operation.with_message(f"queued: position {queued.position}", now)
        await self._tenants.save(queued.tenant.with_value(replace(value, operation=operation)))
