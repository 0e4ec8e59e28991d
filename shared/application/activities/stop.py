"""The activity that stops a tenant's pods: the work of a hibernation, and the compensation of a wake."""

from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.ports.clusters import KubernetesCluster
from shared.application.ports.stored import Stored
from shared.application.ports.workflows import Workflows
from shared.domain.lifecycle import StepName
from shared.domain.tenants import Tenant, observed_asleep
from shared.domain.workflow import Activity, Outcome, Verdict, Work
from shared.errors import BerthError, NotFound, Permanent, Transient


class StopTenant(OperationActivity):
    """Stops all pods of a tenant, whose other objects and whose volume stay, and ends the operation.

    A hibernation FAILS when it was turned round, or when its pods do not stop for long: then they are started again. As
    the compensation of a wake this is retried until it has succeeded.
    """

    _name = Activity.STOP

    _awaited = "stopped"

    @override
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        tenant = await self._open_tenant(work, workflows)
        if tenant is None:
            return ENDED
        operation = tenant.value.operation
        if not operation.rules.includes(StepName.STOP):
            raise Permanent(f"an operation of the kind {operation.kind} never stops a tenant")
        if operation.rules.compensation is not StepName.STOP:
            if operation.is_aborting:
                return Outcome(Verdict.FAILED, operation.reason or "cancelled")
            return await self._stop(tenant, work, workflows)
        try:
            return await self._stop(tenant, work, workflows)
        except Permanent as error:
            return await self._refused(work, "stopping", error)

    async def _stop(self, tenant: Stored[Tenant], work: Work, workflows: Workflows) -> Outcome:
        value, now = tenant.value, self._clock.now()
        cluster = await self._connections.connect(value.cluster)
        operation, undoes = value.operation, value.operation.rules.compensation is StepName.STOP
        if work.reason and not operation.reason:
            operation = operation.fail_step(now, work.reason, work.failure)
        operation = operation.start_step(StepName.STOP, now, "stopping the pods; the volume stays")
        # What waking needs is recorded before anything is changed, and once: later it would be what was changed.
        replicas = value.replicas or (await self._changes.replicas(value, cluster)).wanted
        tenant = await self._tenants.save(tenant.with_value(replace(value, operation=operation, replicas=replicas)))
        left = ""
        if not undoes or operation.has_started(StepName.APPLY):
            if undoes:  # the slot first, because stopping may take long: others must not wait for it
                await self._admission.release_slot(value.cluster, value.instance, operation.id, workflows)
            try:
                left = await self._stop_pods(tenant.value, cluster, is_needed=not undoes)
            except BerthError:
                await self._changes.settle(tenant.value, cluster, running=False)  # some of them may have been stopped
                raise
            await self._changes.settle(tenant.value, cluster, running=False)
        stopped = await self._open_tenant(work, workflows)
        if stopped is None:  # another call did all this, or an operator has forgotten the tenant
            return ENDED
        if stopped.value.operation.is_aborting and not undoes:
            return Outcome(Verdict.FAILED, stopped.value.operation.reason or "cancelled")
        if left:
            raise Transient(left)
        asleep = replace(stopped.value, observed=observed_asleep(now))
        if undoes:
            await self._end(stopped, asleep.fail(self._clock.now()), workflows, work.reason)
        else:
            await self._succeed(stopped.with_value(asleep), workflows, reason="asleep")
        return DONE

    async def _stop_pods(self, tenant: Tenant, cluster: KubernetesCluster, *, is_needed: bool) -> str:
        """Stop a tenant's pods, and return what is left of them after a while, in words.

        Raises NotFound if its namespace is gone, and it `is_needed`.
        """
        try:
            return await self._changes.stop(tenant, cluster)
        except NotFound:
            if is_needed:
                raise
            return ""
