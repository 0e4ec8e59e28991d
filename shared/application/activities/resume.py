"""The compensation of a hibernation: start the tenant's pods again, and wait for them."""

from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED
from shared.application.activities.await_ready import MIN_POLL_SECONDS, AwaitTenant, with_operation
from shared.application.ports.stored import Stored
from shared.application.ports.workflows import Workflows
from shared.domain.failures import FailureClass
from shared.domain.lifecycle import StepName
from shared.domain.operations import Operation
from shared.domain.tenants import Observed, Tenant
from shared.domain.workflow import Activity, Outcome, Work
from shared.errors import BerthError, NotFound, Permanent


class ResumeTenant(AwaitTenant):
    """Starts a tenant's pods again, and ends the operation; RETRY until that has succeeded.

    If they do not become ready within the time of a provisioning, the tenant is active all the same, as any other whose
    product has stopped working: its owner can then delete it, and `observed` says what is wrong.
    """

    _name = Activity.RESUME

    @override
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        tenant = await self._open_tenant(work, workflows)
        if tenant is None:
            return ENDED
        operation = tenant.value.operation
        if operation.rules.compensation is not StepName.START:
            raise Permanent(f"an operation of the kind {operation.kind} never starts a tenant again")
        if work.reason and not operation.reason:  # what it has waited until now was for the pods to stop
            operation = operation.fail_step(self._clock.now(), work.reason, work.failure)
            operation = replace(operation, waited_seconds=0.0, node_seconds=0.0, doubt_seconds=0.0)
        if not operation.has_started(StepName.STOP):  # nothing was stopped
            await self._ready(with_operation(tenant, operation), workflows)
            return DONE
        operation = operation.start_step(StepName.START, self._clock.now(), "starting the workload again")
        tenant = await self._tenants.save(with_operation(tenant, operation))
        try:
            return await self._resume(tenant, work, workflows)
        except NotFound as error:
            observed = Observed(ready=False, message=str(error), at=self._clock.now())
            lost = tenant.with_value(replace(tenant.value, observed=observed))
            return await self._end_unready(lost, str(error), workflows)
        except Permanent as error:
            return await self._refused(work, "starting again", error)

    async def _resume(self, tenant: Stored[Tenant], work: Work, workflows: Workflows) -> Outcome:
        value = tenant.value
        cluster = await self._connections.connect(value.cluster)
        try:
            await self._changes.apply_again(value, cluster)
        except BerthError:
            await self._changes.settle(value, cluster, running=True)  # some of it may have been applied
            raise
        await self._changes.settle(value, cluster, running=True)
        return await self._wait(tenant, work, cluster, workflows)

    @override
    def _seconds_left(self, operation: Operation) -> float:
        return self._settings.provisioning.fail_after - operation.waited_seconds  # though it is being undone

    @override
    def _is_cancelled(self, operation: Operation) -> bool:
        return False  # this is what a cancellation asks for

    @override
    async def _ready(self, tenant: Stored[Tenant], workflows: Workflows) -> None:
        await self._end(tenant, tenant.value.fail(self._clock.now()), workflows, tenant.value.operation.reason)

    @override
    async def _abort(self, tenant: Stored[Tenant], reason: str, failure: FailureClass, workflows: Workflows) -> Outcome:
        # Or nobody could reach it when its product works again.
        cluster = await self._connections.connect(tenant.value.cluster)
        await cluster.open_route(await self._changes.route(tenant.value), timeout=MIN_POLL_SECONDS)
        return await self._end_unready(tenant, reason, workflows)

    async def _end_unready(self, tenant: Stored[Tenant], reason: str, workflows: Workflows) -> Outcome:
        """End the operation of a tenant that is active, but not ready."""
        operation = tenant.value.operation
        text = f"{operation.reason}; its pods are not ready again: {reason}"
        await self._ready(with_operation(tenant, operation.fail_step(self._clock.now(), text)), workflows)
        return DONE
