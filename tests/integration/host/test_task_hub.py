"""The task hub alone, with the test as the host: hosts that disconnect, complete work late, or complete it twice."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import grpc
import pytest
from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationStatus
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs

from local.ports import Ports
from local.processes import Processes

ROOT = Path(__file__).parents[3]
KEEP = 5
REDELIVERY = 1.5


@dataclass
class Hub:
    process: int
    stub: Any
    client: AsyncTaskHubGrpcClient

    def work(self) -> Any:
        """Open a stream of work, as a host does."""
        return self.stub.GetWorkItems(pb.GetWorkItemsRequest())

    async def start(self, instance: str = "") -> str:
        return await self.client.schedule_new_orchestration("any", instance_id=instance or token_hex(6))

    async def decide(self, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        instance = item.orchestratorRequest.instanceId
        completion = pb.OrchestratorResponse(instanceId=instance, completionToken=item.completionToken, actions=actions)
        await self.stub.CompleteOrchestratorTask(completion)

    async def finish(self, item: pb.WorkItem, result: str) -> None:
        request = item.activityRequest
        completion = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
            result=helpers.get_string_value(result),
        )
        await self.stub.CompleteActivityTask(completion)


@asynccontextmanager
async def running_hub(processes: Processes, ports: Ports, *options: str) -> AsyncGenerator[Hub]:
    port, name = ports.take(), f"hub-{token_hex(4)}"

    async def ready() -> bool:
        return "task hub on" in processes.log(name).read_text()

    command = [sys.executable, "-m", "local.task_hub", "--port", str(port), "--keep", str(KEEP), *options]
    await processes.start(name, command, ready=ready, environment={"PYTHONPATH": str(ROOT)})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = AsyncTaskHubGrpcClient(host_address=f"127.0.0.1:{port}")
        yield Hub(processes.pids()[name], stubs.TaskHubSidecarServiceStub(channel), client)
        await client.close()
    await processes.stop(name)


@pytest.fixture
async def hub(processes: Processes, ports: Ports) -> AsyncIterator[Hub]:
    async with running_hub(processes, ports) as held:
        yield held


@pytest.fixture
async def patient_hub(processes: Processes, ports: Ports) -> AsyncIterator[Hub]:
    """A hub that gives the work of a lost host out again only after a while."""
    async with running_hub(processes, ports, "--redelivery", str(REDELIVERY)) as held:
        yield held


def schedule() -> pb.OrchestratorAction:
    return helpers.new_schedule_task_action(1, "step", None, None, None)


def complete() -> pb.OrchestratorAction:
    return helpers.new_complete_orchestration_action(9, pb.ORCHESTRATION_STATUS_COMPLETED, '"done"')


def results(item: pb.WorkItem) -> list[str]:
    events = item.orchestratorRequest.newEvents
    return [event.taskCompleted.result.value for event in events if event.HasField("taskCompleted")]


async def test_a_second_completion_of_an_activity_is_ignored(hub: Hub) -> None:
    await hub.start()
    stream = hub.work()
    await hub.decide(await stream.read(), schedule())
    activity = await stream.read()
    await hub.finish(activity, '"first"')
    await hub.finish(activity, '"second"')
    item = await stream.read()
    assert results(item) == ['"first"']
    await hub.decide(item, complete())


async def test_an_activity_of_two_hosts_is_completed_once(hub: Hub) -> None:
    await hub.start()
    dead = hub.work()
    await hub.decide(await dead.read(), schedule())
    lost = await dead.read()
    dead.cancel()
    stream = hub.work()
    again = await stream.read()
    assert again.activityRequest == lost.activityRequest
    await hub.finish(lost, '"from the disconnected host"')
    await hub.finish(again, '"late"')
    assert results(await stream.read()) == ['"from the disconnected host"']


async def test_late_decisions_of_a_lost_host_are_ignored(hub: Hub) -> None:
    instance = await hub.start()
    dead = hub.work()
    lost = await dead.read()
    dead.cancel()
    stream = hub.work()
    again = await stream.read()
    assert again.orchestratorRequest.newEvents == lost.orchestratorRequest.newEvents
    await hub.decide(lost, complete())
    await hub.decide(again, schedule())
    activity = await stream.read()
    assert activity.activityRequest.name == "step"
    state = await hub.client.get_orchestration_state(instance)
    assert state is not None
    assert state.runtime_status is OrchestrationStatus.RUNNING


async def test_what_a_late_host_scheduled_runs_too(hub: Hub) -> None:
    await hub.start()
    dead = hub.work()
    lost = await dead.read()
    dead.cancel()
    stream = hub.work()
    again = await stream.read()
    await hub.decide(again, schedule())
    own = await stream.read()
    await hub.decide(lost, schedule())
    late = await stream.read()
    assert late.activityRequest == own.activityRequest
    await hub.finish(late, '"first"')
    await hub.finish(own, '"second"')
    item = await stream.read()
    assert results(item) == ['"first"']
    await hub.decide(item, complete())


async def test_the_starters_trace_reaches_whoever_gets_the_work(hub: Hub) -> None:
    trace = pb.TraceContext(traceParent=f"00-{token_hex(16)}-{token_hex(8)}-01")
    await hub.stub.StartInstance(pb.CreateInstanceRequest(instanceId="any", name="any", parentTraceContext=trace))
    dead = hub.work()
    lost = await dead.read()
    dead.cancel()
    stream = hub.work()
    again = await stream.read()
    for turn in (lost, again):
        [started] = [each for each in turn.orchestratorRequest.newEvents if each.HasField("executionStarted")]
        assert started.executionStarted.parentTraceContext == trace
    await hub.decide(again)
    await hub.decide(lost, schedule())  # which is in nobody's history
    assert (await stream.read()).activityRequest.parentTraceContext == trace


async def test_work_of_a_lost_host_comes_back_late(patient_hub: Hub) -> None:
    hub = patient_hub
    await hub.start()
    dead = hub.work()
    await hub.decide(await dead.read(), schedule())
    lost = await dead.read()
    dead.cancel()
    began = time.monotonic()
    stream = hub.work()
    other = await hub.start()
    assert (await stream.read()).orchestratorRequest.instanceId == other
    assert time.monotonic() - began < REDELIVERY
    assert (await stream.read()).activityRequest == lost.activityRequest
    assert time.monotonic() - began >= REDELIVERY


async def test_work_completed_before_it_comes_back(patient_hub: Hub) -> None:
    hub = patient_hub
    instance = await hub.start()
    dead = hub.work()
    lost = await dead.read()
    dead.cancel()
    stream = hub.work()
    await hub.decide(lost, schedule())
    await hub.finish(await stream.read(), '"once"')
    item = await stream.read()
    assert results(item) == ['"once"']
    await hub.decide(item, complete())
    state = await hub.client.wait_for_orchestration_completion(instance, timeout=5)
    assert state is not None
    assert state.runtime_status is OrchestrationStatus.COMPLETED


async def test_only_an_ended_instance_is_replaced(hub: Hub) -> None:
    instance = await hub.start()
    stream = hub.work()
    item = await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hub.start(instance)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    await hub.decide(item, schedule(), complete())
    before = await stream.read()
    await hub.start(instance)
    await hub.decide(await stream.read(), schedule())
    await hub.finish(before, '"of the instance before"')
    await hub.finish(await stream.read(), '"own"')
    assert results(await stream.read()) == ['"own"']


async def test_the_oldest_ended_instances_are_forgotten(hub: Hub) -> None:
    stream = hub.work()
    instances = [await hub.start() for _ in range(KEEP + 2)]
    for _ in instances:
        await hub.decide(await stream.read(), complete())
    states = [await hub.client.get_orchestration_state(instance) for instance in instances]
    assert [state is not None for state in states] == [False] * 2 + [True] * KEEP


async def test_it_ends_at_once_while_a_client_waits(hub: Hub) -> None:
    instance = await hub.start()
    waiting = asyncio.create_task(hub.client.wait_for_orchestration_completion(instance, timeout=30))
    stream = hub.work()
    await stream.read()
    began = time.monotonic()
    os.kill(hub.process, signal.SIGTERM)
    with pytest.raises(grpc.aio.AioRpcError):
        await waiting
    while Path(f"/proc/{hub.process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() - began < 1
        await asyncio.sleep(0.01)
