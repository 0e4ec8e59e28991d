"""The first activity of a provisioning and of a wake: apply the tenant's objects on the cluster where it has a slot."""

import logging
from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.ports.clusters import KubernetesCluster
from shared.application.ports.stored import Stored
from shared.application.ports.workflows import Workflows
from shared.domain.lifecycle import StepName
from shared.domain.tenants import Tenant
from shared.domain.workflow import Activity, Outcome, Verdict, Work
from shared.errors import BerthError, NoRoom, Transient, Unreachable
from shared.events import log_event
from shared.time_budget import time_budget

logger = logging.getLogger(__name__)

APPLY_SHARE = 5 / 6  # of the time budget; the rest is to undo it


class ApplyTenant(OperationActivity):
    """Applies a tenant's objects; QUEUED while it has no slot.

    When the cluster does not respond, a new tenant goes to another one of its region. One that is woken stays where its
    volume is, and its namespace must be there still.
    """

    _name = Activity.APPLY

    @override
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        tenant = await self._open_tenant(work, workflows)
        if tenant is None:
            return ENDED
        operation = tenant.value.operation
        if operation.is_aborting:  # it failed before, and is to be compensated
            return Outcome(Verdict.FAILED, operation.reason or "cancelled")
        if await self._breakers.is_open(tenant.value.cluster):
            moved = await self._move(tenant, workflows)
            if moved is not None:
                return moved
        tenant, has_slot = await self._admission.ensure_reservation(tenant, workflows)
        if not has_slot:
            return Outcome(Verdict.QUEUED)
        value = tenant.value
        message = f"applying the tenant's objects on {value.cluster}"
        operation = value.operation.start_step(StepName.APPLY, self._clock.now(), message)
        # Recorded before it is used: a secret stays the same, also if the seeds are rotated between two attempts.
        seed_id = value.seed_id or self._changes.seed_id(is_new=operation.rules.makes_instance)
        applying = await self._tenants.save(tenant.with_value(replace(value, operation=operation, seed_id=seed_id)))
        return await self._apply(work, applying, workflows)

    async def _apply(self, work: Work, tenant: Stored[Tenant], workflows: Workflows) -> Outcome:
        value = tenant.value
        objects = await self._changes.objects(value)
        cluster = await self._connections.connect(value.cluster)
        seconds = self._settings.kubernetes.total_timeout * APPLY_SHARE
        try:
            with time_budget(min(seconds, max(1.0, self._seconds_left(value.operation)))):
                await cluster.apply(objects, is_new=value.operation.rules.makes_instance)
        except Unreachable:
            if await self._breakers.found_dead(value.cluster):
                moved = await self._move(tenant, workflows)
                if moved is not None:
                    return moved
            await self._changes.settle(value, cluster, running=True)
            raise
        except BerthError:
            await self._changes.settle(value, cluster, running=True)  # some of it may have been applied
            raise
        return await self._undo_unless_open(work, value, cluster)

    async def _move(self, tenant: Stored[Tenant], workflows: Workflows) -> Outcome | None:
        """Move a tenant away from a cluster that does not respond; None if that is not possible.

        One whose objects were all applied stays: it may well be starting there. So does one with a volume there.
        """
        operation = tenant.value.operation
        if operation.has_started(StepName.START) or not operation.rules.makes_instance:
            return None
        try:
            _, has_slot = await self._admission.move(tenant, workflows, away_from=tenant.value.cluster)
        except (NoRoom, Transient) as error:
            log_event(logger, "not moved", cluster=tenant.value.cluster, cause=str(error))
            return None
        return (
            Outcome(Verdict.RETRY, f"{tenant.value.cluster} does not respond") if has_slot else Outcome(Verdict.QUEUED)
        )

    async def _undo_unless_open(self, work: Work, applied: Tenant, cluster: KubernetesCluster) -> Outcome:
        """Undo what was just applied if the operation was aborted or ended meanwhile, or if the tenant was moved.

        Whoever ended it may have removed or stopped the instance before these objects were applied. An instance that
        became active meanwhile stays.
        """
        fresh = await self._changes.settle(applied, cluster, running=True)
        is_open = fresh.operation.id == work.operation_id and fresh.operation.is_open
        if not is_open:  # another worker ended it, perhaps well: then the instance is in use
            return ENDED
        if fresh.operation.is_aborting:
            return Outcome(Verdict.FAILED, fresh.operation.reason or "cancelled")
        return DONE if fresh.instance == applied.instance else Outcome(Verdict.RETRY, "moved to another cluster")
