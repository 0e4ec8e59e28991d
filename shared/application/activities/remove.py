"""The activity that removes a tenant: the work of a deletion, and the compensation of a failed provisioning."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.instance_changes import REMOVE_TIMEOUT
from shared.application.ports.stored import Stored
from shared.application.ports.workflows import Workflows
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName
from shared.domain.tenants import Tenant
from shared.domain.workflow import Activity, Outcome, Work
from shared.errors import Conflict, NotFound, NotOurs, Permanent
from shared.events import log_event

logger = logging.getLogger(__name__)


class RemoveTenant(OperationActivity):
    """Removes everything that a tenant has, then ends the operation; RETRY until that has succeeded."""

    _name = Activity.REMOVE

    @override
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        tenant = await self._open_tenant(work, workflows)
        if tenant is None:
            return ENDED
        kind = tenant.value.operation.kind
        if not tenant.value.operation.rules.includes(StepName.REMOVE):
            raise Permanent(f"an operation of the kind {kind} never removes a tenant's data")
        try:
            return await self._remove(tenant, work, workflows)
        except (Permanent, NotFound) as error:
            return await self._refused(work, "removal", error)  # nothing may be left behind

    async def _remove(self, tenant: Stored[Tenant], work: Work, workflows: Workflows) -> Outcome:
        value, now = tenant.value, self._clock.now()
        operation = value.operation
        if work.reason and not operation.reason:
            operation = operation.fail_step(now, work.reason, work.failure)
        operation = operation.start_step(StepName.REMOVE, now, "removing the workload, its data and its namespace")
        tenant = await self._tenants.save(tenant.with_value(replace(value, operation=operation)))
        # What an operation makes is not there before its apply step, which is recorded first.
        if value.cluster and (not operation.rules.makes_instance or operation.has_started(StepName.APPLY)):
            # The slot first, because the removal may take long: others must not wait for it.
            await self._admission.release_slot(value.cluster, value.instance, operation.id, workflows)
            await self._remove_instance(tenant)
        gone = await self._open_tenant(work, workflows)
        if gone is None:  # another call did all this
            return ENDED
        if gone.value.instance != value.instance:
            raise Conflict("the tenant was moved to another cluster meanwhile")
        if value.cluster:
            await self._admission.release(value.cluster, value.instance, workflows)
        if operation.rules.compensation is StepName.REMOVE:
            await self._end(gone, gone.value.fail(self._clock.now()), workflows, work.reason)
        else:
            await self._succeed(gone, workflows, reason="removed")
        return DONE

    async def _remove_instance(self, tenant: Stored[Tenant]) -> None:
        """Remove what there is of a tenant's instance on its cluster."""
        value = tenant.value
        try:
            cluster = await self._connections.connect(value.cluster)
        except NotFound as error:
            if not value.operation.rules.makes_instance:
                raise
            # The signup was recorded after its cluster was removed. What a worker may have applied there all the same
            # is an orphan if the cluster is registered again.
            log_event(logger, "nothing removed", level=logging.WARNING, cause=str(error))
            return
        try:
            await cluster.remove(
                namespace_name(value.instance),
                timeout=REMOVE_TIMEOUT,
                record_kept=partial(self._record_kept, tenant),
            )
        except NotOurs as error:
            if not value.operation.rules.makes_instance:
                raise
            # `apply` refused it too, so nothing of this operation is in it.
            log_event(logger, "nothing removed", level=logging.WARNING, cause=str(error))

    async def _record_kept(self, tenant: Stored[Tenant], volumes: Sequence[str]) -> None:
        """Record which volumes will stay, while their claims still name them."""
        operation = tenant.value.operation
        kept = {*operation.kept_volumes, *volumes}
        if len(kept) > len(operation.kept_volumes):
            operation = replace(operation, kept_volumes=tuple(sorted(kept)))
            await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
