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
    """What an instance may do on its cluster.

    Wait for a slot, start, or just hold its share of the capacity. Or sleep without a share, and wait to be woken: for
    a slot and for its share.
    """

    WAITING = "waiting"
    STARTING = "starting"
    HELD = "held"
    ASLEEP = "asleep"
    WAKING = "waking"

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a slot."""
        return self in (ReservationState.WAITING, ReservationState.WAKING)

    @property
    def is_pending(self) -> bool:
        """Whether it waits for a slot or has one."""
        return self.is_waiting or self is ReservationState.STARTING

    @property
    def has_share(self) -> bool:
        """Whether its weight counts as allocated."""
        return self not in (ReservationState.ASLEEP, ReservationState.WAKING)


@dataclass(frozen=True, slots=True)
class Reservation:
    """An instance's place on a cluster, with its weight, and since when it waits or starts.

    `operation_id` is the operation that changed it last.
    """

    instance: InstanceId
    operation_id: OperationId
    weight: int
    state: ReservationState
    since: datetime

    def is_for(self, operation_id: OperationId) -> bool:
        """Whether an operation has it, or waits for it; not one that ended, and left the instance asleep."""
        return self.operation_id == operation_id and self.state is not ReservationState.ASLEEP


@dataclass(frozen=True, slots=True)
class Slots:
    """How many instances may start on a cluster at once. Signups start up to fewer, so that some are left for wakes."""

    all: int
    for_signups: int


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
    fitting = [cluster for cluster in routed if cluster.has_room(weight)]
    if not fitting and any(cluster.free >= weight for cluster in routed):
        raise NoRoom(
            f"region {region} is full: its open clusters have as many instances as they may", "raise that number"
        )
    if not fitting:
        raise NoRoom(f"region {region} is full: no open cluster has a free weight of {weight}")
    responding = [cluster for cluster in fitting if cluster.breaker is None]
    if not responding:
        raise Transient(f"no cluster of region {region} that has room responds at present", RETRY_AFTER)

    def order(cluster: Cluster) -> tuple[bool, int, float, str]:
        queued = cluster.waiting + cluster.waking
        return (
            queued > 0 or cluster.starting >= max_starting,
            queued,
            cluster.allocated / cluster.capacity,
            cluster.name,
        )

    return sorted(responding, key=order)
