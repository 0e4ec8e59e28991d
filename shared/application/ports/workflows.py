"""The durable orchestrations."""

from datetime import datetime
from typing import Protocol

from shared.domain.operations import Operation
from shared.domain.sweeps import SweepId


class Workflows(Protocol):
    """Starts and ends the orchestrations of operations. All methods raise Transient when the task hub is away."""

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running."""
        ...

    async def start_sweep(self, sweep_id: SweepId) -> None:
        """Start the orchestration of a sweep unless it is running."""
        ...

    async def is_running(self, operation: Operation) -> bool:
        """Whether the orchestration of an operation is pending or running."""
        ...

    async def terminate(self, operation: Operation) -> None:
        """End the orchestration of an operation, which itself stays open."""
        ...

    async def purge(self, *, before: datetime, timeout: float) -> int:
        """Delete the ended orchestrations that were started before a moment, and return how many those were.

        After `timeout` seconds it stops; the next call continues.
        """
        ...
