"""Forgetting: end what berth does with an instance that it can neither reach nor remove."""

from datetime import datetime, timedelta

from shared.application.admission import Admission
from shared.application.breakers import Breakers
from shared.application.idempotent_start import Caller
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.record_end import record_operation_end
from shared.application.saved_changes import save_change
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.operations import age
from shared.domain.reconciliation import first_seen, forgotten
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict, NotFound
from shared.settings import TenantSettings

MIN_SILENCE_SECONDS = 600.0  # of a cluster, before what is on it may be forgotten
MAX_TRIES = 10  # against the writes of the operation's own progress


class Forget:
    """Takes requests to forget: an operator's last resort, when a cluster will not come back or refuses for ever.

    What is left on the cluster is of no tenant then, and reconciliation removes it once that is possible.
    """

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        findings: ReconciliationRepository,
        latency: LatencyRepository,
        connections: ClusterConnections,
        admission: Admission,
        breakers: Breakers,
        clock: Clock,
        settings: TenantSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._findings = findings
        self._latency = latency
        self._connections = connections
        self._admission = admission
        self._breakers = breakers
        self._clock = clock
        self._settings = settings

    async def forget(self, slug: Slug, reason: str, caller: Caller, workflows: Workflows) -> Tenant:
        """End a tenant's open operation, free its reservation, and return the tenant, which has no instance then.

        Asking again is safe.

        Args:
            slug: The tenant.
            reason: Why, in the operator's words, for the audit trail.
            caller: Who asks.
            workflows: Where the operation is started that gets the slot.

        An instance that is being removed may be forgotten at any time. Any other may hold data: only if its cluster has
        not responded for `MIN_SILENCE_SECONDS`, or if its namespace is gone.

        Raises:
            NotFound: There is no such tenant.
            Conflict: Its cluster responds, so that it can be cancelled or deleted, or has not been silent for so long.
            Transient: berth cannot tell whether the cluster responds.
        """
        for _ in range(MAX_TRIES):
            stored = await self._tenants.get(slug)
            tenant = stored.value
            operation = tenant.operation
            if not tenant.instance and not operation.is_open:
                # An earlier request may have stopped before this.
                await self._release(operation.cluster, operation.instance, workflows)
                await record_operation_end(self._latency, tenant, now=self._clock.now())
                return tenant
            if not tenant.is_done_with(tenant.instance):
                await self._ensure_lost(tenant)
            now, left = self._clock.now(), _left(tenant)
            if tenant.instance:  # before its record is gone: an instance that has a tenant is never removed
                found = forgotten(tenant.cluster, tenant.instance, slug)
                await self._findings.save([first_seen(found, now)])
            after = tenant.forget(
                now,
                f"forgotten by an operator: {left}",
                quarantine=timedelta(days=self._settings.quarantine_days),
            )
            try:
                await save_change(
                    self._tenants,
                    stored.with_value(after),
                    before=tenant.state,
                    reason=left,
                    actor=caller.actor,
                    action="forget",
                    note=reason,
                    ends_operation=operation.is_open,
                )
            except Conflict:
                continue
            await self._release(tenant.cluster, tenant.instance, workflows)
            if operation.is_open:
                await record_operation_end(self._latency, after, now=self._clock.now())
            return after
        raise Conflict(f"{slug} is changing too fast to be forgotten; send the request again")

    async def _ensure_lost(self, tenant: Tenant) -> None:
        """Return if nothing can be done for an instance any more, or nothing is left of it; raises Conflict."""
        slug, name = tenant.slug, tenant.cluster
        try:
            breaker = (await self._clusters.get(name)).value.breaker
            responds = await self._breakers.responds(name)
        except NotFound:  # no such cluster is registered
            return
        if responds:
            if not tenant.operation.is_open and not await self._has_namespace(tenant):
                return
            action = "cancel its operation" if tenant.operation.is_open else "delete the tenant"
            raise Conflict(
                f"{slug} is not forgotten: its cluster {name} responds, so {action} instead; "
                "if that does not end, forget it then"
            )
        if breaker is None:
            raise Conflict(
                f"{slug} is not forgotten: its cluster {name} does not respond at this moment, which may pass. If that "
                "lasts, its breaker opens after two checks in a row, and 10 minutes later the tenant can be forgotten"
            )
        since = breaker.since
        if age(since, self._clock.now()) < MIN_SILENCE_SECONDS:
            again = since + timedelta(seconds=MIN_SILENCE_SECONDS)
            raise Conflict(
                f"{slug} is not forgotten: its cluster {name} has not responded since {_time(since)}, which may pass; "
                f"ask again at {_time(again)}, because its data is removed if the cluster returns after that"
            )

    async def _has_namespace(self, tenant: Tenant) -> bool:
        connection = await self._connections.connect(tenant.cluster)
        return await connection.has_namespace(namespace_name(tenant.instance))

    async def _release(self, cluster: ClusterName, instance: InstanceId, workflows: Workflows) -> None:
        if cluster and instance:
            await self._admission.release(cluster, instance, workflows)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _left(tenant: Tenant) -> str:
    """Return what may be left on the tenant's cluster, in words."""
    if not tenant.instance:
        return "nothing is left of it"
    namespace = namespace_name(tenant.instance)
    return f"the namespace {namespace} and its volume may be left on {tenant.cluster} until reconciliation removes them"
