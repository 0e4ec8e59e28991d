"""Admission: gives each provisioning and each wake its place on a cluster, with a slot or a position in the queue.

A tenant that is woken stays on its cluster. It waits there for a slot and for room, ahead of all signups.

Everything is counted in the clusters' own rows, so that it holds for all workers. Nobody polls while waiting: whoever
gives a slot back hands it to the next in the queue and starts its orchestration. `SlotRepair` is the safety net.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from shared.application.breakers import Breakers
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.clusters import NO_CLUSTER, Cluster, ClusterName
from shared.domain.instances import InstanceId, new_instance_id
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation, OperationId, slug_of
from shared.domain.placement import Refusal, Reservation, ReservationState, Slots, candidates
from shared.domain.plans import Plans, plan_of
from shared.domain.tenants import Tenant
from shared.domain.uses import Size
from shared.errors import BerthError, Conflict, NoRoom, NotFound, QueueFull, Transient
from shared.events import log_event
from shared.settings import ProvisioningSettings

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against others who change the same reservation
POSITION_SECONDS = 2.0  # for which a queue that was read answers callers who follow their operations


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance has its reservation, of which size it is, and whether it has a slot there."""

    cluster: ClusterName
    instance: InstanceId
    size: Size
    has_slot: bool

    @property
    def message(self) -> str:
        """What the operation says meanwhile."""
        return f"reserved on {self.cluster}" if self.has_slot else f"queued on {self.cluster}"


class Admission:
    """Finds each provisioning a cluster, and lets it and each wake start when there is a slot."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        breakers: Breakers,
        plans: Plans,
        clock: Clock,
        settings: ProvisioningSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations
        self._breakers = breakers
        self._plans = plans
        self._clock = clock
        self._settings = settings
        self._slots = Slots(all=settings.max_concurrent, for_signups=settings.signup_slots)
        self._queues: dict[ClusterName, tuple[float, Sequence[Reservation]]] = {}
        self._queue_locks: defaultdict[ClusterName, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def reserved(
        self,
        operation: Operation,
        *,
        region: str,
        plan: str,
        workflows: Workflows,
        away_from: ClusterName = NO_CLUSTER,
    ) -> AsyncGenerator[Placement]:
        """Reserve for a new instance, which is recorded inside; the reservation is released if it must not be.

        Args:
            operation: What the instance is for.
            region: Where it may be.
            plan: How much room it needs.
            workflows: Where the next in the queue is started after a release.
            away_from: The one cluster that is left out.

        Raises:
            NoRoom: No cluster of the region can take it, now or after waiting, or its plan is not there any more.
            QueueFull: Too many are queued.
            Transient: The clusters that could take it do not respond, or the tables do not.
        """
        placement = await self._reserve(operation.id, workflows, region=region, plan=plan, away_from=away_from)
        try:
            yield placement
        except (Conflict, NotFound):
            # It may have been recorded all the same: if the response of the write was lost, and another worker wrote
            # to the row since. After any other error, `SlotRepair` finds out.
            if not await self._is_recorded(operation, placement):
                await self.release(placement.cluster, placement.instance, workflows)
                raise

    async def ensure_reservation(self, tenant: Stored[Tenant], workflows: Workflows) -> tuple[Stored[Tenant], bool]:
        """Return a tenant that has a reservation, and whether it has a slot; makes one if it was lost.

        Raises Conflict when somebody else changed the tenant, and what `reserved` raises.
        """
        value = tenant.value
        if not value.operation.rules.makes_instance:
            return tenant, await self.awaken(value)
        held = await self._reservations.find(value.cluster, value.instance) if value.cluster else None
        if held is not None:
            return tenant, not held.state.is_waiting
        return await self.move(tenant, workflows, away_from=NO_CLUSTER)

    async def awaken(self, tenant: Tenant) -> bool:
        """Give a tenant that is woken its share and a slot, or a place in the queue; return whether it has a slot.

        While its cluster does not respond it is queued, until slot repair finds that the cluster does again.

        Raises Conflict when its operation has ended, or when somebody else changed its reservation.
        """
        cluster, operation = tenant.cluster, tenant.operation
        held = await self._reservations.find(cluster, tenant.instance)
        if held is None or not held.is_for(operation.id):
            # Read after the reservation, which each end of an operation changes: so one that ended takes nothing.
            fresh = (await self._tenants.get(tenant.slug)).value.operation
            if fresh.id != operation.id or not fresh.is_open:
                raise Conflict(f"operation {operation.id} has ended")
            state = await self._reservations.wake(
                await self._clusters.registration(cluster),
                tenant.instance,
                operation.id,
                weight=plan_of(self._plans, tenant.plan).weight,
                max_starting=0 if await self._breakers.is_open(cluster) else self._slots.all,
                unless_changed=held,
            )
            if state is None:
                raise Conflict(f"the reservation of the instance {tenant.instance} was changed by somebody else")
            if state.is_waiting:
                self._queues.pop(cluster, None)
            log_event(logger, "reserved", cluster=cluster, instance=tenant.instance, state=state)
            return not state.is_waiting
        return not held.state.is_waiting

    async def settle_reservation(self, tenant: Tenant, workflows: Workflows) -> None:
        """Let the reservation of a tenant at rest be as its state asks, and start the next; again changes nothing.

        A tenant that sleeps has its place only. One that is active gets its share back, or its whole reservation,
        however full its cluster is: it runs there already. A slot that it still has is left to `release_slot`.
        """
        for _ in range(MAX_TRIES):
            if await self._is_settled(tenant, workflows):
                return
        raise Transient(f"the reservation of the instance {tenant.instance} is changing too fast")

    async def _is_settled(self, tenant: Tenant, workflows: Workflows) -> bool:
        """Let a reservation be as its tenant's state asks, unless somebody else changes it at this moment."""
        cluster, instance = tenant.cluster, tenant.instance
        held = await self._reservations.find(cluster, instance)
        # Read after the reservation, which a wake changes after it was recorded: nothing is taken from a later one.
        fresh = (await self._tenants.get(tenant.slug)).value
        if fresh.operation.is_open or not fresh.state.has_instance or not fresh.is_on(cluster, instance):
            return True
        operation_id = fresh.operation.id
        if held is not None and fresh.state is TenantState.HIBERNATED:
            after = replace(held, operation_id=operation_id, state=ReservationState.ASLEEP)
        elif held is None or held.state is ReservationState.ASLEEP:
            state = ReservationState.HELD if fresh.state is TenantState.ACTIVE else ReservationState.ASLEEP
            weight = plan_of(self._plans, fresh.plan).weight
            after = Reservation(instance, operation_id, weight, state, self._clock.now())
        else:
            return True
        # An earlier operation may give its slot back only now.
        is_settled = await self._reservations.replace(cluster, held, after)
        if held is None and not (await self._tenants.get(tenant.slug)).value.is_on(cluster, instance):
            await self._reservations.release(cluster, instance)  # it was deleted meanwhile
        await self.start_next(cluster, workflows)
        return is_settled

    async def size_when_woken(self, tenant: Tenant) -> Size:
        """Return the size that a tenant which sleeps will have.

        Raises NoRoom if it can never be woken on its cluster, however long it waits.
        """
        cluster, plan = await self._clusters.registration(tenant.cluster), plan_of(self._plans, tenant.plan)
        if plan.weight > cluster.capacity:
            raise NoRoom(
                f"{tenant.slug} needs a weight of {plan.weight} on its cluster {cluster.name}, "
                f"whose whole capacity is {cluster.capacity}",
                f"resize {cluster.name}",
            )
        return plan.size

    async def move(
        self, tenant: Stored[Tenant], workflows: Workflows, *, away_from: ClusterName
    ) -> tuple[Stored[Tenant], bool]:
        """Give a tenant that is being provisioned a new instance elsewhere; returns it and whether it has a slot.

        What may be left of the old instance is removed by whoever still works on it, or found as an orphan.
        Raises as `ensure_reservation`.
        """
        value = tenant.value
        async with self.reserved(
            value.operation, region=value.region, plan=value.plan, workflows=workflows, away_from=away_from
        ) as placement:
            now = self._clock.now()
            placed = value.moved(placement.cluster, placement.instance, placement.size, now, placement.message)
            moved = tenant.with_value(placed)  # with the old ETag, if somebody else wrote after this was recorded
            moved = await self._tenants.save(moved)
        log_event(logger, "moved", tenant=value.slug, away_from=value.cluster, cluster=placement.cluster)
        if value.cluster:
            await self.release(value.cluster, value.instance, workflows)
        return moved, await self.may_start(placement)

    async def may_start(self, placement: Placement) -> bool:
        """Whether an instance has a slot by now: it may have got one before its tenant was recorded."""
        if placement.has_slot:
            return True
        held = await self._reservations.find(placement.cluster, placement.instance)
        return held is not None and held.state is ReservationState.STARTING

    async def release_slot(
        self, cluster: ClusterName, instance: InstanceId, operation_id: OperationId, workflows: Workflows
    ) -> None:
        """Take an instance's slot, which no longer starts for an operation, and start the next in the queue."""
        await self._reservations.release_slot(cluster, instance, operation_id)
        await self.start_next(cluster, workflows)

    async def release(
        self,
        cluster: ClusterName,
        instance: InstanceId,
        workflows: Workflows,
        *,
        unless_changed: Reservation | None = None,
    ) -> None:
        """Release an instance's reservation, and start the next in the queue if that had a slot.

        With `unless_changed` only if it still is as it was read.
        """
        await self._reservations.release(cluster, instance, unless_changed=unless_changed)
        await self.start_next(cluster, workflows)

    async def start_next(self, cluster: ClusterName, workflows: Workflows, *, fresh: bool = False) -> None:
        """Hand the free slots of a cluster to those that have waited longest, and start them.

        Not while the cluster's breaker is open: they would only fail there. `fresh` reads first whether there are
        free slots; else what this worker wrote last must be what changed.
        """
        if await self._breakers.is_open(cluster):
            return
        try:
            registered = await self._clusters.registration(cluster)
        except NotFound:  # it was removed, so nobody waits for it
            return
        handed = await self._reservations.hand_out(registered, slots=self._slots, fresh=fresh)
        await asyncio.gather(*(self._start(cluster, reservation, workflows) for reservation in handed))

    async def position(self, operation: Operation) -> int | None:
        """Return an operation's position in its cluster's queue, from 1, or None if it waits in none."""
        if operation.started_at is not None or not operation.is_open or not operation.cluster:
            return None
        queue = [each.operation_id for each in await self._queue(operation.cluster)]
        return queue.index(operation.id) + 1 if operation.id in queue else None

    async def waking(self, cluster: ClusterName) -> int:
        """Return how many wakes are queued for a cluster."""
        return sum(each.state is ReservationState.WAKING for each in await self._queue(cluster))

    async def _queue(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return a cluster's queue, two seconds old at most, and with all wakes that this worker has queued."""
        async with self._queue_locks[cluster]:  # many ask at the same moment
            now = self._clock.monotonic()
            read_at, queue = self._queues.get(cluster, (float("-inf"), ()))
            if now - read_at > POSITION_SECONDS:
                queue = [each for each in await self._reservations.pending(cluster) if each.state.is_waiting]
                self._queues[cluster] = now, queue
        return queue

    async def _is_recorded(self, operation: Operation, placement: Placement) -> bool:
        try:
            tenant = (await self._tenants.get(operation.slug)).value
        except NotFound:
            return False
        return tenant.is_on(placement.cluster, placement.instance)

    async def _start(self, cluster: ClusterName, reservation: Reservation, workflows: Workflows) -> None:
        """Start the orchestration of an operation that got a slot; what fails here is left to the timers."""
        try:
            tenant = (await self._tenants.get(slug_of(reservation.operation_id))).value
            if tenant.operation.id == reservation.operation_id and tenant.operation.is_open:
                await workflows.start(tenant.operation)
        except BerthError as error:
            log_event(
                logger,
                "not started yet",
                level=logging.WARNING,
                operation=reservation.operation_id,
                cluster=cluster,
                cause=str(error),
            )

    async def _reserve(
        self, operation_id: OperationId, workflows: Workflows, *, region: str, plan: str, away_from: ClusterName
    ) -> Placement:
        """Reserve for a new instance: where there is a slot, else in the shortest queue."""
        wanted, instance, settings = plan_of(self._plans, plan), new_instance_id(), self._settings
        refusals: set[Refusal] = set()
        # First for those that need not wait. What this worker knows of the sums only orders them: `reserve` checks.
        for max_waiting in (0, settings.max_queued):
            for cluster in await self._candidates(region, wanted.weight, away_from):
                result = await self._reservations.reserve(
                    cluster,
                    instance,
                    operation_id,
                    weight=wanted.weight,
                    max_starting=self._slots.for_signups,
                    max_waiting=max_waiting,
                )
                if isinstance(result, Refusal):
                    refusals.add(result)
                elif await self._clusters.takes_tenants(cluster):
                    log_event(logger, "reserved", cluster=cluster.name, instance=instance, state=result)
                    return Placement(cluster.name, instance, wanted.size, result is ReservationState.STARTING)
                else:  # it was cordoned since it was chosen, and whoever removes it may not have seen the reservation
                    await self.release(cluster.name, instance, workflows)
        if Refusal.NO_SLOT not in refusals:
            raise NoRoom(f"region {region} is full: the last free room was just taken")
        # A random time, so that the signups of one burst are not all sent again at the same moment.
        wait = settings.retry_after * random.uniform(1, 2)  # noqa: S311 - not a secret
        log_event(logger, "refused: the queue is full", region=region, retry_after=wait)
        raise QueueFull("too many signups are queued already", wait)

    async def _candidates(self, region: str, weight: int, away_from: ClusterName) -> Sequence[Cluster]:
        def choose(clusters: Sequence[Cluster]) -> Sequence[Cluster]:
            others = [each for each in clusters if each.name != away_from]
            limit = self._slots.for_signups
            return candidates(others, region=region, weight=weight, max_starting=limit)

        try:
            return choose(await self._clusters.list(exact=False))
        except (NoRoom, Transient):
            return choose(await self._clusters.list())  # nobody is refused by what may be out of date
