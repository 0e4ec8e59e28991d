"""Instance repair: lets the pods and the route of a tenant at rest be as its state asks, when reconciliation says so.

A worker can stop for good between a change that came late and its undoing. The repair is what the activities do to undo
one, in the same order: change, then look at the record again.
"""

from contextlib import suppress
from dataclasses import replace

from shared.application.instance_changes import InstanceChanges
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, KubernetesCluster
from shared.application.ports.tenants import TenantRepository
from shared.domain.lifecycle import TenantState
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import Finding, FindingKind, is_settled
from shared.domain.tenants import Observed, Tenant, observed_asleep
from shared.errors import Conflict, NotFound
from shared.time_budget import time_budget

GONE = "its pods and its route are as they have to be again; whether it is ready was not checked"


class InstanceRepair:
    """Repairs what runs, or does not, against a tenant's state, and shows it on the tenant as observed."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        connections: ClusterConnections,
        changes: InstanceChanges,
        clock: Clock,
        seconds: float,
    ) -> None:
        self._tenants = tenants
        self._connections = connections
        self._changes = changes
        self._clock = clock
        self._seconds = seconds

    async def is_needed(self, kind: FindingKind, tenant: Tenant) -> bool:
        """Whether a tenant is at rest in the state that a finding is about.

        For pods that are stopped, the cluster is asked again: an apply of what runs could change it. Opening a route
        that is there, or stopping what is stopped, changes nothing.
        """
        if not is_settled(tenant, self._clock.now()):
            return False
        if kind is FindingKind.RUNNING:
            return tenant.state is TenantState.HIBERNATED
        return tenant.state is TenantState.ACTIVE and (kind is FindingKind.ROUTE or await self._is_stopped(tenant))

    async def repair(self, finding: Finding, tenant: Tenant) -> None:
        """Start or stop a tenant's pods, or open its route, and undo that if its record says otherwise by then."""
        cluster = await self._connections.connect(tenant.cluster)
        match finding.kind:
            case FindingKind.RUNNING:
                observed = await self._stop(tenant, cluster)
            case FindingKind.ROUTE:
                observed = await self._open(tenant, cluster)
            case _:
                observed = await self._start(tenant, cluster)
        await self._observe(finding, observed)

    async def show(self, finding: Finding) -> None:
        """Show a finding on its tenant."""
        await self._observe(finding, Observed(ready=False, message=finding.text, at=self._clock.now()))

    async def show_gone(self, finding: Finding) -> None:
        """Show on a finding's tenant that it is gone without berth, unless something else was observed since."""
        observed = Observed(ready=False, message=GONE, at=self._clock.now())
        await self._observe(finding, observed, instead_of=finding.text)

    async def _start(self, tenant: Tenant, cluster: KubernetesCluster) -> Observed:
        """Start the pods of a tenant again; workloads that run keep their number of pods."""
        tenant = replace(tenant, replicas=(await self._changes.replicas(tenant, cluster)).wanted)
        try:
            with time_budget(self._seconds):
                return _observed(await self._changes.start(tenant, cluster))
        finally:  # some of it may have been applied, also when the run ends here
            await self._changes.settle(tenant, cluster, running=True)

    async def _stop(self, tenant: Tenant, cluster: KubernetesCluster) -> Observed:
        try:
            with time_budget(self._seconds):
                left = await self._changes.stop(tenant, cluster)
        finally:
            await self._changes.settle(tenant, cluster, running=False)
        now = self._clock.now()
        return Observed(ready=False, message=left, at=now) if left else observed_asleep(now)

    async def _open(self, tenant: Tenant, cluster: KubernetesCluster) -> Observed:
        try:
            with time_budget(self._seconds):
                return _observed(await self._changes.open(tenant, cluster))
        finally:
            await self._changes.close_unless_running(tenant, cluster)

    async def _is_stopped(self, tenant: Tenant) -> bool:
        cluster = await self._connections.connect(tenant.cluster)
        with suppress(NotFound):  # without a namespace it is a lost instance
            return (await self._changes.replicas(tenant, cluster)).is_stopped
        return False

    async def _observe(self, finding: Finding, observed: Observed, *, instead_of: str = "") -> None:
        """Record what was observed of a finding's tenant, unless something began on it meanwhile."""
        stored = await self._tenants.get(finding.slug)
        tenant = stored.value
        shown = tenant.observed.message if tenant.observed else ""
        if tenant.instance != finding.instance or tenant.operation.is_open or (instead_of and shown != instead_of):
            return
        with suppress(Conflict):
            await self._tenants.save(stored.with_value(replace(tenant, observed=observed)))


def _observed(status: PodStatus) -> Observed:
    return Observed(status.ready, status.message, status.at)
