"""The adapter of the orchestrations, with the durable client that the Functions host gives, on the local task hub."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from azure.durable_functions import DurableFunctionsClient
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs

from local.ports import Ports
from local.task_hub import TaskHub
from shared.adapters.durable import DurableWorkflows
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation, new_operation
from shared.errors import Transient
from tests.support.builders import new_slug
from tests.support.clock import START

MINUTE = timedelta(minutes=1)


@dataclass
class Hub:
    address: str
    client: DurableFunctionsClient
    workflows: DurableWorkflows

    async def end(self, count: int) -> None:
        """Do the work of a host: end so many orchestrations."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub: Any = stubs.TaskHubSidecarServiceStub(channel)
            stream = stub.GetWorkItems(pb.GetWorkItemsRequest())
            for _ in range(count):
                item = await stream.read()
                action = helpers.new_complete_orchestration_action(1, pb.ORCHESTRATION_STATUS_COMPLETED, '"done"')
                completion = pb.OrchestratorResponse(
                    instanceId=item.orchestratorRequest.instanceId,
                    completionToken=item.completionToken,
                    actions=[action],
                )
                await stub.CompleteOrchestratorTask(completion)
            stream.cancel()

    async def known(self, operation: Operation) -> bool:
        return await self.client.get_orchestration_state(operation.id) is not None


@pytest.fixture
def ports() -> Iterator[Ports]:
    held = Ports()
    yield held
    held.release()


@pytest.fixture
async def hub(ports: Ports) -> AsyncIterator[Hub]:
    backend = TaskHub(ports.take())
    address = backend.start()
    client = DurableFunctionsClient(json.dumps({"taskHubName": "berth", "rpcBaseUrl": f"http://{address}"}))
    yield Hub(address, client, DurableWorkflows(client))
    await client.close()
    backend.stop()


def operation() -> Operation:
    return new_operation(OperationKind.DELETE, new_slug(), actor="portal", now=START)


async def test_only_ended_orchestrations_are_purged(hub: Hub) -> None:
    ended, running = [operation(), operation()], operation()
    for each in ended:
        await hub.workflows.start(each)
    await hub.end(2)
    await hub.workflows.start(running)
    now = datetime.now(UTC)
    assert await hub.workflows.purge(before=now - MINUTE, timeout=5) == 0
    assert [await hub.known(each) for each in ended] == [True, True]
    assert await hub.workflows.purge(before=now + MINUTE, timeout=5) == 2
    assert [await hub.known(each) for each in ended] == [False, False]
    assert await hub.workflows.is_running(running)
    assert await hub.workflows.purge(before=now + MINUTE, timeout=5) == 0


async def test_a_purged_orchestration_can_be_started(hub: Hub) -> None:
    again = operation()
    await hub.workflows.start(again)
    await hub.end(1)
    assert await hub.workflows.purge(before=datetime.now(UTC) + MINUTE, timeout=5) == 1
    assert not await hub.workflows.is_running(again)
    await hub.workflows.start(again)
    assert await hub.workflows.is_running(again)


async def test_a_task_hub_that_is_away_is_transient(ports: Ports) -> None:
    address = f"http://127.0.0.1:{ports.take()}"
    client = DurableFunctionsClient(json.dumps({"taskHubName": "berth", "rpcBaseUrl": address}))
    with pytest.raises(Transient):
        await DurableWorkflows(client).purge(before=datetime.now(UTC), timeout=5)
    await client.close()
