"""What all activities share: reading the open operation's tenant, its end, errors as outcomes."""

import contextlib
import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, final

from shared.application.admission import Admission
from shared.application.breakers import Breakers
from shared.application.instance_changes import InstanceChanges
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.record_end import record_operation_end
from shared.application.saved_changes import save_change
from shared.domain.failures import class_of_error
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.tenants import Tenant
from shared.domain.workflow import Activity, Outcome, Verdict, Work
from shared.errors import BerthError, Conflict, Forbidden, NoRoom, NotFound, Permanent, Transient, Unauthenticated
from shared.events import add_to_log_context, log_context, log_event
from shared.settings import Settings
from shared.telemetry import spans
from shared.time_budget import time_budget

logger = logging.getLogger(__name__)

DONE = Outcome(Verdict.DONE)
ENDED = Outcome(Verdict.ENDED)
PAUSE_SECONDS = 1.0  # before an activity is called again, if nothing says otherwise
REFUSED_PAUSE_SECONDS = 30.0
CONFLICT_PAUSE_SECONDS = 0.1  # short: somebody changed the tenant, perhaps to cancel, and it only has to be read again


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPorts:
    """What every activity needs."""

    tenants: TenantRepository
    latency: LatencyRepository
    connections: ClusterConnections
    changes: InstanceChanges
    admission: Admission
    breakers: Breakers
    clock: Clock
    settings: Settings


class OperationActivity(ABC):
    """One activity of an operation."""

    _name: ClassVar[Activity]
    _awaited = "ready"  # what it waits for, for messages

    def __init__(self, ports: ActivityPorts) -> None:
        self._tenants = ports.tenants
        self._latency = ports.latency
        self._connections = ports.connections
        self._changes = ports.changes
        self._admission = ports.admission
        self._breakers = ports.breakers
        self._clock = ports.clock
        self._settings = ports.settings

    @final
    async def run(self, work: Work, workflows: Workflows) -> Outcome:
        """Do the work and return its outcome; an expected error is an outcome too.

        All that it asks of Kubernetes shares one time budget, except what undoes a late change.

        Args:
            work: What to do.
            workflows: Where the operation is started that gets this one's slot.
        """
        fields = {"tenant": work.slug, "operation": work.operation_id}
        with log_context(**fields), spans.work(self._name, trace=work.trace) as span:
            outcome = await self._outcome(work, workflows)
            span.set(verdict=outcome.verdict.value)
            return outcome

    async def _outcome(self, work: Work, workflows: Workflows) -> Outcome:
        began = self._clock.monotonic()
        try:
            with time_budget(self._settings.kubernetes.total_timeout):
                return await self._run(work, workflows)
        except (Transient, Forbidden) as error:
            return await self._hold_up(work, error, self._clock.monotonic() - began)
        except (NoRoom, Permanent, NotFound) as error:
            log_event(logger, "activity failed", level=logging.WARNING, cause=str(error))
            return Outcome(Verdict.FAILED, str(error), failure=class_of_error(error))
        except Conflict:
            return Outcome(Verdict.RETRY, wait=CONFLICT_PAUSE_SECONDS)

    @abstractmethod
    async def _run(self, work: Work, workflows: Workflows) -> Outcome:
        """Do the work; `run` maps the errors that it raises to outcomes."""

    async def _open_tenant(self, work: Work, workflows: Workflows) -> Stored[Tenant] | None:
        """Return the tenant if this operation is the one that is open on it."""
        try:
            tenant = await self._tenants.get(work.slug)
        except NotFound:
            return None
        operation = tenant.value.operation
        if operation.id != work.operation_id:
            return None
        add_to_log_context(instance=operation.instance, cluster=operation.cluster)
        if not operation.is_open:
            await self._after_end(tenant.value, workflows)  # the call that ended it may have stopped before this
            return None
        return tenant

    async def _refused(self, work: Work, what: str, error: BerthError) -> Outcome:
        """Record that a cluster refused what has to be done: it is retried until an operator has granted the right."""
        log_event(logger, f"{what} refused", level=logging.WARNING, cause=str(error))
        message = f"{what} was refused: {error}"
        return await self._hold_up(work, Transient(message, REFUSED_PAUSE_SECONDS), 0.0)

    async def _succeed(self, tenant: Stored[Tenant], workflows: Workflows, *, reason: str) -> None:
        quarantine = timedelta(days=self._settings.tenants.quarantine_days)
        await self._end(tenant, tenant.value.succeed(self._clock.now(), quarantine=quarantine), workflows, reason)

    async def _end(self, tenant: Stored[Tenant], ended: Tenant, workflows: Workflows, reason: str) -> None:
        before = tenant.value
        await save_change(
            self._tenants,
            tenant.with_value(ended),
            before=before.state,
            reason=reason,
            actor=before.operation.actor,  # which a tombstone forgets
            ends_operation=True,
        )
        await self._after_end(ended, workflows)

    async def _after_end(self, tenant: Tenant, workflows: Workflows) -> None:
        """Do what follows from an operation's end; doing it again changes nothing.

        Only what may work later is raised, so that it is tried again: nothing else may hold up what has ended.
        """
        try:
            if tenant.state is TenantState.ACTIVE:
                await self._admission.release_slot(tenant.cluster, tenant.instance, tenant.operation.id, workflows)
            elif tenant.state is TenantState.HIBERNATED:
                await self._admission.settle_reservation(tenant, workflows)
            await record_operation_end(self._latency, tenant, now=self._clock.now())
        except (Permanent, Conflict, NotFound) as error:
            log_event(logger, "not recorded after the end", level=logging.ERROR, cause=str(error))

    def _seconds_left(self, operation: Operation) -> float:
        """Return how long an operation may wait yet; for ever if it is being undone, or has nothing to be undone by."""
        if operation.is_aborting or not operation.rules.compensation:
            return math.inf
        return self._settings.provisioning.fail_after - operation.waited_seconds

    def _too_long(self, operation: Operation) -> str:
        """Return what took too long, with the seconds that it really took, or nothing."""
        settings = self._settings.provisioning
        left, doubt, node = self._seconds_left(operation), operation.doubt_seconds, operation.node_seconds
        if left == math.inf:
            return ""
        if left <= 0:
            return f"not {self._awaited} after {operation.waited_seconds:.0f} s"
        if doubt and doubt >= settings.doubt_fail_after:
            return f"held up for {doubt:.0f} s"
        if node and node >= settings.node_fail_after:
            return f"no node after {node:.0f} s of scaling up"
        return ""

    async def _hold_up(self, work: Work, error: Transient | Forbidden, seconds: float) -> Outcome:
        """Record what holds an operation up, and return RETRY, or FAILED when it has waited for too long.

        What is forbidden counts as what waiting rarely heals. If recording fails as well, the time does not count; nor
        does it while berth's own identity is refused.

        Args:
            work: The operation's work.
            error: What holds it up.
            seconds: How long it has waited since that was recorded last.
        """
        log_event(logger, "activity held up", cause=str(error))
        asked = error.retry_after if isinstance(error, Transient) else None
        pause = asked or PAUSE_SECONDS
        if isinstance(error, Unauthenticated):
            return await self._record_message(work, str(error), pause)
        with contextlib.suppress(BerthError):
            tenant = await self._tenants.get(work.slug)
            operation = _waited(tenant.value.operation, error, seconds)
            if operation.id == work.operation_id and operation.is_open:
                too_long = self._too_long(operation)
                if too_long:
                    return Outcome(Verdict.FAILED, f"{too_long}: {error}", failure=class_of_error(error))
                pause = min(pause, self._seconds_left(operation))
                operation = _waited(operation, error, pause).with_message(str(error), self._clock.now())
                await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
        return Outcome(Verdict.RETRY, str(error), pause)

    async def _record_message(self, work: Work, message: str, pause: float) -> Outcome:
        """Record why an operation waits, however long it does, and return RETRY."""
        with contextlib.suppress(BerthError):
            tenant = await self._tenants.get(work.slug)
            operation = tenant.value.operation
            if operation.id == work.operation_id and operation.is_open:
                operation = operation.with_message(message, self._clock.now())
                await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
        return Outcome(Verdict.RETRY, message, pause)


def _waited(operation: Operation, error: BerthError, seconds: float) -> Operation:
    doubt = operation.doubt_seconds + seconds if isinstance(error, Forbidden) else 0.0
    return replace(operation, waited_seconds=operation.waited_seconds + seconds, doubt_seconds=doubt)
