"""The repository of reservations: each instance's place on a cluster, the slots, and the queues for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.domain.placement import Refusal, Reservation, ReservationState, Slots


@dataclass(frozen=True, slots=True)
class Sums:
    """The reservations of one cluster, summed up.

    `allocated` is the weight of those that are awake or will be without another request, `starting` counts the slots in
    use, `waiting` the provisionings that wait for one, and `waking` the wakes, which want the weight `wanted`;
    `instances` counts all, those that sleep too.
    """

    allocated: int = 0
    starting: int = 0
    waiting: int = 0
    waking: int = 0
    wanted: int = 0
    instances: int = 0

    def plus(self, reservation: Reservation, count: int = 1) -> "Sums":
        """Return the sums with a reservation more, or without it for -1."""
        state, weight = reservation.state, reservation.weight * count
        return Sums(
            allocated=self.allocated + (weight if state.has_share else 0),
            starting=self.starting + (count if state is ReservationState.STARTING else 0),
            waiting=self.waiting + (count if state is ReservationState.WAITING else 0),
            waking=self.waking + (count if state is ReservationState.WAKING else 0),
            wanted=self.wanted + (weight if state is ReservationState.WAKING else 0),
            instances=self.instances + count,
        )

    def moved(self, before: Reservation | None, after: Reservation | None) -> "Sums":
        """Return the sums with a reservation, or none, in the place of another one, or of none."""
        rest = self.plus(before, -1) if before else self
        return rest.plus(after) if after else rest


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
        """Reserve for a new instance: with a slot, or behind those that wait for one; again changes nothing.

        Args:
            cluster: Where.
            instance: For which instance.
            operation_id: The operation that is to start when there is a slot.
            weight: Its share of the capacity.
            max_starting: Up to how many slots in use it may start.
            max_waiting: How many may wait for one.

        Raises Transient when others write to the same cluster all the time.
        """
        ...

    async def wake(
        self,
        cluster: Cluster,
        instance: InstanceId,
        operation_id: OperationId,
        *,
        weight: int,
        max_starting: int,
        unless_changed: Reservation | None,
    ) -> ReservationState | None:
        """Give an instance that sleeps its share and a slot, or a place in the queue; again changes nothing.

        Args:
            cluster: Where.
            instance: Which instance.
            operation_id: The operation that is to start when there is a slot and room.
            weight: Its share of the capacity.
            max_starting: How many slots the cluster has.
            unless_changed: Its reservation as it was read; None if it had lost it.

        Returns:
            Its state, or None, and nothing is changed, if its reservation is another one by now.

        Raises Transient when others write to the same cluster all the time.
        """
        ...

    async def replace(self, cluster: ClusterName, before: Reservation | None, after: Reservation) -> bool:
        """Put a reservation in the place of the one that was read, or of none; False if it is another one by now.

        No limit is compared: it is for an instance that is there.
        """
        ...

    async def find(self, cluster: ClusterName, instance: InstanceId) -> Reservation | None:
        """Return an instance's reservation on a cluster, or None."""
        ...

    async def pending(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return the reservations that wait, in the order of the queue, wakes first, after those that start."""
        ...

    async def all(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return all reservations on a cluster."""
        ...

    async def release_slot(self, cluster: ClusterName, instance: InstanceId, operation_id: OperationId) -> None:
        """Let an instance that no longer starts for an operation hold its share only; again changes nothing."""
        ...

    async def release(
        self, cluster: ClusterName, instance: InstanceId, *, unless_changed: Reservation | None = None
    ) -> None:
        """Release an instance's reservation, or with `unless_changed` one that is still so; again changes nothing."""
        ...

    async def hand_out(self, cluster: Cluster, *, slots: Slots, fresh: bool = False) -> Sequence[Reservation]:
        """Give the free slots to those that have waited longest, wakes first, and return who got one.

        A wake gets its share with the slot; the oldest one for which there is no room holds up the other wakes.

        Args:
            cluster: Where.
            slots: How many slots the cluster has.
            fresh: Read the sums first; else those are trusted that this worker read or wrote last.
        """
        ...
