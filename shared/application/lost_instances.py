"""Lost instances: notices within a minute that somebody removed a tenant's namespace, and records it."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from shared.application.admission import Admission
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.transitions import save_transition
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.reconciliation import MAX_REPAIRS
from shared.domain.slugs import Slug
from shared.domain.tenants import Observed, Tenant
from shared.errors import BerthError, Conflict, NotFound, Permanent
from shared.events import log_event
from shared.settings import ReconciliationSettings

logger = logging.getLogger(__name__)

ACTOR = "berth"


class LostInstances:
    """Records which tenants have lost their instance: a timer's work, every minute, of one worker at a time."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        records: ReconciliationRepository,
        connections: ClusterConnections,
        admission: Admission,
        clock: Clock,
        settings: ReconciliationSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._records = records
        self._connections = connections
        self._admission = admission
        self._clock = clock
        self._settings = settings

    async def run(self, workflows: Workflows) -> None:
        """Read which namespaces were removed since the last run, and record it on their tenants.

        What happened while nobody read it, because the app or a cluster was down for minutes, is found by
        reconciliation. Raises Transient when the tables do not respond; the next run tries again.
        """
        names = [each.name for each in await self._clusters.registered() if each.breaker is None]
        await asyncio.gather(*(self._run(name, workflows) for name in names))

    async def _run(self, cluster: ClusterName, workflows: Workflows) -> None:
        try:
            position = await self._records.position(cluster)
            connection = await self._connections.connect(cluster)
            removed = await connection.removed_namespaces(position)
            if position and not removed.is_complete:
                log_event(logger, "removals not read: too long ago", level=logging.WARNING, cluster=cluster)
            await self.record(cluster, [(each.slug, each.instance) for each in removed.found if each.slug], workflows)
            if removed.position != position:
                await self._records.save_position(cluster, removed.position)
        except BerthError as error:  # the next run continues at the same position
            log_event(logger, "removals not read", level=logging.WARNING, cluster=cluster, cause=str(error))

    async def record(
        self, cluster: ClusterName, removed: Sequence[tuple[Slug, InstanceId]], workflows: Workflows
    ) -> None:
        """Let each tenant fail, active or asleep, whose instance is really gone, and release its reservation.

        If they are too many, or the setting forbids repairs, it is only shown on them.

        Args:
            cluster: Where the instances were.
            removed: The tenants and instances that seem to be gone.
            workflows: Where the operations are started that get a slot.
        """
        connection = await self._connections.connect(cluster)
        lost: list[Stored[Tenant]] = []
        for slug, instance in removed:
            tenant = await self._settled(slug, cluster, instance)
            if tenant is not None and not await connection.has_namespace(namespace_name(instance)):
                lost.append(tenant)
        if len(lost) > MAX_REPAIRS:
            log_event(logger, "too many instances lost", level=logging.ERROR, cluster=cluster, count=len(lost))
        for tenant in lost:
            message = (
                f"somebody removed the namespace {namespace_name(tenant.value.instance)}, and the data with it: "
                "retry the tenant to provision it anew, without its data"
            )
            try:
                if self._settings.repair and len(lost) <= MAX_REPAIRS:
                    await self._fail(tenant, message, workflows)
                else:
                    observed = Observed(ready=False, message=message, at=self._clock.now())
                    await self._tenants.save(tenant.with_value(replace(tenant.value, observed=observed)))
            except Conflict:  # an operation began on it, which will find out by itself
                log_event(logger, "lost instance not recorded", tenant=tenant.value.slug)

    async def _settled(self, slug: Slug, cluster: ClusterName, instance: InstanceId) -> Stored[Tenant] | None:
        """Return the tenant of an instance if it is active or asleep, and nothing changes it."""
        try:
            stored = await self._tenants.get(slug)
        except (NotFound, Permanent):  # gone, or a row that this version cannot read
            return None
        tenant = stored.value
        settled = tenant.state.has_instance and not tenant.operation.is_open
        return stored if settled and tenant.is_on(cluster, instance) else None

    async def _fail(self, tenant: Stored[Tenant], message: str, workflows: Workflows) -> None:
        before = tenant.value
        lost = tenant.with_value(before.lose_instance(self._clock.now(), message))
        log_event(logger, "instance lost", level=logging.ERROR, tenant=before.slug, cluster=before.cluster)
        await save_transition(
            self._tenants, lost, before=before.state, reason=message, actor=ACTOR, action="lose instance"
        )
        await self._admission.release(before.cluster, before.instance, workflows)
