"""Clusters: the registrations and breakers, and the connections to the API servers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Protocol

from shared.application.ports.stored import Stored
from shared.domain.assets import Nodes
from shared.domain.clusters import Breaker, Cluster, ClusterAccess, ClusterName, GatewayRef, Probe
from shared.domain.instances import InstanceId
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import FoundNamespace, FoundWorkload, LeftVolume, RemovedNamespaces
from shared.domain.routes import RouteStatus
from shared.domain.tenants import Tenant
from shared.domain.workloads import Workload

type Manifest = Mapping[str, Any]
"""One Kubernetes object as JSON."""

type RecordKept = Callable[[Sequence[str]], Awaitable[None]]
"""Records the names of volumes that stay."""


class ClusterRepository(Protocol):
    """The registered clusters, and their breakers."""

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations with their breakers, a few seconds old at most, without their allocation."""
        ...

    async def registration(self, name: ClusterName) -> Cluster:
        """Return one registration, a few seconds old at most, without its allocation; raises NotFound."""
        ...

    async def list(self, *, exact: bool = True) -> Sequence[Cluster]:
        """Return all clusters as they are now; without `exact`, with the sums that this worker read or wrote last."""
        ...

    async def get(self, name: ClusterName) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        ...

    async def takes_tenants(self, cluster: Cluster) -> bool:
        """Whether a cluster is registered at this moment as it was read, by region and uid, and not cordoned."""
        ...

    async def save(self, cluster: Stored[Cluster], *, claims_uid: bool = False) -> None:
        """Write the registration in place of the one that was read; raises Conflict if somebody changed it since.

        With `claims_uid` also if another registration has claimed the cluster's uid, and has it.
        """
        ...

    async def remove(self, cluster: Stored[Cluster]) -> None:
        """Delete the registration that was read, with its breaker; raises Conflict if somebody changed it since.

        One that is gone already is no conflict.
        """
        ...

    async def set_breaker(self, name: ClusterName, breaker: Breaker | None) -> None:
        """Open a cluster's breaker, or close it for None; one that is open already keeps its time and reason."""
        ...


class KubernetesCluster(Protocol):
    """One cluster's API server. Methods raise Transient for what may work later and Permanent for what was refused."""

    async def apply(self, objects: Sequence[Manifest], *, is_new: bool = True) -> None:
        """Server-side apply one tenant's objects; applying the same again changes nothing.

        Raises NotOurs for an object that exists and is not this berth's and the instance's: it is not changed then, and
        nothing at all is if it is the namespace. Raises NotFound for a namespace that does not exist, unless the
        instance `is_new`: nothing is changed then.
        """
        ...

    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        """Return the status as soon as all workloads are ready or one cannot be, else the one after `timeout` seconds.

        Pods of anything else in the namespace do not count. Raises NotFound when somebody removed the namespace.
        """
        ...

    async def replicas(self, namespace: str) -> Mapping[str, int]:
        """Return how many pods each of this berth's workloads in a namespace is to have.

        Raises NotFound when somebody removed the namespace.
        """
        ...

    async def stop(self, namespace: str) -> None:
        """Let this berth's workloads in a namespace have no pods; everything else stays. Again changes nothing.

        An apply starts them again. Raises NotFound when somebody removed the namespace.
        """
        ...

    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        """Return nothing as soon as no workload has a pod, or in words what is left after `timeout` seconds."""
        ...

    async def open_route(self, route: Manifest, *, timeout: float) -> RouteStatus:
        """Server-side apply a tenant's route; return its status once the gateway serves it, or after `timeout` seconds.

        Applying the same again changes nothing. Raises Transient when somebody removed the namespace, and NotOurs if
        there is another route of this name.
        """
        ...

    async def close_route(self, namespace: str) -> None:
        """Delete a tenant's route, if there is one."""
        ...

    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        """Remove a namespace with all in it, first of all its route, and wait until it is gone.

        Before anything is deleted, but only if it may be, `record_kept` is called with the names of the instance's
        volumes that stay, because of their reclaim policy; what it raises ends the removal. Volumes that berth may not
        read are left out.

        Raises Transient if it is still there after `timeout` seconds; and, before anything is deleted, NotOurs if it
        is not this berth's, and Permanent if the cluster forbids it or a volume claim in it is of somebody else.
        """
        ...

    async def time(self) -> datetime:
        """Return the API server's own time, to the second: by it, and not by berth's clock, its objects have an age."""
        ...

    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        """Return the namespaces of this berth's instances."""
        ...

    async def tenant_workloads(self) -> Sequence[FoundWorkload]:
        """Return the workloads of this berth's instances."""
        ...

    async def tenant_routes(self) -> Set[InstanceId]:
        """Return which of this berth's instances have a route."""
        ...

    async def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace is there and not being removed."""
        ...

    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        """Return which namespaces of this berth were removed since a position, or for none only where to begin."""
        ...

    async def left_volumes(self) -> Sequence[LeftVolume]:
        """Return the volumes that were an instance's, this berth's or another one's, and are neither used nor deleted.

        A volume has no label of its owner.
        """
        ...

    async def nodes(self) -> Sequence[Nodes]:
        """Return how many nodes there are of each machine."""
        ...

    async def uid(self) -> str:
        """Return the uid of the namespace kube-system, by which the cluster is recognised."""
        ...

    async def check(self) -> str:
        """Return the same after one request, which is not retried: whether the API server responds at all.

        Raises Unreachable if not, and Transient or Permanent as it responds.
        """
        ...


class ClusterConnections(Protocol):
    """The connection to each cluster."""

    async def connect(self, name: ClusterName) -> KubernetesCluster:
        """Return the pooled client of a registered cluster; raises NotFound.

        All its methods raise WrongRegistration if the registration does not lead to that cluster.
        """
        ...

    async def probe(self, access: ClusterAccess, gateway: GatewayRef, domain: str) -> Probe:
        """Return what berth finds on a cluster that may not be registered yet.

        Args:
            access: How to reach it.
            gateway: The gateway that its tenants' routes would join.
            domain: Under which they would have their addresses.

        Raises WrongRegistration if it must not or cannot be reached that way, and Transient or Permanent as it
        responds.
        """
        ...


class TenantTemplates(Protocol):
    """What a tenant is made of."""

    def seed_id(self, *, is_new: bool) -> str:
        """Return the id of the seed of a new instance's secret, or of an instance that is older than the record."""
        ...

    def render(self, tenant: Tenant, cluster: Cluster, *, is_whole: bool = True) -> Sequence[Manifest]:
        """Return a tenant's objects on a cluster, without its route.

        Without `is_whole`, what depends on its secret is left out if the seed of that is not set here.

        Raises Permanent for a template that is wrong, and Transient for a seed that is not set.
        """
        ...

    def workloads(self, tenant: Tenant, cluster: Cluster) -> Sequence[Workload]:
        """Return a tenant's workloads, with the pods that it had before it was put to sleep; they need no seed."""
        ...

    def route(self, tenant: Tenant, cluster: Cluster) -> Manifest:
        """Return a tenant's route on a cluster, for which no seed is needed; raises Permanent as `render` does."""
        ...
