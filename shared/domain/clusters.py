"""Registered clusters: how to reach one, what fits on it, and whether it takes new tenants."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

ClusterName = NewType("ClusterName", str)

NO_CLUSTER = ClusterName("")


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
    """A registered cluster.

    Capacity and allocation are in plan weights; `starting` counts the slots in use: provisionings that are starting.
    """

    name: ClusterName
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
