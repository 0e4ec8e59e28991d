"""What all activities share: reading the open operation's tenant, ending the operation, errors as outcomes."""

import contextlib
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import final

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.transitions import save_transition
from shared.domain.lifecycle import TenantState
from shared.domain.tenants import Tenant
from shared.domain.workflow import Outcome, Verdict, Work
from shared.errors import BerthError, Conflict, NoRoom, NotFound, Permanent, Transient
from shared.events import log_context, log_event
from shared.settings import Settings

logger = logging.getLogger(__name__)

DONE = Outcome(Verdict.DONE)
ENDED = Outcome(Verdict.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPorts:
    """What every activity needs."""

    tenants: TenantRepository
    clusters: ClusterRepository
    latency: LatencyRepository
    connections: ClusterConnections
    clock: Clock
    settings: Settings


class OperationActivity(ABC):
    """One activity of an operation."""

    def __init__(self, ports: ActivityPorts) -> None:
        self._tenants = ports.tenants
        self._clusters = ports.clusters
        self._latency = ports.latency
        self._connections = ports.connections
        self._clock = ports.clock
        self._settings = ports.settings

    @final
    async def run(self, work: Work) -> Outcome:
        """Do the work and return its outcome; an expected error is an outcome too."""
        with log_context(tenant=work.slug, operation=work.operation_id):
            try:
                return await self._run(work)
            except Transient as error:
                log_event(logger, "activity held up", cause=str(error))
                await self._record_message(work, str(error))
                return Outcome(Verdict.RETRY, str(error), error.retry_after or 1.0)
            except (NoRoom, Permanent, NotFound) as error:
                log_event(logger, "activity failed", level=logging.WARNING, cause=str(error))
                return Outcome(Verdict.FAILED, str(error))
            except Conflict:
                return Outcome(Verdict.RETRY)  # somebody changed the tenant: read it again

    @abstractmethod
    async def _run(self, work: Work) -> Outcome:
        """Do the work; `run` maps the errors that it raises to outcomes."""

    async def _open_tenant(self, work: Work) -> Stored[Tenant] | None:
        """Return the tenant if this operation is the one that is open on it."""
        try:
            tenant = await self._tenants.get(work.slug)
        except NotFound:
            return None
        operation = tenant.value.operation
        if operation.id != work.operation_id:
            return None
        if not operation.is_open:
            await self._after_end(tenant.value)  # the call that ended it may have stopped before this
            return None
        return tenant

    async def _succeed(self, tenant: Stored[Tenant], *, reason: str) -> None:
        quarantine = timedelta(days=self._settings.tenants.quarantine_days)
        await self._end(tenant, tenant.value.succeed(self._clock.now(), quarantine=quarantine), reason)

    async def _end(self, tenant: Stored[Tenant], ended: Tenant, reason: str) -> None:
        before = tenant.value
        await save_transition(
            self._tenants,
            tenant.with_value(ended),
            before=before.state,
            reason=reason,
            actor=before.operation.actor,  # which a tombstone forgets
        )
        await self._after_end(ended)

    async def _after_end(self, tenant: Tenant) -> None:
        """Do what follows from an operation's end; doing it again changes nothing."""
        await self._latency.record(tenant)
        if tenant.state is TenantState.ACTIVE:
            await self._clusters.release_slot(tenant.cluster, tenant.instance)

    async def _record_message(self, work: Work, message: str) -> None:
        """Record why an operation waits, which is a heartbeat too; does nothing if that fails as well."""
        with contextlib.suppress(BerthError):
            tenant = await self._open_tenant(work)
            if tenant is not None:
                operation = tenant.value.operation.with_message(message, self._clock.now())
                await self._tenants.save(tenant.with_value(replace(tenant.value, operation=operation)))
