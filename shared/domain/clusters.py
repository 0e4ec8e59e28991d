"""Registered clusters: how to reach one, what fits on it, and whether it takes new tenants."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from shared.domain.slugs import Slug

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
class Probe:
    """What a probe found on a cluster: its uid, what it lacks for provisioning, and what else an operator should know.

    `uid` is empty if it could not be read; then `missing` says why. What is wrong with its gateway is apart, because
    another field of the registration names that.
    """

    uid: str
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gateway_problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayRef:
    """The gateway of a cluster that tenants' routes join.

    `listener` is the name of one of its listeners, or empty for any that fits; `pods_namespace` is where the pods run
    that carry its traffic.
    """

    namespace: str
    name: str
    listener: str
    pods_namespace: str


@dataclass(frozen=True, slots=True)
class Breaker:
    """An open breaker: the cluster's API server does not respond, since when, and with which error."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A registered cluster.

    `uid` is that of its namespace kube-system, by which it is recognised.

    Tenants have their addresses under `domain`, by routes on `gateway`; both are missing in a registration of before
    there were any, and nothing is placed on it then. Nor is it while there is a `breaker`: it does not respond.

    Capacity and allocation are in plan weights; a tenant that sleeps has none. `max_instances` is how many instances
    fit, awake or asleep, because each has a volume; None is no limit. `starting` counts the slots in use, `waiting` the
    provisionings that are queued for one, and `waking` the wakes, which want the weight `wanted`.
    """

    name: ClusterName
    region: str
    capacity: int
    state: ClusterState
    access: ClusterAccess
    domain: str
    gateway: GatewayRef | None
    uid: str
    max_instances: int | None = None
    allocated: int = 0
    starting: int = 0
    waiting: int = 0
    waking: int = 0
    wanted: int = 0
    instances: int = 0
    breaker: Breaker | None = None

    def host(self, slug: Slug) -> str:
        """The host name of a tenant on it."""
        return f"{slug}.{self.domain}"

    @property
    def is_in_use(self) -> bool:
        """Whether any tenant has a reservation on it."""
        return self.instances > 0 or self.waiting > 0

    @property
    def free(self) -> int:
        """The weight that still fits, besides what waits to be woken."""
        return max(0, self.capacity - self.allocated - self.wanted)

    def has_room(self, weight: int) -> bool:
        """Whether one more instance of a weight fits."""
        return self.free >= weight and (self.max_instances is None or self.instances < self.max_instances)
