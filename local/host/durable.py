"""Durable functions: takes work from the task hub and hands each item to the function it is for."""

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import azure.functions as func
import grpc
from azure.durable_functions.internal.converters import ActivityTriggerConverter
from azure.functions.meta import Datum
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf.wrappers_pb2 import StringValue

from local.host.app import App, Function, invoke

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
RECONNECT_SECONDS = 0.5
COMPLETE_TRIES = 5
DRAIN_SECONDS = 5

logger = logging.getLogger("durable")


def client_configuration(app: App, task_hub: str) -> str:
    """Return what the real extension gives to a durable client binding."""
    hub = app.extension("durableTask").get("hubName", "TestHubName")
    return json.dumps({"taskHubName": hub, "rpcBaseUrl": f"http://{task_hub}", "connectionName": "AzureWebJobsStorage"})


class DurableWorker:
    """Runs the app's orchestrators, activities and entities.

    Args:
        app: The app.
        task_hub: The hub's HOST:PORT.
        durable_client: The configuration of durable client bindings.
    """

    def __init__(self, app: App, task_hub: str, durable_client: str) -> None:
        self._task_hub = task_hub
        self._durable_client = durable_client
        self._orchestrators = _by_name(app, "orchestrationTrigger", "orchestration")
        self._activities = _by_name(app, "activityTrigger", "activity")
        self._entities = {name.lower(): each for name, each in _by_name(app, "entityTrigger", "entityName").items()}
        limits = app.extension("durableTask")
        self._activity_places = asyncio.Semaphore(limits.get("maxConcurrentActivityFunctions", 20))
        self._orchestrator_places = asyncio.Semaphore(limits.get("maxConcurrentOrchestratorFunctions", 20))
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled, and then finish what is running; connects again whenever the hub went away."""
        if not self._orchestrators and not self._activities and not self._entities:
            return
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        # One channel for all streams: what was taken from an earlier one is still to be handed in.
        async with grpc.aio.insecure_channel(self._task_hub, options=options) as channel:
            await self._follow(stubs.TaskHubSidecarServiceStub(channel))

    async def _follow(self, stub: Any) -> None:
        while True:
            try:
                async for item in stub.GetWorkItems(pb.GetWorkItemsRequest()):
                    self._start(self._work(stub, item))
                logger.warning("the task hub ended the stream of work")
            except grpc.aio.AioRpcError as error:
                logger.warning("the task hub cannot be reached: %s", error.code().name)
            except asyncio.CancelledError:
                await self._drain()  # while the channel is there to hand results in
                raise
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _drain(self) -> None:
        """Wait for what is running, for a while; the hub gives the rest out again."""
        if self._running:
            await asyncio.wait(self._running, timeout=DRAIN_SECONDS)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _work(self, stub: Any, item: pb.WorkItem) -> None:
        try:
            if item.HasField("activityRequest"):
                async with self._activity_places:
                    answer = await self._activity(item)
                await _complete(stub.CompleteActivityTask, answer)
            elif item.HasField("orchestratorRequest"):
                async with self._orchestrator_places:
                    answer = await self._orchestrate(item)
                await _complete(stub.CompleteOrchestratorTask, answer)
            elif item.HasField("entityRequestV2"):
                async with self._orchestrator_places:
                    answer = await self._entity(item)
                await _complete(stub.CompleteEntityTask, answer)
        except grpc.aio.AioRpcError as error:
            logger.warning("a result was not taken by the task hub: %s", error.code().name)
        except Exception:
            logger.exception("a work item broke off")

    async def _activity(self, item: pb.WorkItem) -> pb.ActivityResponse:
        request = item.activityRequest
        instance = request.orchestrationInstance.instanceId
        answer = pb.ActivityResponse(instanceId=instance, taskId=request.taskId, completionToken=item.completionToken)
        began = asyncio.get_running_loop().time()
        try:
            function = self._activities[request.name]
            datum = Datum(request.input.value if request.HasField("input") else "null", "json")
            argument = ActivityTriggerConverter.decode(datum, trigger_metadata=None)
            result = await invoke(function, {function.trigger["name"]: argument}, self._durable_client)
            text: Any = ActivityTriggerConverter.encode(result, expected_type=None).value
            answer.result.CopyFrom(StringValue(value=text))
        except Exception as error:
            logger.warning("activity %s of %s raised %s: %s", request.name, instance, type(error).__name__, error)
            answer.failureDetails.CopyFrom(_failure(error))
        else:
            milliseconds = (asyncio.get_running_loop().time() - began) * 1000
            logger.info("activity %s of %s ok in %.0f ms", request.name, instance, milliseconds)
        return answer

    async def _orchestrate(self, item: pb.WorkItem) -> pb.OrchestratorResponse:
        request = item.orchestratorRequest
        name = next(
            event.executionStarted.name
            for event in (*request.newEvents, *request.pastEvents)
            if event.HasField("executionStarted")
        )
        answer = pb.OrchestratorResponse()
        try:
            function = self._orchestrators[name]
            context = func.OrchestrationContext(base64.b64encode(request.SerializeToString()).decode())
            text = await invoke(function, {function.trigger["name"]: context}, self._durable_client)
            answer.ParseFromString(base64.b64decode(text))
        except Exception as error:
            logger.exception("orchestrator %s of %s broke off", name, request.instanceId)
            action = helpers.new_complete_orchestration_action(
                -1, pb.ORCHESTRATION_STATUS_FAILED, failure_details=_failure(error)
            )
            answer = pb.OrchestratorResponse(instanceId=request.instanceId, actions=[action])
        answer.completionToken = item.completionToken
        for action in answer.actions:
            if action.HasField("completeOrchestration"):
                status = pb.OrchestrationStatus.Name(action.completeOrchestration.orchestrationStatus)
                logger.info("%s %s %s", name, request.instanceId, status.removeprefix("ORCHESTRATION_STATUS_").lower())
        return answer

    async def _entity(self, item: pb.WorkItem) -> pb.EntityBatchResult:
        batch, operations = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        name = EntityInstanceId.parse(batch.instanceId).entity
        function = self._entities[name.lower()]
        context = func.EntityContext(base64.b64encode(batch.SerializeToString()).decode())
        text = await invoke(function, {function.trigger["name"]: context}, self._durable_client)
        answer = pb.EntityBatchResult()
        answer.ParseFromString(base64.b64decode(text))
        answer.completionToken = item.completionToken
        answer.operationInfos.extend(operations)
        return answer


def _by_name(app: App, kind: str, member: str) -> dict[str, Function]:
    return {str(function.trigger.get(member) or function.name): function for function in app.of_kind(kind)}


def _failure(error: Exception) -> pb.TaskFailureDetails:
    stack = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return pb.TaskFailureDetails(
        errorType=helpers.get_qualified_name(type(error)),
        errorMessage=str(error) or type(error).__name__,
        stackTrace=StringValue(value=stack),
    )


async def _complete(call: Callable[[Any], Awaitable[Any]], answer: Any) -> None:
    """Hand a result in; the hub takes it once, so sending it again is safe."""
    for left in reversed(range(COMPLETE_TRIES)):
        try:
            await call(answer)
        except grpc.aio.AioRpcError as error:
            if not left or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.2)
        else:
            return
