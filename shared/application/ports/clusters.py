"""Clusters: the repository of registrations and reservations, and the connections to the API servers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.application.ports.stored import Stored
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId
from shared.domain.placement import ReservationResult
from shared.domain.pod_status import PodStatus
from shared.domain.tenants import Tenant

type Manifest = Mapping[str, Any]
"""One Kubernetes object as JSON."""


class ClusterRepository(Protocol):
    """The registered clusters, and the reservations and slots on them."""

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, a few seconds old at most, without their allocation."""
        ...

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters as they are now, with their allocation."""
        ...

    async def register(self, cluster: Cluster) -> Cluster:
        """Add a cluster or replace its registration, and return it with its allocation, which stays as it is."""
        ...

    async def get(self, name: ClusterName) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        ...

    async def save(self, cluster: Stored[Cluster]) -> None:
        """Replace the registration that was read; raises Conflict if somebody changed it since."""
        ...

    async def reserve(
        self, cluster: Cluster, instance: InstanceId, *, weight: int, max_starting: int
    ) -> ReservationResult:
        """Give an instance a reservation on a cluster and one of its `max_starting` slots; again changes nothing."""
        ...

    async def has_reservation(self, cluster: ClusterName, instance: InstanceId) -> bool:
        """Whether an instance has its reservation on a cluster."""
        ...

    async def release_slot(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Release the slot of an instance that no longer starts; again changes nothing."""
        ...

    async def release(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Release an instance's reservation, with its slot; again changes nothing."""
        ...


class KubernetesCluster(Protocol):
    """One cluster's API server. Methods raise Transient for what may work later and Permanent for what was refused."""

    async def apply(self, objects: Sequence[Manifest]) -> None:
        """Server-side apply one tenant's objects; applying the same again changes nothing."""
        ...

    async def wait_until_ready(self, namespace: str, *, timeout: float) -> PodStatus:
        """Return the status as soon as it is ready or permanent, else the one after `timeout` seconds.

        Raises NotFound when somebody removed the namespace.
        """
        ...

    async def remove(self, namespace: str, *, timeout: float) -> None:
        """Remove a namespace with all in it and wait until it is gone.

        Raises Transient if it is still there after `timeout` seconds.
        """
        ...

    async def check(self) -> None:
        """Return if the API server responds; raises Transient or Permanent."""
        ...


class ClusterConnections(Protocol):
    """The connection to each cluster."""

    async def connect(self, name: ClusterName) -> KubernetesCluster:
        """Return the pooled client of a registered cluster; raises NotFound."""
        ...


class TenantTemplates(Protocol):
    """What a tenant is made of."""

    def render(self, tenant: Tenant) -> Sequence[Manifest]:
        """Return a tenant's objects; raises Permanent for a template that is wrong."""
        ...
