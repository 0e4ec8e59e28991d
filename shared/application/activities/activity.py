"""What all activities share: reading the open operation's tenant, undoing what came late, errors as outcomes."""

import asyncio
import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import final

from shared.application.admission import Admission
from shared.application.breakers import Breakers
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import (
    ClusterConnections,
    ClusterRepository,
    KubernetesCluster,
    Manifest,
    TenantTemplates,
)
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.transitions import save_transition
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.tenants import Tenant
from shared.domain.workflow import Outcome, Verdict, Work
from shared.domain.workloads import with_replicas, workloads_of
from shared.errors import BerthError, Conflict, Forbidden, NoRoom, NotFound, Permanent, Transient, Unauthenticated
from shared.events import log_context, log_event
from shared.settings import Settings
from shared.time_budget import fresh_time_budget, time_budget, time_left

logger = logging.getLogger(__name__)

DONE = Outcome(Verdict.DONE)
ENDED = Outcome(Verdict.ENDED)
PAUSE_SECONDS = 1.0  # before an activity is called again, if nothing says otherwise
REFUSED_PAUSE_SECONDS = 30.0
REMOVE_TIMEOUT = 9.0  # seconds of one attempt to remove; then what is left is reported, and it is tried again
UNDO_SECONDS = 60.0  # in which a late change is to be undone
UNDO_ATTEMPT_SECONDS = 15.0  # of one attempt: an apply, and two waits of the default progress interval
MAX_SETTLES = 5  # times that the record may change while one activity follows it
CONFLICT_PAUSE_SECONDS = 0.1  # short: somebody changed the tenant, perhaps to cancel, and it only has to be read again


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPorts:
    """What every activity needs."""

    tenants: TenantRepository
    latency: LatencyRepository
    clusters: ClusterRepository
    connections: ClusterConnections
    templates: TenantTemplates
    admission: Admission
    breakers: Breakers
    clock: Clock
    settings: Settings


class OperationActivity(ABC):
    """One activity of an operation."""

    _awaited = "ready"  # what it waits for, for messages

    def __init__(self, ports: ActivityPorts) -> None:
        self._tenants = ports.tenants
        self._latency = ports.latency
        self._clusters = ports.clusters
        self._connections = ports.connections
        self._templates = ports.templates
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
        began = self._clock.monotonic()
        with log_context(tenant=work.slug, operation=work.operation_id):
            try:
                with time_budget(self._settings.kubernetes.total_timeout):
                    return await self._run(work, workflows)
            except (Transient, Forbidden) as error:
                return await self._hold_up(work, error, self._clock.monotonic() - began)
            except (NoRoom, Permanent, NotFound) as error:
                log_event(logger, "activity failed", level=logging.WARNING, cause=str(error))
                return Outcome(Verdict.FAILED, str(error))
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
        if not operation.is_open:
            await self._after_end(tenant.value, workflows)  # the call that ended it may have stopped before this
            return None
        return tenant

    async def _objects(self, tenant: Tenant) -> Sequence[Manifest]:
        """Return a tenant's objects, with the replicas that it had before it was put to sleep."""
        registration = await self._clusters.registration(tenant.cluster)
        return with_replicas(self._templates.render(tenant, registration), tenant.replicas)

    async def _route(self, tenant: Tenant) -> Manifest:
        """Return a tenant's route."""
        return self._templates.route(tenant, await self._clusters.registration(tenant.cluster))

    async def _settle(self, changed: Tenant, cluster: KubernetesCluster, *, running: bool) -> Tenant:
        """Undo what was just done to an instance if the record says otherwise by now, and return the recorded tenant.

        Its route goes before its pods stop. When they run again, it is opened by the operation that waits for them, or
        here if there is none.

        Whoever ended or turned round the operation meanwhile may have done its own part before. Each change is followed
        by another look, so that the last one agrees with the record.

        Args:
            changed: The tenant whose instance was changed, as it was then.
            cluster: Where.
            running: Whether its pods run after the change.
        """
        known: bool | None = running

        async def attempt() -> Tenant:
            nonlocal known
            before, known = known, None  # what an attempt that fails leaves behind is not known
            return await self._follow_record(changed, cluster, running=before)

        return await self._undo_in_time(changed, attempt)

    async def _follow_record(self, changed: Tenant, cluster: KubernetesCluster, *, running: bool | None) -> Tenant:
        """Make an instance agree with the record, and return the recorded tenant.

        Args:
            changed: The tenant whose instance was changed, as it was then.
            cluster: Where.
            running: Whether its pods run, or None if that is not known.
        """
        namespace = namespace_name(changed.instance)
        for _ in range(MAX_SETTLES):
            stored = await self._tenants.get(changed.slug)
            fresh = stored.value
            if fresh.is_done_with(changed.instance):
                log_event(logger, "applied objects removed: the operation ended", cluster=changed.cluster)
                await cluster.remove(namespace, timeout=REMOVE_TIMEOUT)
                return fresh
            wanted = fresh.may_run(changed.instance)
            if wanted is running:
                return fresh
            running = wanted
            log_event(logger, "late change undone", cluster=changed.cluster, running=running)
            if not running:
                await cluster.close_route(namespace)
                await cluster.stop(namespace)
                continue
            objects = await self._objects(changed)
            await cluster.apply(objects, is_new=False)
            if not fresh.is_starting:  # nobody waits for it
                seconds = self._settings.provisioning.progress_interval
                await cluster.wait_until_ready(namespace, workloads_of(objects), timeout=seconds)
                await cluster.open_route(await self._route(changed), timeout=seconds)
            elif not await self._is_noted(stored):
                running = False  # it may have become active just now, without a route
        raise Transient(f"tenant {changed.slug} is changing too fast")

    async def _undo_in_time[T](self, changed: Tenant, undo: Callable[[], Awaitable[T]]) -> T:
        """Undo a late change in time of its own, and return the result.

        The change may be late because the worker stalled or a webhook did not answer: then the activity's own time is
        over. And if the operation has ended, no later call undoes it. So it is tried again here for a while.

        Args:
            changed: The tenant whose instance was changed, as it was then.
            undo: One attempt, which looks at the record first.
        """
        with fresh_time_budget(UNDO_SECONDS):
            while True:
                try:
                    with time_budget(UNDO_ATTEMPT_SECONDS):
                        return await undo()
                except BerthError as error:
                    if await self._goes_on(changed):
                        raise
                    if not isinstance(error, (Transient, Forbidden, Conflict)) or time_left() <= PAUSE_SECONDS:
                        log_event(
                            logger,
                            "late change not undone",
                            level=logging.ERROR,
                            instance=changed.instance,
                            cluster=changed.cluster,
                            cause=str(error),
                        )
                        raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _goes_on(self, changed: Tenant) -> bool:
        """Whether a tenant's operation does what it did when it changed the instance: then its next call settles it."""
        try:
            fresh = (await self._tenants.get(changed.slug)).value
        except BerthError:
            return False  # nobody knows
        before, now = changed.operation, fresh.operation
        is_same = (now.id, now.is_aborting, fresh.instance) == (before.id, before.is_aborting, changed.instance)
        return is_same and now.is_open

    async def _is_noted(self, tenant: Stored[Tenant]) -> bool:
        """Whether a tenant that is starting is told that its pods were started anew and that its route was deleted.

        It is not if it has changed meanwhile. Else whoever found it ready before gets a conflict, and waits again.
        """
        operation = tenant.value.operation.with_message("starting the workload again", self._clock.now())
        try:
            await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
        except Conflict:
            return False
        return True

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
        await save_transition(
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
                await self._admission.put_to_sleep(tenant, workflows)
            await self._latency.record(tenant)
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
                    return Outcome(Verdict.FAILED, f"{too_long}: {error}")
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
