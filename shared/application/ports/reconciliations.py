"""The repository of what reconciliation has found, and counted."""

from collections.abc import Sequence
from typing import Protocol

from shared.application.ports.stored import Page
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.fleet_states import FleetStates
from shared.domain.reconciliation import UNKNOWN, FindingState, RecordedFinding
from shared.domain.slugs import Slug


class ReconciliationRepository(Protocol):
    """The findings and the positions. Timers write them, one run at a time, and whoever forgets an instance."""

    async def open(self) -> Sequence[RecordedFinding]:
        """Return the findings that have not ended; a row that cannot be read is skipped."""
        ...

    async def save(self, findings: Sequence[RecordedFinding]) -> None:
        """Write findings; each replaces an earlier one of the same kind, cluster and subject."""
        ...

    async def list(
        self,
        state: FindingState | None,
        *,
        limit: int,
        token: str,
        cluster: ClusterName = NO_CLUSTER,
        slug: Slug = UNKNOWN,
    ) -> Page[RecordedFinding]:
        """Return up to `limit` findings in a stable order; raises Invalid for a token that is not ours.

        Args:
            state: Only those in this state, or None for all.
            limit: How many at most.
            token: The `next_token` of the part before, or empty.
            cluster: Only those of this cluster, unless it is empty.
            slug: Only those about this tenant, unless it is empty.
        """
        ...

    async def position(self, cluster: ClusterName) -> str:
        """Return up to where a cluster's removed namespaces were read, or an empty string if they never were."""
        ...

    async def save_position(self, cluster: ClusterName, position: str) -> None:
        """Write up to where a cluster's removed namespaces were read."""
        ...

    async def states(self) -> FleetStates | None:
        """Return how many tenants were in each state when they were counted last; None if they never were."""
        ...

    async def save_states(self, states: FleetStates) -> None:
        """Write how many tenants are in each state."""
        ...
