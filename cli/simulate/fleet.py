"""On which cluster each tenant is, how many nodes the clusters have, and how large the sweeps of a fleet are."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from cli.simulate.population import Customer
from shared.domain.assets import Machine, Nodes, SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import OperationKind
from shared.domain.plans import Plans
from shared.domain.uses import Transition, Use

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class NodePool:
    """The nodes of a cluster: their machine, how many there are at least, and whether disks are attached to them."""

    name: str
    machine: Machine
    least: int
    attaches_disks: bool


def placed(customers: Sequence[Customer], per_cluster: int) -> Sequence[ClusterName]:
    """Return the cluster of each customer: the first one that has room, where deleted tenants make room again."""
    leaving: list[tuple[datetime, int]] = []
    on, found = list[int](), list[ClusterName]()
    for customer in customers:
        while leaving and leaving[0][0] <= customer.arrives:
            on[heapq.heappop(leaving)[1]] -= 1
        number = next((number for number, tenants in enumerate(on) if tenants < per_cluster), len(on))
        if number == len(on):
            on.append(0)
        on[number] += 1
        if customer.leaves is not None:
            heapq.heappush(leaving, (customer.leaves, number))
        found.append(ClusterName(f"cluster-{number + 1}"))
    return found


def seen_nodes(
    cluster: ClusterName, log: Iterable[Transition], pool: NodePool, start: datetime, end: datetime
) -> Sequence[SeenNodes]:
    """Return the nodes of a cluster whenever their number changes, at full hours.

    Each hour has as many as the most that were awake in it need, by cores, memory or places for disks.

    Args:
        cluster: The cluster.
        log: The transitions of all its instances, in the order of time.
        pool: What its nodes are.
        start: When the cluster is there first.
        end: The moment after the last.
    """
    found, changes, awake = list[SeenNodes](), iter(log), _Awake()
    change, hour = next(changes, None), start
    while hour < end:
        most = pool.least
        while True:
            most = max(most, awake.nodes(pool))
            if change is None or change.at >= hour + HOUR:
                break
            awake.add(change.before, -1)
            awake.add(change.after, 1)
            change = next(changes, None)
        nodes = [Nodes(pool.name, spot=False, count=most)]
        if not found or found[-1].nodes != nodes:
            found.append(SeenNodes(cluster, hour, nodes))
        hour += HOUR
    return found


@dataclass(slots=True)
class _Awake:
    """What all instances that are awake request together."""

    cpu_millicores: int = 0
    memory_mib: int = 0
    disks: int = 0

    def add(self, use: Use | None, number: int) -> None:
        """Count one instance, or take it out."""
        if use is not None and use.awake:
            self.cpu_millicores += number * use.size.cpu_millicores
            self.memory_mib += number * use.size.memory_mib
            self.disks += number

    def nodes(self, pool: NodePool) -> int:
        """Return how many nodes they need."""
        machine = pool.machine
        needed = [(self.cpu_millicores, machine.cpu_millicores), (self.memory_mib, machine.memory_mib)]
        if pool.attaches_disks:
            needed.append((self.disks, machine.disks))
        return max(-(-all_of // each) for all_of, each in needed)


@dataclass(frozen=True, slots=True)
class LargestSweep:
    """How many tenants at most one night's sweep put to sleep, and at most which share of the plan weights awake."""

    tenants: int
    share: float


def largest_sweep(log: Iterable[Transition], plans: Plans, since: datetime) -> LargestSweep:
    """Return the largest sweeps from a moment on.

    Args:
        log: All transitions, in the order of time.
        plans: The plans, for their weights.
        since: The moment.
    """
    fleet, tenants, share = 0, 0, 0.0
    for at, of_moment in groupby(log, key=lambda each: each.at):
        changes = list(of_moment)
        asleep = [each.before for each in changes if operation_of(each) is OperationKind.HIBERNATE]
        if asleep and at >= since:
            weight = sum(plans[use.plan].weight for use in asleep if use is not None)
            tenants = max(tenants, len(asleep))
            share = max(share, weight / fleet) if len(asleep) > 1 else share  # one may always be put to sleep
        for each in changes:
            fleet += sum(
                sign * plans[use.plan].weight
                for sign, use in ((-1, each.before), (1, each.after))
                if use is not None and use.awake
            )
    return LargestSweep(tenants, share)


def operation_of(transition: Transition) -> OperationKind | None:
    """Return the kind of the operation that ended with a transition; another plan alone is none."""
    before, after = transition.before, transition.after
    if before is None or after is None:
        return OperationKind.PROVISION if before is None else OperationKind.DELETE
    if before.awake == after.awake:
        return None
    return OperationKind.WAKE if after.awake else OperationKind.HIBERNATE
