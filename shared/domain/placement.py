"""Placement: which clusters may take a tenant, and in which order to try them."""

from collections.abc import Iterable
from enum import StrEnum

from shared.domain.clusters import Cluster, ClusterState
from shared.errors import NoRoom


class ReservationResult(StrEnum):
    """The result of requesting a reservation on a cluster."""

    RESERVED = "reserved"
    FULL = "full"
    NO_SLOT = "no slot"


def candidates(clusters: Iterable[Cluster], *, region: str, weight: int) -> list[Cluster]:
    """Return the clusters that may take a tenant, the emptiest (by share of its capacity) first.

    Raises:
        NoRoom: No open cluster of the region has room; the message says which of the two it is.
    """
    in_region = [cluster for cluster in clusters if cluster.region == region]
    if not in_region:
        raise NoRoom(f"no cluster is registered for region {region}")
    open_clusters = [cluster for cluster in in_region if cluster.state is ClusterState.OPEN]
    if not open_clusters:
        raise NoRoom(f"every cluster of region {region} is cordoned")
    fitting = [cluster for cluster in open_clusters if cluster.free >= weight]
    if not fitting:
        raise NoRoom(f"region {region} is full: no open cluster has a free weight of {weight}")
    return sorted(fitting, key=lambda cluster: (cluster.allocated / cluster.capacity, cluster.name))
