"""Durable functions: takes work from the task hub and hands each item to the function it is for.

The host holds a lock on each item for as long as the process of its worker runs, so that each worker stands for one of
Azure's instances. When that process has been gone or stopped for the time of redelivery, the lock lapses: the item goes
back to the hub, which gives it out again, to a worker that runs. A worker that was only stopped may complete the item
late; what that is worth the hub decides. (The real extension may also report the death of a worker as the activity's
failure: Azure/azure-functions-durable-extension#2788.)
"""

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import grpc
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf.wrappers_pb2 import StringValue

from local.host.app import App, Function
from local.host.durable_spans import Turn, activity_span
from local.host.worker import FunctionFailedError, Worker, WorkerLostError
from local.host.workers import Workers
from local.worker import protos

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
RECONNECT_SECONDS = 0.5
COMPLETE_TRIES = 5
DRAIN_SECONDS = 5

logger = logging.getLogger("durable")


def client_configuration(app: App, task_hub: str) -> str:
    """Return what the real extension gives to a durable client binding."""
    hub = app.extension("durableTask").get("hubName", "TestHubName")
    return json.dumps({"taskHubName": hub, "rpcBaseUrl": f"http://{task_hub}", "connectionName": "AzureWebJobsStorage"})


class DurableWork:
    """Runs the app's orchestrators, activities and entities. host.json's limits hold for all workers together.

    Args:
        app: The app.
        workers: Who runs it.
        task_hub: The hub's HOST:PORT.
        redelivery: After how many seconds the work of a worker that died or was stopped is given to another one, as
            Azure's visibility timeouts. 0: at once when it died, and never while it is only stopped.
    """

    def __init__(self, app: App, workers: Workers, task_hub: str, redelivery: float) -> None:
        self._task_hub = task_hub
        self._redelivery = redelivery
        self._workers = workers
        self._orchestrators = _by_name(workers, "orchestrationTrigger", "orchestration")
        self._activities = _by_name(workers, "activityTrigger", "activity")
        self._entities = {name.lower(): each for name, each in _by_name(workers, "entityTrigger", "entityName").items()}
        limits = app.extension("durableTask")
        self._activity_places = asyncio.Semaphore(limits.get("maxConcurrentActivityFunctions", 20))
        self._orchestrator_places = asyncio.Semaphore(limits.get("maxConcurrentOrchestratorFunctions", 20))
        self._running: set[asyncio.Task[None]] = set()
        self._locks: set[asyncio.Task[None]] = set()

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
                    _start(self._work(stub, item), self._running)
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

    async def _work(self, stub: Any, item: pb.WorkItem) -> None:
        if item.HasField("activityRequest"):
            places, run, complete = self._activity_places, self._activity, stub.CompleteActivityTask
            abandon, abandoned = stub.AbandonTaskActivityWorkItem, pb.AbandonActivityTaskRequest
        elif item.HasField("orchestratorRequest"):
            places, run, complete = self._orchestrator_places, self._orchestrate, stub.CompleteOrchestratorTask
            abandon, abandoned = stub.AbandonTaskOrchestratorWorkItem, pb.AbandonOrchestrationTaskRequest
        else:
            places, run, complete = self._orchestrator_places, self._entity, stub.CompleteEntityTask
            abandon, abandoned = stub.AbandonTaskEntityWorkItem, pb.AbandonEntityTaskRequest
        try:
            async with places:
                worker = await self._workers.take()
                give_back = partial(_complete, abandon, abandoned(completionToken=item.completionToken))
                lock = _start(self._lapse(worker, give_back), self._locks)
                try:
                    response: Any = await run(worker, item)
                except WorkerLostError:
                    return  # the lock lapses by itself
            if lock.done():
                logger.warning("worker process %d completed a work item late", worker.pid)
            lock.cancel()
            response.completionToken = item.completionToken
            await _complete(complete, response)
        except grpc.aio.AioRpcError as error:
            logger.warning("a result was not taken by the task hub: %s", error.code().name)
        except Exception:
            logger.exception("a work item broke off")

    async def _lapse(self, worker: Worker, give_back: Callable[[], Awaitable[None]]) -> None:
        """Give a work item back to the hub when its worker has not run for too long."""
        await worker.silence(self._redelivery)
        logger.warning("worker process %d ended or stalled; the task hub has a work item of it back", worker.pid)
        try:
            await give_back()
        except grpc.aio.AioRpcError as error:
            logger.warning("a work item was not taken back by the task hub: %s", error.code().name)

    async def _activity(self, worker: Worker, item: pb.WorkItem) -> pb.ActivityResponse:
        request = item.activityRequest
        instance = request.orchestrationInstance.instanceId
        response = pb.ActivityResponse(instanceId=instance, taskId=request.taskId)
        began = asyncio.get_running_loop().time()
        try:
            data = protos.TypedData(json=request.input.value if request.HasField("input") else "null")
            with activity_span(request):
                result = await self._workers.invoke(_known(self._activities, request.name), data, worker)
        except FunctionFailedError as error:
            logger.warning("activity %s of %s raised %s: %s", request.name, instance, error.kind, error)
            response.failureDetails.CopyFrom(_failure(error))
        else:
            response.result.CopyFrom(StringValue(value=result.json))
            milliseconds = (asyncio.get_running_loop().time() - began) * 1000
            logger.info("activity %s of %s ended in %.0f ms", request.name, instance, milliseconds)
        return response

    async def _orchestrate(self, worker: Worker, item: pb.WorkItem) -> pb.OrchestratorResponse:
        request = item.orchestratorRequest
        turn = Turn.of(request)
        name = turn.name
        response = pb.OrchestratorResponse()
        try:
            with turn.current():
                response.ParseFromString(await self._decide(worker, _known(self._orchestrators, name), request))
        except FunctionFailedError as error:
            logger.error("orchestrator %s of %s broke off", name, request.instanceId, extra={"trace": error.trace})  # noqa: TRY400
            action = helpers.new_complete_orchestration_action(
                -1, pb.ORCHESTRATION_STATUS_FAILED, failure_details=_failure(error)
            )
            response = pb.OrchestratorResponse(instanceId=request.instanceId, actions=[action])
        for action in response.actions:
            if action.HasField("completeOrchestration"):
                status = pb.OrchestrationStatus.Name(action.completeOrchestration.orchestrationStatus)
                logger.info("%s %s %s", name, request.instanceId, status.removeprefix("ORCHESTRATION_STATUS_").lower())
        turn.complete(response)
        return response

    async def _entity(self, worker: Worker, item: pb.WorkItem) -> pb.EntityBatchResult:
        batch, operations = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        name = EntityInstanceId.parse(batch.instanceId).entity
        response = pb.EntityBatchResult()
        response.ParseFromString(await self._decide(worker, _known(self._entities, name.lower()), batch))
        response.operationInfos.extend(operations)
        return response

    async def _decide(self, worker: Worker, function: Function, request: Any) -> bytes:
        """Call an orchestrator or an entity with its request, in base64 as in Azure, and return its response."""
        data = protos.TypedData(string=base64.b64encode(request.SerializeToString()))
        return base64.b64decode((await self._workers.invoke(function, data, worker)).string)


def _start(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
    """Start a task and keep it in the set until it has ended."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


def _by_name(workers: Workers, kind: str, key: str) -> dict[str, Function]:
    return {str(function.trigger.get(key) or function.name): function for function in workers.of_kind(kind)}


def _known(functions: Mapping[str, Function], name: str) -> Function:
    if name not in functions:
        raise FunctionFailedError(f"ValueError: the app has no function {name}", "")
    return functions[name]


def _failure(error: FunctionFailedError) -> pb.TaskFailureDetails:
    return pb.TaskFailureDetails(
        errorType=error.kind, errorMessage=str(error) or error.kind, stackTrace=StringValue(value=error.trace)
    )


async def _complete(call: Callable[[Any], Awaitable[Any]], response: Any) -> None:
    """Hand a result in; the hub takes it once, so sending it again is safe."""
    for left in reversed(range(COMPLETE_TRIES)):
        try:
            await call(response)
        except grpc.aio.AioRpcError as error:
            if not left or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.2)
        else:
            return
