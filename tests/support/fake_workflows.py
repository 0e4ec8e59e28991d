"""The task hub in memory: which orchestrations were started, and which of them run."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.operations import Operation
from shared.domain.sweeps import SweepId
from shared.errors import Transient


@dataclass(slots=True)
class FakeWorkflows:
    """Implements `shared.application.ports.workflows.Workflows`.

    Attributes:
        running: The orchestrations that run, with their operations. Clear it, and the task hub was replaced.
        started: The id of every orchestration that was made, in order.
        sweeps: The id of every sweep that was started, each time.
        terminated: The ids of those that were ended.
        purged: Before which moments ended orchestrations were purged.
        away: Whether the task hub does not answer.
    """

    running: dict[str, Operation] = field(default_factory=dict[str, Operation])
    started: list[str] = field(default_factory=list[str])
    sweeps: list[SweepId] = field(default_factory=list[SweepId])
    terminated: list[str] = field(default_factory=list[str])
    purged: list[datetime] = field(default_factory=list[datetime])
    away: bool = False

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running."""
        await self.check()
        key = operation.orchestration_id
        if key not in self.running:
            self.running[key] = operation
            self.started.append(key)

    async def start_sweep(self, sweep_id: SweepId) -> None:
        """Start the orchestration of a sweep unless it is running."""
        await self.check()
        self.sweeps.append(sweep_id)

    async def is_running(self, operation: Operation) -> bool:
        """Whether the orchestration of an operation is pending or running."""
        await self.check()
        return operation.orchestration_id in self.running

    async def terminate(self, operation: Operation) -> None:
        """End the orchestration of an operation, which itself stays open."""
        await self.check()
        self.running.pop(operation.orchestration_id, None)
        self.terminated.append(operation.orchestration_id)

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
