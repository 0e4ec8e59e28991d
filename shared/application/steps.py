"""The work of operations, as the few activities that the orchestrations call.

Each may run twice or be cut off at any point and be run again: it looks at what is recorded, goes on from there, and
writes before it acts whatever would be needed to undo the act.
"""

import contextlib
import math
from collections.abc import Awaitable
from dataclasses import replace

from shared.application.admission import Admission, Waiting
from shared.application.lifecycle import audit_entry, quarantine
from shared.application.ports import (
    ClusterRecords,
    Clusters,
    LatencyRecords,
    Stored,
    TenantManifests,
    TenantRecords,
)
from shared.clock import Clock
from shared.domain.naming import namespace_name
from shared.domain.operations import OperationKind, StepName
from shared.domain.readiness import Observation
from shared.domain.tenants import Observed, Tenant, TenantState
from shared.domain.workflow import Outcome, Verdict, Work
from shared.errors import BerthError, Conflict, NoRoom, NotFound, Permanent, Transient
from shared.settings import Settings

_DONE = Outcome(Verdict.DONE)
_ENDED = Outcome(Verdict.ENDED)
AWAIT_SECONDS = 30.0  # how long one activity waits before it gives its place to another
REMOVE_SECONDS = 30.0
HEARTBEAT_SECONDS = 60.0  # at least this often something is written while an operation is worked on


class OperationSteps:
    """Provisions and removes tenants."""

    def __init__(
        self,
        *,
        records: TenantRecords,
        cluster_records: ClusterRecords,
        latency: LatencyRecords,
        admission: Admission,
        clusters: Clusters,
        manifests: TenantManifests,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._records = records
        self._cluster_records = cluster_records
        self._latency = latency
        self._admission = admission
        self._clusters = clusters
        self._manifests = manifests
        self._clock = clock
        self._settings = settings

    async def apply(self, work: Work) -> Outcome:
        """Place a tenant on a cluster and apply its objects there."""
        return await self._settle(work, self._apply(work))

    async def await_ready(self, work: Work) -> Outcome:
        """Wait until a tenant is ready and record it as active; after a while ask to be called again."""
        return await self._settle(work, self._await_ready(work))

    async def remove(self, work: Work) -> Outcome:
        """Remove everything that a tenant has; ends a deletion, and a provisioning that `work.reason` made fail."""
        outcome = await self._settle(work, self._remove(work))
        if outcome.verdict is Verdict.FAILED:
            # Nothing may be left behind, so this goes on until somebody gives berth what it was refused.
            return Outcome(Verdict.AGAIN, f"removal was refused: {outcome.reason}", 30.0)
        return outcome

    async def _settle(self, work: Work, step: Awaitable[Outcome]) -> Outcome:
        """Return a step's outcome, or what its error comes to."""
        try:
            return await step
        except Transient as error:
            await self._note(work, str(error))
            return Outcome(Verdict.AGAIN, str(error), error.retry_after or 1.0)
        except (NoRoom, Permanent, NotFound) as error:
            return Outcome(Verdict.FAILED, str(error))
        except Conflict:
            return Outcome(Verdict.AGAIN)  # somebody changed the tenant: look again

    async def _apply(self, work: Work) -> Outcome:
        tenant = await self._open(work)
        if tenant is None:
            return _ENDED
        operation = tenant.value.operation
        if operation.is_giving_up:  # it failed before, and is to be cleaned up
            return Outcome(Verdict.FAILED, operation.reason or "cancelled")
        placed = await self._admission.place(tenant)
        if isinstance(placed, Waiting):
            await self._queue(placed)
            return Outcome(Verdict.QUEUED, wait=placed.wait)
        objects = self._manifests.render(placed.value)
        cluster = await self._clusters.connect(placed.value.cluster)
        await cluster.apply(objects)
        return _DONE

    async def _await_ready(self, work: Work) -> Outcome:
        tenant = await self._open(work)
        if tenant is None:
            return _ENDED
        operation = tenant.value.operation.begin(StepName.START, self._clock.now(), "starting the workload")
        tenant = tenant.with_value(replace(tenant.value, operation=operation))
        look_seconds = self._settings.provisioning.progress_seconds
        cluster = await self._clusters.connect(tenant.value.cluster)
        for _ in range(math.ceil(min(AWAIT_SECONDS, work.fail_after) / look_seconds)):
            if tenant.value.operation.cancel_requested:
                return await self._give_up(tenant, "cancelled")
            observation = await cluster.wait_until_ready(namespace_name(work.slug), timeout=look_seconds)
            if observation.ready:
                await self._succeed(tenant, observation)
                return _DONE
            if observation.permanent:
                return await self._give_up(tenant, observation.message)
            tenant = await self._report(tenant, observation)
        return Outcome(Verdict.AGAIN, tenant.value.operation.step(StepName.START).message)

    async def _remove(self, work: Work) -> Outcome:
        tenant = await self._open(work)
        if tenant is None:
            return _ENDED
        now, reason = self._clock.now(), work.reason
        value = tenant.value
        before = value.operation
        operation = before.stop_step(now, reason) if reason and not before.reason else before
        operation = operation.begin(StepName.REMOVE, now, "removing the workload, its data and its namespace")
        tenant = await self._records.save(tenant.with_value(replace(value, operation=operation)))
        if value.cluster:
            # However long the removal takes: what cannot succeed any more must not keep others from starting.
            await self._cluster_records.started(value.cluster, value.slug)
            cluster = await self._clusters.connect(value.cluster)
            await cluster.remove(namespace_name(value.slug), timeout=REMOVE_SECONDS)
            tenant = await self._open(work)
            if tenant is None:  # somebody else did all this, and the place may be another operation's by now
                return _ENDED
            await self._cluster_records.release(value.cluster, value.slug)
        now = self._clock.now()
        if operation.kind is OperationKind.DELETE:
            ended = tenant.value.succeed(now, quarantine=quarantine(self._settings))
        else:
            ended = tenant.value.fail(now)
        await self._end(tenant, ended, reason or "removed")
        return _DONE

    async def _succeed(self, tenant: Stored[Tenant], observation: Observation) -> None:
        observed = Observed(observation.ready, observation.message, observation.at)
        value = replace(tenant.value, observed=observed)
        await self._end(tenant, value.succeed(self._clock.now(), quarantine=quarantine(self._settings)), "ready")

    async def _end(self, tenant: Stored[Tenant], ended: Tenant, reason: str) -> None:
        await self._records.save(tenant.with_value(ended), audit_entry(ended, before=tenant.value.state, reason=reason))
        await self._after_end(ended)

    async def _after_end(self, tenant: Tenant) -> None:
        """Do what follows from an operation's end; doing it again changes nothing."""
        await self._latency.record(tenant)
        if tenant.state is TenantState.ACTIVE:
            await self._cluster_records.started(tenant.cluster, tenant.slug)

    async def _queue(self, waiting: Waiting) -> None:
        """Record a tenant's place in the queue."""
        tenant = waiting.tenant
        operation = tenant.value.operation.begin(StepName.PLACE, self._clock.now())
        operation = operation.say(f"waiting for its turn: place {waiting.place} in the queue", self._clock.now())
        await self._records.save(tenant.with_value(replace(tenant.value, operation=operation)))

    async def _give_up(self, tenant: Stored[Tenant], reason: str) -> Outcome:
        """Record that the running step failed, before what it made is removed."""
        operation = tenant.value.operation.stop_step(self._clock.now(), reason)
        await self._records.save(tenant.with_value(replace(tenant.value, operation=operation)))
        return Outcome(Verdict.FAILED, reason)

    async def _report(self, tenant: Stored[Tenant], observation: Observation) -> Stored[Tenant]:
        """Record what was seen while waiting, if it is news, and read the tenant again: it may be cancelled by now."""
        value = tenant.value
        now = self._clock.now()
        message = observation.message
        started = value.operation.step(StepName.START).started_at or now
        if (now - started).total_seconds() > self._settings.provisioning.warn_after:
            message = f"{message} (this takes longer than usual)"
        if value.operation.step(StepName.START).message != message or value.operation.silence(now) > HEARTBEAT_SECONDS:
            observed = Observed(observation.ready, observation.message, observation.at)
            operation = value.operation.say(message, now)
            return await self._records.save(tenant.with_value(replace(value, operation=operation, observed=observed)))
        fresh = await self._records.get(value.slug)
        if fresh.etag != tenant.etag:
            raise Conflict(f"tenant {value.slug} was changed by somebody else")
        return tenant

    async def _note(self, work: Work, message: str) -> None:
        """Record what holds an operation up, which is a sign of life too; without effect where that fails as well."""
        with contextlib.suppress(BerthError):
            tenant = await self._open(work)
            if tenant is not None:
                operation = tenant.value.operation.say(message, self._clock.now())
                await self._records.save(tenant.with_value(replace(tenant.value, operation=operation)))

    async def _open(self, work: Work) -> Stored[Tenant] | None:
        """Return the tenant if this operation is the one running on it."""
        try:
            tenant = await self._records.get(work.slug)
        except NotFound:
            return None
        operation = tenant.value.operation
        if operation.id != work.operation_id:
            return None
        if not operation.is_open:
            await self._after_end(tenant.value)  # whoever ended it may not have come to this
            return None
        return tenant
