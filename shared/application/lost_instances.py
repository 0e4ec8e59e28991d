"""Lost instances: notices that somebody removed a tenant's namespace, or restored it, and records that."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.saved_changes import save_change
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
RETRY = "retry the tenant, to provision it anew without its data: what is restored after that is removed as an orphan"


class LostInstances:
    """Records which tenants have lost their instance: a timer's work, every minute, of one worker at a time."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        records: ReconciliationRepository,
        connections: ClusterConnections,
        clock: Clock,
        settings: ReconciliationSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._records = records
        self._connections = connections
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Read which namespaces were removed since the last run, and record it on their tenants.

        What happened while nobody read it, because the app or a cluster was down for minutes, is found by
        reconciliation. Raises Transient when the tables do not respond; the next run tries again.
        """
        names = [each.name for each in await self._clusters.registered() if each.breaker is None]
        await asyncio.gather(*(self._run(name) for name in names))

    async def _run(self, cluster: ClusterName) -> None:
        try:
            position = await self._records.position(cluster)
            connection = await self._connections.connect(cluster)
            removed = await connection.removed_namespaces(position)
            if position and not removed.is_complete:
                log_event(logger, "removals not read: too long ago", level=logging.WARNING, cluster=cluster)
            await self.record(cluster, [(each.slug, each.instance) for each in removed.found if each.slug])
            if removed.position != position:
                await self._records.save_position(cluster, removed.position)
        except BerthError as error:  # the next run continues at the same position
            log_event(logger, "removals not read", level=logging.WARNING, cluster=cluster, cause=str(error))

    async def record(self, cluster: ClusterName, removed: Sequence[tuple[Slug, InstanceId]]) -> None:
        """Let each tenant fail, active or asleep, whose instance is really gone.

        It keeps the instance and the reservation, so that the namespace can be restored. If they are too many, or the
        setting forbids repairs, it is only shown on them.

        Args:
            cluster: Where the instances were.
            removed: The tenants and instances that seem to be gone.
        """
        connection = await self._connections.connect(cluster)
        lost: list[Stored[Tenant]] = []
        for slug, instance in removed:
            tenant = await self._tenant(slug, cluster, instance)
            if tenant is None or tenant.value.operation.is_open or not tenant.value.state.has_instance:
                continue
            if not await connection.has_namespace(namespace_name(instance)):
                lost.append(tenant)
        are_few = len(lost) <= MAX_REPAIRS
        can_fail = self._settings.repair and are_few
        if not are_few:
            log_event(logger, "too many instances lost", level=logging.ERROR, cluster=cluster, count=len(lost))
        for tenant in lost:
            before = tenant.value
            message = (
                f"somebody removed the namespace {namespace_name(before.instance)}, and the data with it: "
                "restore the namespace from a backup, or "
                f"{'' if can_fail else 'let an operator forget the tenant, and then '}{RETRY}"
            )
            is_known = before.observed is not None and before.observed.message == message
            if are_few and not is_known:  # what is only shown is found again every hour
                log_event(logger, "instance lost", level=logging.ERROR, tenant=before.slug, cluster=cluster)
            now = self._clock.now()
            try:
                if can_fail:
                    await self._save(tenant, before.lose_instance(now, message), message, "lose instance")
                else:
                    observed = Observed(ready=False, message=message, at=now)
                    await self._tenants.save(tenant.with_value(replace(before, observed=observed)))
            except Conflict:  # an operation began on it, which will find out by itself
                log_event(logger, "lost instance not recorded", tenant=tenant.value.slug)

    async def find_again(self, cluster: ClusterName, found: Sequence[tuple[Slug, InstanceId]]) -> None:
        """Let each tenant that had lost its instance be what it was before, if somebody has restored the namespace.

        Args:
            cluster: Where the instances are.
            found: The tenants and instances that seem to be there again.
        """
        connection = await self._connections.connect(cluster)
        for slug, instance in found:
            namespace = namespace_name(instance)
            tenant = await self._tenant(slug, cluster, instance)
            if tenant is None or not tenant.value.has_lost_instance or not await connection.has_namespace(namespace):
                continue
            message = f"the namespace {namespace} was restored; what is in it was not checked"
            restored = tenant.value.find_instance_again(self._clock.now(), message)
            with suppress(Conflict):  # it was retried or deleted just now
                await self._save(tenant, restored, message, "find instance again")

    async def _tenant(self, slug: Slug, cluster: ClusterName, instance: InstanceId) -> Stored[Tenant] | None:
        """Return the tenant of an instance, or None if it has another one."""
        try:
            stored = await self._tenants.get(slug)
        except (NotFound, Permanent):  # gone, or a row that this version cannot read
            return None
        return stored if stored.value.is_on(cluster, instance) else None

    async def _save(self, tenant: Stored[Tenant], changed: Tenant, reason: str, action: str) -> None:
        await save_change(
            self._tenants,
            tenant.with_value(changed),
            before=tenant.value.state,
            reason=reason,
            actor=ACTOR,
            action=action,
        )
