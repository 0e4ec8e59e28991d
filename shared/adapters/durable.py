"""The durable orchestrations, through the client that the Functions host passes to a trigger."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from azure.durable_functions import DurableFunctionsClient
from durabletask.client import OrchestrationStatus
from grpc import RpcError, StatusCode

from shared.domain.operations import Operation, OperationId
from shared.domain.workflow import Work
from shared.errors import Permanent, Transient

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

    An orchestration has the id of its operation, so starting it again never makes a second one.
    """

    def __init__(self, client: DurableFunctionsClient, *, fail_after: float) -> None:
        self._client = client
        self._fail_after = fail_after

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running; raises Transient."""
        work = Work(operation.slug, operation.id, self._fail_after)
        try:
            async with _map_errors():
                await self._client.schedule_new_orchestration(
                    operation.rules.orchestrator, input=work.encode(), instance_id=operation.id
                )
        except Transient:
            if not await self.is_running(operation.id):
                raise

    async def is_running(self, operation_id: OperationId) -> bool:
        """Whether the orchestration of an operation is pending or running; raises Transient."""
        async with _map_errors():
            state = await self._client.get_orchestration_state(operation_id, fetch_payloads=False)
        return state is not None and state.runtime_status in _RUNNING

    async def terminate(self, operation_id: OperationId) -> None:
        """End the orchestration of an operation, which itself stays open; raises Transient."""
        async with _map_errors():
            await self._client.terminate_orchestration(operation_id, output="no heartbeat for too long")

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
        await self.is_running(OperationId("dependency-check"))


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
