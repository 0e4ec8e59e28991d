"""Shares of what no single tenant causes: idle and overhead, shared out to the last digit.

Workload, idle and overhead together are the assets, as in the OpenCost specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from shared.domain.assets import Sharing
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.costs import ZERO, OwnCost, last_digit

type Weights = Mapping[Component, Decimal]
"""What an instance weighs when a component is shared out."""


@dataclass(frozen=True, slots=True)
class SharingRules:
    """How idle and overhead are shared out."""

    idle: Sharing
    overhead: Sharing

    def weights(self, own: OwnCost) -> Weights:
        """Return the weights of an instance: for idle what it pays for nodes, or its hours on them."""
        idle = {Sharing.PROPORTIONAL: own.of_nodes, Sharing.EVEN: own.awake, Sharing.NONE: ZERO}
        overhead = {Sharing.PROPORTIONAL: own.total, Sharing.EVEN: own.existed, Sharing.NONE: ZERO}
        return {Component.IDLE: idle[self.idle], Component.OVERHEAD: overhead[self.overhead]}


@dataclass(slots=True)
class Pool:
    """A cost that is shared out among instances with weights.

    The shares are differences of rounded running sums, in a fixed order of the instances: so they add up to the whole
    cost to the last digit, and are the same however often they are computed.
    """

    cost: Decimal
    weight: Decimal
    shared_weight: Decimal = ZERO

    def share(self, weight: Decimal) -> Decimal:
        """Return the share of the next instance."""
        before = self._until(self.shared_weight)
        self.shared_weight += weight
        return self._until(self.shared_weight) - before

    def from_weight(self, shared_weight: Decimal) -> "Pool":
        """Return a pool of which instances with that weight together have had their shares."""
        return replace(self, shared_weight=shared_weight)

    @property
    def unshared(self) -> Decimal:
        """What nobody gets, because nobody has a weight."""
        return ZERO if self.weight else self.cost

    def _until(self, weight: Decimal) -> Decimal:
        return last_digit(self.cost * weight / self.weight) if self.weight else ZERO


@dataclass(frozen=True, slots=True)
class Totals:
    """What all instances of a cluster in a region together pay for its nodes, and weigh."""

    region: str
    of_nodes: Decimal = ZERO
    idle: Decimal = ZERO
    overhead: Decimal = ZERO

    def plus(self, of_nodes: Decimal, weights: Weights) -> "Totals":
        """Return the totals with more of it."""
        return replace(
            self,
            of_nodes=self.of_nodes + of_nodes,
            idle=self.idle + weights[Component.IDLE],
            overhead=self.overhead + weights[Component.OVERHEAD],
        )


type TotalsOfClusters = Mapping[ClusterName, Totals]


def running_totals(parts: Iterable[TotalsOfClusters]) -> Sequence[TotalsOfClusters]:
    """Return the totals before each part, and last those of all parts together."""
    found: list[TotalsOfClusters] = [{}]
    for part in parts:
        sums = dict(found[-1])
        for name, each in part.items():
            weights = {Component.IDLE: each.idle, Component.OVERHEAD: each.overhead}
            sums[name] = sums.get(name, Totals(each.region)).plus(each.of_nodes, weights)
        found.append(sums)
    return found


@dataclass(frozen=True, slots=True)
class Pools:
    """What is shared out: the idle cost and the overhead of each cluster, and the overhead of all together."""

    idle: Mapping[ClusterName, Pool]
    overhead: Mapping[ClusterName, Pool]
    of_all: Pool

    def after(self, totals: TotalsOfClusters) -> "Pools":
        """Return the pools when the instances of these totals have had their shares."""
        none = Totals("")
        return Pools(
            {name: pool.from_weight(totals.get(name, none).idle) for name, pool in self.idle.items()},
            {name: pool.from_weight(totals.get(name, none).overhead) for name, pool in self.overhead.items()},
            self.of_all.from_weight(sum((each.overhead for each in totals.values()), ZERO)),
        )

    def shares(self, cluster: ClusterName, weights: Weights) -> Mapping[Component, Decimal]:
        """Return the shares of the next instance, on its cluster, without those that are nothing.

        On a cluster that had no instance and was not registered when the pools were made, there are none.
        """
        if cluster not in self.idle:
            return {}
        idle, overhead = weights[Component.IDLE], weights[Component.OVERHEAD]
        shares = {
            Component.IDLE: self.idle[cluster].share(idle),
            Component.OVERHEAD: self.overhead[cluster].share(overhead) + self.of_all.share(overhead),
        }
        return {name: share for name, share in shares.items() if share}


def idle_cost(nodes: Decimal, of_nodes: Decimal) -> Decimal:
    """Return what of the nodes' cost no instance pays for.

    More may be paid for than was seen: nodes that came and went between two looks. Then nothing was idle.
    """
    return max(ZERO, nodes - of_nodes)
