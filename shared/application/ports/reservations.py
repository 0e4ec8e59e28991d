"""The repository of reservations: each instance's share of a cluster, the slots, and the queue for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.domain.placement import Refusal, Reservation, ReservationState


@dataclass(frozen=True, slots=True)
class Sums:
    """The reservations of one cluster, summed up: their weights, the slots in use, and how many wait for one."""

    allocated: int = 0
    starting: int = 0
    waiting: int = 0


class ReservationRepository(Protocol):
    """The reservations on the clusters. A cluster's slots and its queue never exceed their limits, in all workers."""

    async def sums(self, cluster: ClusterName, *, fresh: bool = True) -> Sums:
        """Return a cluster's sums; without `fresh` those that this worker read or wrote last."""
        ...

    async def reserve(
        self,
        cluster: Cluster,
        instance: InstanceId,
        operation_id: OperationId,
        *,
        weight: int,
        max_starting: int,
        max_waiting: int,
    ) -> ReservationState | Refusal:
        """Reserve for an instance: with a slot, or behind those that wait for one; again changes nothing.

        Args:
            cluster: Where.
            instance: For which instance.
            operation_id: The operation that is to start when there is a slot.
            weight: Its share of the capacity.
            max_starting: How many slots the cluster has.
            max_waiting: How many may wait for one.

        Raises Transient when others write to the same cluster all the time.
        """
        ...

    async def find(self, cluster: ClusterName, instance: InstanceId) -> Reservation | None:
        """Return an instance's reservation on a cluster, or None."""
        ...

    async def pending(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return the reservations that wait, in the order of the queue, after those that start."""
        ...

    async def all(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return all reservations on a cluster."""
        ...

    async def release_slot(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Let an instance that no longer starts hold its share only; again changes nothing."""
        ...

    async def release(
        self, cluster: ClusterName, instance: InstanceId, *, unless_changed: Reservation | None = None
    ) -> None:
        """Release an instance's reservation, or with `unless_changed` one that is still so; again changes nothing."""
        ...

    async def hand_out(self, cluster: ClusterName, *, max_starting: int, fresh: bool = False) -> Sequence[Reservation]:
        """Give the free slots to those that have waited longest, and return who got one.

        Args:
            cluster: Where.
            max_starting: How many slots the cluster has.
            fresh: Read the sums first; else those are trusted that this worker read or wrote last.
        """
        ...
