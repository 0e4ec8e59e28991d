"""The task hub in memory: which orchestrations were started, and which of them run."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.operations import Operation, OperationId
from shared.errors import Transient


@dataclass(slots=True)
class FakeWorkflows:
    """Implements `shared.application.ports.workflows.Workflows`.

    Attributes:
        running: The operations whose orchestration runs. Clear it, and the task hub was replaced.
        started: Every start that made an orchestration, in order.
        terminated: What was ended.
        purged: Before which moments ended orchestrations were purged.
        away: Whether the task hub does not answer.
    """

    running: dict[OperationId, Operation] = field(default_factory=dict[OperationId, Operation])
    started: list[OperationId] = field(default_factory=list[OperationId])
    terminated: list[OperationId] = field(default_factory=list[OperationId])
    purged: list[datetime] = field(default_factory=list[datetime])
    away: bool = False

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running."""
        await self.check()
        if operation.id not in self.running:
            self.running[operation.id] = operation
            self.started.append(operation.id)

    async def is_running(self, operation_id: OperationId) -> bool:
        """Whether the orchestration of an operation is pending or running."""
        await self.check()
        return operation_id in self.running

    async def terminate(self, operation_id: OperationId) -> None:
        """End the orchestration of an operation, which itself stays open."""
        await self.check()
        self.running.pop(operation_id, None)
        self.terminated.append(operation_id)

    async def purge(self, *, before: datetime, timeout: float) -> int:
        """Delete the ended orchestrations of before a moment: those that were started and do not run."""
        await self.check()
        self.purged.append(before)
        ended = [each for each in self.started if each not in self.running]
        self.started = [each for each in self.started if each in self.running]
        return len(ended)

    async def check(self) -> None:
        """Return if the task hub answers; raises Transient."""
        await asyncio.sleep(0)
        if self.away:
            raise Transient("the task hub is away")
