"""How many tenants there are in each state: counted by a timer that reads all of them anyway, and not by a request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState


@dataclass(frozen=True, slots=True)
class FleetStates:
    """The tenants by cluster and state, as they were at a moment; those without a cluster are under an empty name."""

    at: datetime
    counts: Mapping[ClusterName, Mapping[TenantState, int]]

    def of_state(self, state: TenantState) -> int:
        """Return how many tenants of the whole fleet are in a state."""
        return sum(each.get(state, 0) for each in self.counts.values())

    def of_cluster(self, cluster: ClusterName, state: TenantState) -> int:
        """Return how many tenants of a cluster are in a state."""
        return self.counts.get(cluster, {}).get(state, 0)

    def elsewhere(self, clusters: Collection[ClusterName], state: TenantState) -> int:
        """Return how many tenants in a state are on none of some clusters.

        That is where one is that failed: what was made for it is removed, and its place given back.
        """
        return sum(each.get(state, 0) for cluster, each in self.counts.items() if cluster not in clusters)

    @classmethod
    def of(cls, counts: Mapping[tuple[ClusterName, TenantState], int], at: datetime) -> Self:
        """Return them from the number of tenants of each cluster and state."""
        clusters: dict[ClusterName, dict[TenantState, int]] = {}
        for (cluster, state), count in counts.items():
            clusters.setdefault(cluster, {})[state] = count
        return cls(at, clusters)
