"""The durable orchestrations, through the client that the Functions host passes to a trigger."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.durable_functions import DurableFunctionsClient
from durabletask.client import OrchestrationStatus
from grpc import RpcError, StatusCode

from shared.domain.operations import Operation
from shared.domain.sweeps import SweepId
from shared.domain.workflow import SWEEP_ORCHESTRATOR, SweepWork, Work
from shared.errors import Permanent, Transient
from shared.telemetry.recorder import recorder

_RUNNING = {
    OrchestrationStatus.PENDING,
    OrchestrationStatus.RUNNING,
    OrchestrationStatus.SUSPENDED,
    OrchestrationStatus.CONTINUED_AS_NEW,
}
_ENDED = [OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # the extension requires a beginning, and Table Storage one after 1601
GRACE_SECONDS = 30.0  # for a host that is too old for the time-out, or has work left when it is over


class DurableWorkflows:
    """Implements `shared.application.ports.workflows.Workflows`.

    An orchestration's id follows from its operation, so starting it again never makes a second one.
    """

    def __init__(self, client: DurableFunctionsClient) -> None:
        self._client = client

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running; raises Transient."""
        work = Work(operation.slug, operation.id, trace=operation.trace)
        # Whoever gives a slot back, or a timer, starts it; it belongs to the trace of its own request all the same.
        with recorder().within(operation.trace):
            await self._start(operation.rules.orchestrator, work.encode(), operation.orchestration_id)

    async def start_sweep(self, sweep_id: SweepId) -> None:
        """Start the orchestration of a sweep unless it is running; raises Transient."""
        await self._start(SWEEP_ORCHESTRATOR, SweepWork(sweep_id).encode(), sweep_id)

    async def is_running(self, operation: Operation) -> bool:
        """Whether the orchestration of an operation is pending or running; raises Transient."""
        return await self._is_running(operation.orchestration_id)

    async def terminate(self, operation: Operation) -> None:
        """End the orchestration of an operation, which itself stays open; raises Transient."""
        async with _map_errors():
            await self._client.terminate_orchestration(operation.orchestration_id, output="no heartbeat for too long")

    async def purge(self, *, before: datetime, timeout: float) -> int:
        """Delete the ended orchestrations that were started before a moment, and return how many those were.

        After `timeout` seconds it stops; the next call continues. Raises Transient.
        """
        async with _map_errors(), asyncio.timeout(timeout + GRACE_SECONDS):
            result = await self._client.purge_orchestrations_by(
                created_time_from=EARLIEST,
                created_time_to=before,
                runtime_status=_ENDED,
                timeout=timedelta(seconds=timeout),
            )
        return result.deleted_instance_count

    async def check(self) -> None:
        """Return if the task hub responds; raises Transient."""
        await self._is_running("dependency-check")

    async def _start(self, orchestrator: str, work: dict[str, Any], orchestration_id: str) -> None:
        try:
            async with _map_errors():
                await self._client.schedule_new_orchestration(orchestrator, input=work, instance_id=orchestration_id)
        except Transient:
            if not await self._is_running(orchestration_id):
                raise

    async def _is_running(self, orchestration_id: str) -> bool:
        async with _map_errors():
            state = await self._client.get_orchestration_state(orchestration_id, fetch_payloads=False)
        return state is not None and state.runtime_status in _RUNNING


@asynccontextmanager
async def _map_errors() -> AsyncGenerator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Transient("the task hub did not respond in time") from error
    except RpcError as error:
        code = getattr(error, "code", lambda: None)()
        text = f"the task hub failed with {code.name if isinstance(code, StatusCode) else 'no status'}"
        if code in (StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED, StatusCode.PERMISSION_DENIED):
            raise Permanent(text) from error
        raise Transient(text) from error
