"""Removing a cluster from berth: its registration goes, once no tenant and no namespace of berth's is left on it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.tenants import TenantFilter, TenantRepository
from shared.domain.clusters import Cluster, ClusterName, ClusterState
from shared.domain.instances import namespace_name
from shared.domain.operations import age, slug_of
from shared.domain.placement import Reservation
from shared.domain.reconciliation import MIN_AGE_SECONDS
from shared.errors import BerthError, Conflict, Forbidden, NotFound, Unauthenticated
from shared.events import log_event
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against changes of the same registration
LOOK_SECONDS = 10.0  # for what is left on the cluster
COUNTED = 999  # tenants that are counted: a page reads one row more, to know whether it is the last
NAMED = 5  # tenants, namespaces or volumes that are named
RIGHTS = "give berth its rights back (infra/kubernetes), or stop the cluster"


class RemoveCluster:
    """Removes registrations. The cluster itself is not touched: its operators delete it, or keep it.

    No signup comes after the check. The cluster is cordoned before its reservations are counted, and a signup reserves
    before it looks whether the cluster still takes tenants (`Admission`): so it is counted here, or goes elsewhere.
    """

    def __init__(
        self,
        *,
        clusters: ClusterRepository,
        tenants: TenantRepository,
        reservations: ReservationRepository,
        connections: ClusterConnections,
        clock: Clock,
    ) -> None:
        self._clusters = clusters
        self._tenants = tenants
        self._reservations = reservations
        self._connections = connections
        self._clock = clock

    async def remove(self, name: ClusterName, *, actor: str) -> Cluster:
        """Remove a cluster's registration, and return it as it was. The log names the `actor`.

        Raises:
            NotFound: No such cluster is registered.
            Conflict: It takes new tenants, has a tenant or a reservation, or a namespace of berth's is left on it, or
                may be; or others change it all the time.
            Transient: Its API server does not accept berth's own identity now.
        """
        for _ in range(MAX_TRIES):
            stored = await self._clusters.get(name)
            cluster = stored.value
            if cluster.state is not ClusterState.CORDONED:
                raise _refusal(name, "it takes new tenants; cordon it first")
            await self._ensure_unused(cluster)
            volumes = await self._ensure_empty(cluster)
            try:
                await self._clusters.remove(stored)
            except Conflict:  # changed since it was read, and perhaps opened
                continue
            record(metrics.BREAKER_OPEN, 0.0, cluster=name)  # nobody checks it any more
            log_event(logger, "cluster removed", cluster=name, uid=cluster.uid, actor=actor)
            if volumes:
                log_event(logger, "volumes left", level=logging.WARNING, cluster=name, volumes=_some(volumes))
            return cluster
        raise Conflict(f"cluster {name} is changing too fast; send the request again")

    async def _ensure_unused(self, cluster: Cluster) -> None:
        """Return if no tenant is on a cluster, in whichever state, and nothing is reserved; raises Conflict."""
        page = await self._tenants.list(TenantFilter(cluster=cluster.name), limit=COUNTED, token="")
        if page.items:
            counted = f"the first {COUNTED}: " if page.next_token else ""
            states = Counter(each.state.value for each in page.items)
            by_state = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
            slugs = _some([each.slug for each in page.items])
            raise _refusal(
                cluster.name,
                f"it has tenants ({counted}{by_state}): {slugs}. Delete them; if the cluster is gone, forget them",
            )
        reserved = await self._reserved(cluster) if cluster.is_in_use else ()
        if reserved:
            slugs = _some([slug_of(each.operation_id) for each in reserved])
            raise _refusal(
                cluster.name,
                f"it has reservations without a tenant ({len(reserved)}), made for {slugs}: a signup is under way, or "
                "something broke off. Send the request again in two minutes, and if that does not help, in an hour: it "
                "releases what is that old",
            )

    async def _reserved(self, cluster: Cluster) -> Sequence[Reservation]:
        """Return a cluster's reservations, after releasing those of no tenant that nobody else may ever release.

        Reconciliation does so, but not on a cluster that does not respond, or refuses. Slot repair takes care of those
        that are pending.
        """
        left: list[Reservation] = []
        for each in await self._reservations.all(cluster.name):
            is_old = age(each.since, self._clock.now()) >= MIN_AGE_SECONDS
            if each.state.is_pending or not is_old or await self._has_tenant(cluster, each):
                left.append(each)
                continue
            await self._reservations.release(cluster.name, each.instance, unless_changed=each)
            fields = {"cluster": cluster.name, "operation": each.operation_id, "instance": each.instance}
            log_event(logger, "reservation released: it is of no tenant", level=logging.WARNING, **fields)
        return left

    async def _has_tenant(self, cluster: Cluster, reservation: Reservation) -> bool:
        """Whether a reservation's tenant is there, also one that lists skip because this version cannot read it."""
        try:
            tenant = (await self._tenants.get(slug_of(reservation.operation_id))).value
        except NotFound:
            return False
        return tenant.is_on(cluster.name, reservation.instance)

    async def _ensure_empty(self, cluster: Cluster) -> Sequence[str]:
        """Return if no namespace of removed instances is left on a cluster, or it does not respond; raises Conflict.

        Returns the volumes that are left: they may be another berth's, so they are in nobody's way.
        """
        connection = await self._connections.connect(cluster.name)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                namespaces = [namespace_name(each.instance) for each in await connection.tenant_namespaces()]
                volumes = [each.name for each in await connection.left_volumes()]
        except Unauthenticated as error:  # it may be berth's own trouble, which says nothing of the cluster
            raise Unauthenticated(f"cluster {cluster.name} is not removed: {error}. If that lasts, {RIGHTS}") from error
        except (TimeoutError, BerthError) as error:
            if cluster.breaker is not None:  # nobody can find out, or do anything there
                return ()
            cause = str(error) or f"no response within {LOOK_SECONDS:g} s"
            # A cluster that refuses responds, so its breaker never opens.
            gone = "if the cluster is gone, send the request again in two minutes, when its breaker is open"
            advice = RIGHTS if isinstance(error, Forbidden) else gone
            raise _refusal(cluster.name, f"what is left on it cannot be read: {cause}; {advice}") from error
        if namespaces:
            raise _refusal(
                cluster.name,
                f"namespaces of removed instances are left on it ({len(namespaces)}): {_some(namespaces)}. "
                "Reconciliation removes them within two hours, unless repairs are off; wait for that, or delete them",
            )
        return volumes


def _refusal(name: ClusterName, why: str) -> Conflict:
    return Conflict(f"cluster {name} is not removed: {why}")


def _some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(sorted(names)[:NAMED])}{more}"
