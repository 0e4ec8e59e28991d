"""What operators do with clusters: register them, and change a registration."""

import asyncio
import logging
from dataclasses import dataclass, replace

from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.stored import Stored
from shared.domain.clusters import (
    Cluster,
    ClusterAccess,
    ClusterName,
    ClusterState,
    GatewayRef,
    KubeconfigAccess,
    Probe,
)
from shared.errors import BerthError, Conflict, Invalid, NotFound, Unfit, WrongRegistration
from shared.events import log_event

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against other operators' changes of the same cluster
PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Registration:
    """A cluster as an operator describes it; without a state it keeps the one it has, and a new one is open."""

    name: ClusterName
    region: str
    capacity: int
    state: ClusterState | None
    access: ClusterAccess
    domain: str
    gateway: GatewayRef
    max_instances: int | None = None


class ClusterRegistry:
    """Registers clusters, and changes registrations so that no operator undoes what another one does meanwhile."""

    def __init__(self, clusters: ClusterRepository, connections: ClusterConnections) -> None:
        self._clusters = clusters
        self._connections = connections

    async def register(self, registration: Registration) -> tuple[Cluster, tuple[str, ...]]:
        """Probe a cluster, and register it or replace its registration; return it and what its operator should know.

        What a cluster lacks keeps it from being registered. It does not keep one that is registered with the same
        access, domain and gateway from being changed, since it has its tenants already and its operators may have to
        cordon it: then it is returned, like everything else that is no hindrance. `change` does not even ask the
        cluster.

        Raises:
            Invalid: It must not or cannot be reached that way.
            Unfit: It does not respond, or lacks something.
            Conflict: It has tenants, and is not known to be the cluster that they are on; or it is registered under
                another name; or others change it all the time.
        """
        name = registration.name
        found = await self._probe(registration)
        missing = [("/access", each) for each in found.missing]
        missing += [("/gateway", each) for each in found.gateway_problems]
        for _ in range(MAX_TRIES):
            try:
                stored = await self._clusters.get(name)
            except NotFound:
                before, etag = None, ""
            else:
                before, etag = stored.value, stored.etag
            if missing and (before is None or not _is_used_as(before, registration)):
                raise Unfit(f"cluster {name} was not registered", *missing)
            after = Cluster(
                name=name,
                region=registration.region,
                capacity=registration.capacity,
                max_instances=registration.max_instances,
                state=registration.state or (before.state if before else ClusterState.OPEN),
                access=registration.access,
                domain=registration.domain,
                gateway=registration.gateway,
                uid=found.uid or (before.uid if before else ""),
            )
            # The allocation was read with the registration, and its ETag makes sure that no other registration came
            # between. A signup still can: it counts in another partition, so no transaction has both. Its tenant is
            # then applied to the cluster that is registered by now, and what a worker may just have applied to the old
            # one fails when it is read. Every connection compares the uid, so none mistakes one for the other.
            if before is not None and before.is_in_use and before.uid != after.uid:
                raise Conflict(
                    f"cluster {name} has tenants, and another cluster responds there than the one that they are on. "
                    f"Register that one under another name; or first delete the tenants of {name}, or forget them if "
                    "their cluster is gone"
                )
            if before is not None and before.is_in_use and before.domain not in ("", after.domain):
                raise Conflict(
                    f"cluster {name} has tenants, whose addresses are under {before.domain}. Register it with this "
                    "domain, or delete its tenants first"
                )
            # A registration that is a second one already may still be changed: its operator has to cordon one of them.
            is_new = bool(found.uid) and (before is None or before.uid != found.uid)
            if is_new:
                await self._ensure_unregistered(name, found.uid)
            try:
                await self._clusters.save(Stored(after, etag), claims_uid=is_new)
            except Conflict:
                continue
            return (await self._clusters.get(name)).value, (*(text for _, text in missing), *found.warnings)
        raise Conflict(f"cluster {name} is changing too fast; send the request again")

    async def probe(self, name: ClusterName) -> Probe:
        """Return what is found now on a registered cluster, and what is missing there; raises NotFound."""
        cluster = (await self._clusters.get(name)).value
        if cluster.gateway is None:
            return Probe("", ("it has neither domain nor gateway: register it again with both",))
        try:
            found = await self._found(cluster.access, cluster.gateway, cluster.domain)
        except WrongRegistration as error:
            return Probe("", (str(error),))
        if found.uid and found.uid != cluster.uid:
            other = "another cluster responds there than the one that is registered: register it again"
            return replace(found, missing=(other, *found.missing))
        return found

    async def change(
        self,
        name: ClusterName,
        *,
        state: ClusterState | None,
        capacity: int | None,
        max_instances: int | None = None,
        actor: str = "",
    ) -> Cluster:
        """Change a cluster's state, its capacity in plan weights, or how many instances fit; return its allocation too.

        None leaves a field as it is. A limit below what is there moves nobody and lets no new tenants in. The log names
        the `actor`.

        Raises:
            NotFound: No such cluster is registered.
            Conflict: Others change it all the time.
        """
        for _ in range(MAX_TRIES):
            stored = await self._clusters.get(name)
            before = stored.value
            after = replace(
                before,
                state=state or before.state,
                capacity=capacity or before.capacity,
                max_instances=max_instances or before.max_instances,
            )
            # An earlier try may have written this already, if only its response was lost.
            if after != before:
                try:
                    await self._clusters.save(stored.with_value(after))
                except Conflict:
                    continue
                log_event(
                    logger,
                    "cluster changed",
                    cluster=name,
                    state=after.state,
                    capacity=after.capacity,
                    max_instances=after.max_instances or 0,
                    actor=actor,
                )
            return after
        raise Conflict(f"cluster {name} is changing too fast; send the request again")

    async def _ensure_unregistered(self, name: ClusterName, uid: str) -> None:
        """Return if no other registration leads to a cluster: its capacity would count twice. Raises Conflict.

        One that comes at the same moment is found by the claim of the uid, and here at the next try.
        """
        for other in await self._clusters.list():
            if other.name != name and other.uid == uid:
                raise Conflict(
                    f"this cluster is registered already, as {other.name}: its capacity would count twice. Change "
                    f"{other.name} instead"
                )

    async def _probe(self, registration: Registration) -> Probe:
        """Return what is found on a cluster; that it does not respond is something it lacks. Raises Invalid."""
        access = registration.access
        try:
            return await self._found(access, registration.gateway, registration.domain)
        except WrongRegistration as error:
            field = "kubeconfig_context" if isinstance(access, KubeconfigAccess) else "server"
            raise Invalid((f"/access/{field}", str(error))) from error

    async def _found(self, access: ClusterAccess, gateway: GatewayRef, domain: str) -> Probe:
        """Return what a probe finds within some seconds; raises WrongRegistration."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._connections.probe(access, gateway, domain)
        except WrongRegistration:
            raise
        except TimeoutError:
            return Probe("", (f"no response within {PROBE_SECONDS:g} s",))
        except BerthError as error:
            return Probe("", (str(error),))


def _is_used_as(before: Cluster, registration: Registration) -> bool:
    """Whether a cluster was registered in the same way already: what the probe found missing is not new then."""
    given = registration.access, registration.domain, registration.gateway
    return (before.access, before.domain, before.gateway) == given
