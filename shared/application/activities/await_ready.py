"""The second activity of a provisioning and of a wake: wait until the tenant is ready, open its route, record it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import override

from shared.application.activities.activity import DONE, ENDED, OperationActivity
from shared.application.ports.clusters import KubernetesCluster, Manifest
from shared.application.ports.stored import Stored
from shared.application.ports.workflows import Workflows
from shared.domain.failures import FailureClass, class_of_status
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import StepName
from shared.domain.operations import Operation
from shared.domain.pod_status import PodStatus
from shared.domain.routes import with_route
from shared.domain.tenants import Observed, Tenant
from shared.domain.workflow import Activity, Outcome, Verdict, Work
from shared.domain.workloads import Workload
from shared.errors import BerthError, Conflict, Forbidden, Transient
from shared.time_budget import time_budget

logger = logging.getLogger(__name__)

NODE_PAUSE_SECONDS = 10.0  # between two looks for a node that is being added
MAX_SECONDS = 25.0  # that one call waits, so that other activities get their turn
WAIT_SHARE = 5 / 6  # of the time budget, at most; the rest is for the requests after waiting
MIN_POLL_SECONDS = 0.5
LATE_SECONDS = 4.0  # that the last poll may end after the deadline


class AwaitTenant(OperationActivity):
    """Waits for a tenant's workloads, and then until the gateway serves its route.

    RETRY after a while; FAILED when waiting cannot help, or when the operation was cancelled.

    The deadline counts the waiting that was recorded, so that an activity which is delivered late costs nobody time.
    Waiting for a node that the autoscaler adds counts on its own.
    """

    _name = Activity.AWAIT

    @override
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        tenant = await self._open_tenant(work, workflows)
        if tenant is None:
            return ENDED
        value, now = tenant.value, self._clock.now()
        if value.operation.reason:  # it failed before, and what it made is being removed
            return Outcome(Verdict.FAILED, value.operation.reason)
        tenant = with_operation(tenant, value.operation.start_step(StepName.START, now, "starting the workload"))
        return await self._wait(tenant, work, await self._connections.connect(value.cluster), workflows)

    async def _wait(
        self, tenant: Stored[Tenant], work: Work, cluster: KubernetesCluster, workflows: Workflows
    ) -> Outcome:
        """Wait for a tenant whose operation has begun to start it, and then until the gateway serves its route."""
        value = tenant.value
        workloads, route = await self._changes.workloads(value), await self._changes.route(value)
        try:
            return await self._poll(tenant, work, cluster, workloads, route, workflows)
        except BerthError:
            await self._changes.close_unless_running(value, cluster)
            raise

    async def _poll(
        self,
        tenant: Stored[Tenant],
        work: Work,
        cluster: KubernetesCluster,
        workloads: Sequence[Workload],
        route: Manifest,
        workflows: Workflows,
    ) -> Outcome:
        value = tenant.value
        polled_at = recorded_at = self._clock.monotonic()
        end = polled_at + min(MAX_SECONDS, WAIT_SHARE * self._settings.kubernetes.total_timeout)
        while polled_at < end:
            if self._is_cancelled(tenant.value.operation):
                return await self._abort(tenant, "cancelled", FailureClass.CANCELLED, workflows)
            left = self._seconds_left(tenant.value.operation)
            seconds = max(MIN_POLL_SECONDS, min(self._settings.provisioning.progress_interval, end - polled_at, left))
            try:
                with time_budget(max(seconds, left) + LATE_SECONDS):
                    status = await cluster.wait_until_ready(namespace_name(value.instance), workloads, timeout=seconds)
                    failure = class_of_status(status)
                    if status.ready:
                        status = with_route(status, await cluster.open_route(route, timeout=seconds))
                        failure = FailureClass.ROUTE
            except (Transient, Forbidden) as error:
                await self._changes.close_unless_running(value, cluster)
                return await self._hold_up(work, error, self._clock.monotonic() - recorded_at)
            if status.ready:
                await self._ready(_seen(tenant, status), workflows)
                return DONE
            if status.permanent:
                return await self._abort(_seen(tenant, status), status.message, failure, workflows)
            last_poll, polled_at = polled_at, self._clock.monotonic()
            operation = _waited(tenant.value.operation, status, polled_at - last_poll)
            too_long = self._too_long(operation)
            if too_long:
                reason = f"{too_long}: {status.message}"
                return await self._abort(_seen(tenant, status), reason, failure, workflows)
            if status.adding_node and not tenant.value.operation.node_seconds:
                # Others can start while the node comes; only a reservation is needed from here on.
                await self._admission.release_slot(value.cluster, value.instance, operation.id, workflows)
            tenant = with_operation(tenant, operation)
            if status.adding_node:  # for minutes, and others need this activity's place in the worker
                paused = replace(operation, node_seconds=operation.node_seconds + NODE_PAUSE_SECONDS)
                await self._tenants.save(self._reported(with_operation(tenant, paused), status))
                return Outcome(Verdict.RETRY, status.message, NODE_PAUSE_SECONDS)
            before, tenant = tenant, await self._report(tenant, status)
            if tenant.etag != before.etag:
                recorded_at = polled_at
        await self._tenants.save(tenant)  # the heartbeat, and how long it has waited
        return Outcome(Verdict.RETRY, tenant.value.operation.step(StepName.START).message)

    def _is_cancelled(self, operation: Operation) -> bool:
        """Whether there is no need to wait any longer."""
        return operation.cancel_requested

    async def _ready(self, tenant: Stored[Tenant], workflows: Workflows) -> None:
        """End the operation of a tenant that is ready."""
        await self._succeed(tenant, workflows, reason="ready")

    async def _abort(self, tenant: Stored[Tenant], reason: str, failure: FailureClass, workflows: Workflows) -> Outcome:
        """Record that the running step failed, before what was done is undone."""
        operation = tenant.value.operation.fail_step(self._clock.now(), reason, failure)
        await self._tenants.save(with_operation(tenant, operation))
        return Outcome(Verdict.FAILED, reason, failure=failure)

    async def _report(self, tenant: Stored[Tenant], status: PodStatus) -> Stored[Tenant]:
        """Record a status that is new; else find out whether somebody changed the tenant.

        Raises Conflict when somebody did, for example to cancel.
        """
        reported = self._reported(tenant, status)
        before, after = (each.value.operation.step(StepName.START) for each in (tenant, reported))
        if before.message != after.message:
            return await self._tenants.save(reported)
        fresh = await self._tenants.get(tenant.value.slug)
        if fresh.etag != tenant.etag:
            raise Conflict(f"tenant {tenant.value.slug} was changed by somebody else")
        return reported

    def _reported(self, tenant: Stored[Tenant], status: PodStatus) -> Stored[Tenant]:
        """Return a tenant with a status as its observation and as the message of its operation."""
        operation, message = tenant.value.operation, status.message
        if operation.waited_seconds > self._settings.provisioning.warn_after:
            message = f"{message} (this takes longer than usual)"
        operation = operation.with_message(message, self._clock.now())
        return tenant.with_value(replace(_seen(tenant, status).value, operation=operation))


def with_operation(tenant: Stored[Tenant], operation: Operation) -> Stored[Tenant]:
    """Return a tenant with another state of its operation."""
    return tenant.with_value(replace(tenant.value, operation=operation))


def _waited(operation: Operation, status: PodStatus, seconds: float) -> Operation:
    if status.adding_node:
        return replace(operation, node_seconds=operation.node_seconds + seconds, doubt_seconds=0.0)
    doubt = operation.doubt_seconds + seconds if status.doubtful else 0.0
    return replace(operation, waited_seconds=operation.waited_seconds + seconds, doubt_seconds=doubt)


def _seen(tenant: Stored[Tenant], status: PodStatus) -> Stored[Tenant]:
    return tenant.with_value(replace(tenant.value, observed=Observed(status.ready, status.message, status.at)))
