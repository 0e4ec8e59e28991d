"""The repository of what reconciliation has found, and counted."""

from collections.abc import Sequence
from typing import Protocol

from shared.application.ports.stored import Page
from shared.domain.clusters import ClusterName
from shared.domain.fleet_states import FleetStates
from shared.domain.reconciliation import FindingState, RecordedFinding


class ReconciliationRepository(Protocol):
    """The findings and the positions. Timers write them, one run at a time, and whoever forgets an instance."""

    async def open(self) -> Sequence[RecordedFinding]:
        """Return the findings that have not ended; a row that cannot be read is skipped."""
        ...

    async def save(self, findings: Sequence[RecordedFinding]) -> None:
        """Write findings; each replaces an earlier one of the same kind, cluster and subject."""
        ...

    async def list(self, state: FindingState | None, *, limit: int, token: str) -> Page[RecordedFinding]:
        """Return up to `limit` findings in a stable order; raises Invalid for a token that is not ours."""
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
