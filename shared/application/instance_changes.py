"""What is done to the instance of a tenant, and undone if the tenant's record says otherwise by then.

Whoever changes an instance, an activity or reconciliation, looks at the record after the change, never only before it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository, KubernetesCluster, Manifest, TenantTemplates
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.domain.instances import namespace_name
from shared.domain.pod_status import PodStatus
from shared.domain.routes import with_route
from shared.domain.tenants import Tenant
from shared.domain.workloads import Replicas, Workload, with_replicas
from shared.errors import BerthError, Conflict, Forbidden, Transient
from shared.events import log_event
from shared.settings import ProvisioningSettings
from shared.time_budget import fresh_time_budget, time_budget, time_left

logger = logging.getLogger(__name__)

REMOVE_TIMEOUT = 9.0  # seconds of one attempt to remove; then what is left is reported, and it is tried again
UNDO_SECONDS = 60.0  # in which a late change is to be undone
UNDO_ATTEMPT_SECONDS = 15.0  # of one attempt: an apply, and two waits of the default progress interval
UNDO_PAUSE_SECONDS = 1.0  # between two attempts
MAX_SETTLES = 5  # times that the record may change while it is followed


class InstanceChanges:
    """Starts and stops instances, and lets them follow their tenants' records."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        templates: TenantTemplates,
        clock: Clock,
        settings: ProvisioningSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._templates = templates
        self._clock = clock
        self._settings = settings

    async def objects(self, tenant: Tenant) -> Sequence[Manifest]:
        """Return a tenant's objects, with the replicas that it had before it was put to sleep.

        Raises Transient if the seed of its secret is not set here.
        """
        registration = await self._clusters.registration(tenant.cluster)
        return with_replicas(self._templates.render(tenant, registration), tenant.replicas)

    async def workloads(self, tenant: Tenant) -> Sequence[Workload]:
        """Return a tenant's workloads, with the replicas that it had before it was put to sleep."""
        return self._templates.workloads(tenant, await self._clusters.registration(tenant.cluster))

    async def route(self, tenant: Tenant) -> Manifest:
        """Return a tenant's route."""
        return self._templates.route(tenant, await self._clusters.registration(tenant.cluster))

    def seed_id(self, *, is_new: bool) -> str:
        """Return the id of the seed of a new instance's secret, or of an instance that is older than the record."""
        return self._templates.seed_id(is_new=is_new)

    async def replicas(self, tenant: Tenant, cluster: KubernetesCluster) -> Replicas:
        """Return how many pods each workload is to have and is set to have.

        Raises NotFound when somebody removed the namespace.
        """
        planned = {each.name: each.replicas for each in await self.workloads(tenant)}
        return Replicas(planned, await cluster.replicas(namespace_name(tenant.instance)))

    async def apply_again(self, tenant: Tenant, cluster: KubernetesCluster) -> None:
        """Start the pods of an instance that is there; without the seed of its secret, that is left as it is there."""
        registration = await self._clusters.registration(tenant.cluster)
        objects = self._templates.render(tenant, registration, is_whole=False)
        await cluster.apply(with_replicas(objects, tenant.replicas), is_new=False)

    async def start(self, tenant: Tenant, cluster: KubernetesCluster) -> PodStatus:
        """Start the pods of an instance that is there, wait a moment for them, and open the route all the same."""
        await self.apply_again(tenant, cluster)
        return await self.open(tenant, cluster)

    async def open(self, tenant: Tenant, cluster: KubernetesCluster) -> PodStatus:
        """Wait a moment for an instance's pods, and open its route all the same; return what became of both."""
        namespace, seconds = namespace_name(tenant.instance), self._settings.progress_interval
        status = await cluster.wait_until_ready(namespace, await self.workloads(tenant), timeout=seconds)
        route = await cluster.open_route(await self.route(tenant), timeout=seconds)
        return with_route(status, route) if status.ready else status

    async def stop(self, tenant: Tenant, cluster: KubernetesCluster) -> str:
        """Stop the pods of an instance, and return what is left of them after a while, in words.

        Raises NotFound when somebody removed the namespace.
        """
        namespace = namespace_name(tenant.instance)
        await self._begin_to_stop(namespace, cluster)
        return await cluster.wait_until_stopped(namespace, timeout=self._settings.progress_interval)

    async def settle(self, changed: Tenant, cluster: KubernetesCluster, *, running: bool) -> Tenant:
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

    async def close_unless_running(self, opened: Tenant, cluster: KubernetesCluster) -> None:
        """Delete the route that may just have been applied if by now the tenant's instance may not run any more.

        Whoever ended or turned round its operation may have deleted the route before it was applied.
        """

        async def close() -> None:
            fresh = (await self._tenants.get(opened.slug)).value
            if not fresh.may_run(opened.instance):
                log_event(logger, "late route deleted", cluster=opened.cluster)
                await cluster.close_route(namespace_name(opened.instance))

        await self._undo_in_time(opened, close)

    async def _begin_to_stop(self, namespace: str, cluster: KubernetesCluster) -> None:
        await cluster.close_route(namespace)  # first, so that no visitor gets an error of the gateway
        await cluster.stop(namespace)

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
                await self._begin_to_stop(namespace, cluster)
            elif not fresh.is_starting:  # nobody waits for it
                await self.start(changed, cluster)
            else:
                await self.apply_again(changed, cluster)
                if not await self._is_noted(stored):
                    running = False  # it may have become active just now, without a route
        raise Transient(f"tenant {changed.slug} is changing too fast")

    async def _undo_in_time[T](self, changed: Tenant, undo: Callable[[], Awaitable[T]]) -> T:
        """Undo a late change in time of its own, and return the result.

        The change may be late because the worker stalled or a webhook did not answer: then the time for it is over. And
        if the operation has ended, no later call undoes it. So it is tried again here for a while.

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
                    if not isinstance(error, (Transient, Forbidden, Conflict)) or time_left() <= UNDO_PAUSE_SECONDS:
                        log_event(
                            logger,
                            "late change not undone",
                            level=logging.WARNING,
                            instance=changed.instance,
                            cluster=changed.cluster,
                            cause=str(error),
                        )
                        raise
                await asyncio.sleep(UNDO_PAUSE_SECONDS)

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
