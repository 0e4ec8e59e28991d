"""Clusters, their capacity, and the choice of one for a tenant."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import NoRoom


class ClusterState(StrEnum):
    """Whether a cluster takes new tenants."""

    OPEN = "open"
    CORDONED = "cordoned"


@dataclass(frozen=True, slots=True)
class KubeconfigAccess:
    """Reach a cluster by a context of the kubeconfig file that KUBECONFIG names."""

    context: str


@dataclass(frozen=True, slots=True)
class AzureAccess:
    """Reach an AKS cluster with a Microsoft Entra token of berth's own identity.

    `server` is the https address of the API server, `ca_pem` the certificate authority that signed its certificate.
    """

    server: str
    ca_pem: str


type ClusterAccess = KubeconfigAccess | AzureAccess


@dataclass(frozen=True, slots=True)
class Cluster:
    """A registered cluster. Capacity and allocation are in plan weights; `starting` counts provisionings under way."""

    name: str
    region: str
    capacity: int
    state: ClusterState
    access: ClusterAccess
    allocated: int = 0
    starting: int = 0

    @property
    def free(self) -> int:
        """The weight that still fits."""
        return max(0, self.capacity - self.allocated)


class Placement(StrEnum):
    """What came of asking a cluster for a place."""

    PLACED = "placed"
    FULL = "full"
    BUSY = "busy"


def candidates(clusters: Iterable[Cluster], *, region: str, weight: int) -> list[Cluster]:
    """Return the clusters that may take a tenant, the emptiest (by share of its capacity) first.

    Raises:
        NoRoom: No open cluster of the region has room; the message says which of the two it is.
    """
    in_region = [cluster for cluster in clusters if cluster.region == region]
    if not in_region:
        raise NoRoom(f"no cluster is registered for region {region}")
    willing = [cluster for cluster in in_region if cluster.state is ClusterState.OPEN]
    if not willing:
        raise NoRoom(f"every cluster of region {region} is cordoned")
    fitting = [cluster for cluster in willing if cluster.free >= weight]
    if not fitting:
        raise NoRoom(f"region {region} is full: no open cluster has a free weight of {weight}")
    return sorted(fitting, key=lambda cluster: (cluster.allocated / cluster.capacity, cluster.name))
