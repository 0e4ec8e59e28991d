"""The second activity of a provisioning: wait until the tenant is ready, and record it as active."""

import math
from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.ports.stored import Stored
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName
from shared.domain.operations import seconds_between
from shared.domain.pod_status import PodStatus
from shared.domain.tenants import Observed, Tenant
from shared.domain.workflow import Outcome, Verdict, Work
from shared.errors import Conflict

MAX_SECONDS = 30.0  # that one call waits, so that other activities get a thread
HEARTBEAT_SECONDS = 60.0  # a heartbeat is written at least this often


class AwaitTenant(OperationActivity):
    """Waits for a tenant's pod; RETRY after a while, FAILED when waiting cannot help or the operation was cancelled."""

    @override
    async def _run(self, work: Work) -> Outcome:
        tenant = await self._open_tenant(work)
        if tenant is None:
            return ENDED
        operation = tenant.value.operation
        if operation.reason:  # it failed before, and what it made is being removed
            return Outcome(Verdict.FAILED, operation.reason)
        operation = operation.start_step(StepName.START, self._clock.now(), "starting the workload")
        tenant = tenant.with_value(replace(tenant.value, operation=operation))
        interval = self._settings.provisioning.progress_interval
        cluster = await self._connections.connect(tenant.value.cluster)
        for _ in range(math.ceil(min(MAX_SECONDS, work.fail_after) / interval)):
            if tenant.value.operation.cancel_requested:
                return await self._abort(tenant, "cancelled")
            status = await cluster.wait_until_ready(namespace_name(tenant.value.instance), timeout=interval)
            if status.ready:
                await self._succeed(tenant.with_value(_observed(tenant.value, status)), reason="ready")
                return DONE
            if status.permanent:
                return await self._abort(tenant, status.message)
            tenant = await self._report(tenant, status)
        return Outcome(Verdict.RETRY, tenant.value.operation.step(StepName.START).message)

    async def _abort(self, tenant: Stored[Tenant], reason: str) -> Outcome:
        """Record that the running step failed, before what it made is removed."""
        operation = tenant.value.operation.fail_step(self._clock.now(), reason)
        await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
        return Outcome(Verdict.FAILED, reason)

    async def _report(self, tenant: Stored[Tenant], status: PodStatus) -> Stored[Tenant]:
        """Record a status that is new, or a heartbeat when one is due; else find out whether the tenant changed.

        Raises Conflict when somebody changed it, for example to cancel.
        """
        now, operation = self._clock.now(), tenant.value.operation
        step = operation.step(StepName.START)
        message = status.message
        if seconds_between(step.started_at or now, now) > self._settings.provisioning.warn_after:
            message = f"{message} (this takes longer than usual)"
        if step.message != message or operation.heartbeat_age(now) > HEARTBEAT_SECONDS:
            value = replace(_observed(tenant.value, status), operation=operation.with_message(message, now))
            return await self._tenants.save(tenant.with_value(value))
        fresh = await self._tenants.get(tenant.value.slug)
        if fresh.etag != tenant.etag:
            raise Conflict(f"tenant {tenant.value.slug} was changed by somebody else")
        return tenant


def _observed(tenant: Tenant, status: PodStatus) -> Tenant:
    return replace(tenant, observed=Observed(status.ready, status.message, status.at))
