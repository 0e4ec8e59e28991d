"""Placement: which clusters may take a tenant, in which order to try them, and what a reservation is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.clusters import Cluster, ClusterState
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.errors import NoRoom, Transient

RETRY_AFTER = 30.0  # seconds, for a region none of whose clusters responds


class ReservationState(StrEnum):
    """What an instance may do on its cluster: wait for a slot, start, or just hold its share of the capacity."""

    WAITING = "waiting"
    STARTING = "starting"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Reservation:
    """An instance's share of a cluster's capacity, in plan weights, and since when it waits or starts."""

    instance: InstanceId
    operation_id: OperationId
    weight: int
    state: ReservationState
    since: datetime


class Refusal(StrEnum):
    """Why a cluster gives no reservation: its capacity is used up, or its slots and its queue are."""

    FULL = "full"
    NO_SLOT = "no slot"


def candidates(clusters: Iterable[Cluster], *, region: str, weight: int, max_starting: int) -> list[Cluster]:
    """Return the clusters that may take a tenant, the best first.

    First come those with a free slot, then those with the shorter queue, then the emptier by share of capacity.

    Raises:
        NoRoom: No cluster of the region can take it, now or after waiting; the message says why.
        Transient: Those that could do not respond at present.
    """
    in_region = [cluster for cluster in clusters if cluster.region == region]
    if not in_region:
        raise NoRoom(f"no cluster is registered for region {region}")
    open_clusters = [cluster for cluster in in_region if cluster.state is ClusterState.OPEN]
    if not open_clusters:
        raise NoRoom(f"every cluster of region {region} is cordoned", "uncordon a cluster or add one")
    routed = [cluster for cluster in open_clusters if cluster.gateway is not None]
    if not routed:
        raise NoRoom(f"no open cluster of region {region} has a gateway", "register one again, with domain and gateway")
    fitting = [cluster for cluster in routed if cluster.free >= weight]
    if not fitting:
        raise NoRoom(f"region {region} is full: no open cluster has a free weight of {weight}")
    responding = [cluster for cluster in fitting if cluster.breaker is None]
    if not responding:
        raise Transient(f"no cluster of region {region} that has room responds at present", RETRY_AFTER)

    def order(cluster: Cluster) -> tuple[bool, int, float, str]:
        must_wait = cluster.waiting > 0 or cluster.starting >= max_starting
        return must_wait, cluster.waiting, cluster.allocated / cluster.capacity, cluster.name

    return sorted(responding, key=order)
