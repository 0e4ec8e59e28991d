"""The activity that removes a tenant: the work of a deletion, and the compensation of a failed provisioning."""

import logging
from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.ports.stored import Stored
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName
from shared.domain.tenants import Tenant
from shared.domain.workflow import Outcome, Verdict, Work
from shared.errors import NotFound, Permanent
from shared.events import log_event

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0  # of one attempt to remove; it is retried until nothing is left
REFUSED_PAUSE_SECONDS = 30.0


class RemoveTenant(OperationActivity):
    """Removes everything that a tenant has, then ends the operation; RETRY until that has succeeded."""

    @override
    async def _run(self, work: Work) -> Outcome:
        tenant = await self._open_tenant(work)
        if tenant is None:
            return ENDED
        kind = tenant.value.operation.kind
        if not tenant.value.operation.rules.may_remove_data:
            raise Permanent(f"an operation of the kind {kind} never removes a tenant's data")
        try:
            return await self._remove(tenant, work)
        except (Permanent, NotFound) as error:
            # Nothing may be left behind, so this is retried until an operator has granted the missing right.
            log_event(logger, "removal refused", level=logging.WARNING, cause=str(error))
            message = f"removal was refused: {error}"
            await self._record_message(work, message)
            return Outcome(Verdict.RETRY, message, REFUSED_PAUSE_SECONDS)

    async def _remove(self, tenant: Stored[Tenant], work: Work) -> Outcome:
        value, now = tenant.value, self._clock.now()
        operation = value.operation
        if work.reason and not operation.reason:
            operation = operation.fail_step(now, work.reason)
        operation = operation.start_step(StepName.REMOVE, now, "removing the workload, its data and its namespace")
        await self._tenants.save(tenant.with_value(replace(value, operation=operation)))
        if value.cluster:
            name = value.cluster
            # Before the removal, which may take long: this tenant must not keep others from starting meanwhile.
            await self._clusters.release_slot(name, value.instance)
            cluster = await self._connections.connect(name)
            await cluster.remove(namespace_name(value.instance), timeout=TIMEOUT_SECONDS)
        gone = await self._open_tenant(work)
        if gone is None:  # another call did all this
            return ENDED
        if value.cluster:
            await self._clusters.release(value.cluster, value.instance)
        if operation.rules.compensation is StepName.REMOVE:
            await self._end(gone, gone.value.fail(self._clock.now()), work.reason)
        else:
            await self._succeed(gone, reason="removed")
        return DONE
