"""What an operator may change of a registered cluster without registering it anew."""

from dataclasses import replace

from shared.application.ports.clusters import ClusterRepository
from shared.domain.clusters import Cluster, ClusterName, ClusterState
from shared.errors import Conflict

MAX_TRIES = 10  # against other operators' changes of the same cluster


class ClusterRegistry:
    """Changes registrations so that no operator undoes what another one does at the same moment."""

    def __init__(self, clusters: ClusterRepository) -> None:
        self._clusters = clusters

    async def change(
        self, name: ClusterName, *, state: ClusterState | None, capacity: int | None, max_instances: int | None = None
    ) -> Cluster:
        """Change a cluster's state, its capacity in plan weights, or how many instances fit; return its allocation too.

        None leaves a field as it is. A limit below what is there moves nobody and lets no new tenants in.

        Raises:
            NotFound: No such cluster is registered.
            Conflict: Others change it all the time.
        """
        for _ in range(MAX_TRIES):
            stored = await self._clusters.get(name)
            before = stored.value
            after = replace(
                before,
                state=state or before.state,
                capacity=capacity or before.capacity,
                max_instances=max_instances or before.max_instances,
            )
            # An earlier try may have written this already, if only its response was lost.
            if after != before:
                try:
                    await self._clusters.save(stored.with_value(after))
                except Conflict:
                    continue
            return after
        raise Conflict(f"cluster {name} is changing too fast; send the request again")
