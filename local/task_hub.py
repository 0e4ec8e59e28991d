"""The task hub: durabletask's in-memory backend in a process of its own, with what a real hub promises added.

The backend is made for tests within one process. Here it listens on loopback only, gives work out again when the host
that took it has gone, takes each completion once, and replaces an ended instance of the same id, as the real one does.
"""

import argparse
import itertools
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import InMemoryOrchestrationBackend
from durabletask.testing.in_memory_backend import ActivityWorkItem

THREADS = 64  # each open stream and each wait holds one
KEEP_ENDED = 10_000

type Key = tuple[str, ...]


class TaskHub(InMemoryOrchestrationBackend):
    """A task hub for as long as its process lives."""

    def __init__(self, port: int) -> None:
        super().__init__(port=port)
        self._out: dict[Key, int] = {}  # work that some stream has and has not completed
        self._streams = itertools.count()

    def start(self) -> str:
        """Listen on loopback and return the address."""
        address = f"127.0.0.1:{self._port}"
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS))
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(address)
        self._server.start()
        return address

    def StartInstance(
        self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext
    ) -> pb.CreateInstanceResponse:
        """Start an orchestration; one of the same id that has ended makes place for it."""
        with self._lock:
            ended = [name for name, instance in self._instances.items() if self._is_terminal_status(instance.status)]
            for name in ended[: max(0, len(ended) - KEEP_ENDED)]:
                del self._instances[name]
            if request.instanceId in ended:
                self._instances.pop(request.instanceId, None)
            return super().StartInstance(request, context)

    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Iterator[pb.WorkItem]:
        """Stream work to a host, and take back what it has not completed when the stream ends."""
        stream = next(self._streams)
        given: dict[Key, pb.WorkItem] = {}
        try:
            for item in super().GetWorkItems(request, context):
                with self._lock:
                    for key in given.keys() - self._out.keys():
                        del given[key]
                    key = _key(item)
                    given[key] = item
                    self._out[key] = stream
                yield item
        finally:
            with self._lock:
                for key, item in given.items():
                    if self._out.get(key) == stream:
                        del self._out[key]
                        self._give_out_again(item)

    def CompleteActivityTask(
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take an activity's result, the first time that it comes."""
        with self._lock:
            key = ("activity", request.instanceId, str(request.taskId), request.completionToken)
            if self._out.pop(key, None) is None and not self._withdraw(key):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take an orchestrator's decisions."""
        with self._lock:
            if self._out.pop(("orchestration", request.instanceId, request.completionToken), None) is None:
                return pb.CompleteTaskResponse()
            return super().CompleteOrchestratorTask(request, context)

    def CompleteEntityTask(
        self, request: pb.EntityBatchResult, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Take an entity's results."""
        with self._lock:
            for key in [key for key in self._out if key[0] == "entity" and key[2] == request.completionToken]:
                del self._out[key]
            return super().CompleteEntityTask(request, context)

    def _withdraw(self, key: Key) -> bool:
        """Take an activity from the queue whose result came late, from a host that was taken for dead."""
        for item in self._activity_queue:
            if ("activity", item.instance_id, str(item.task_id), str(item.completion_token)) == key:
                self._activity_queue.remove(item)
                return True
        return False

    def _give_out_again(self, item: pb.WorkItem) -> None:
        kind, instance_id, *_ = _key(item)
        if kind == "activity":
            request = item.activityRequest
            self._activity_queue.append(
                ActivityWorkItem(
                    instance_id=instance_id,
                    name=request.name,
                    task_id=request.taskId,
                    input=request.input.value if request.HasField("input") else None,
                    completion_token=int(item.completionToken),
                    version=request.version.value if request.HasField("version") else None,
                )
            )
        elif kind == "orchestration":
            self._orchestration_in_flight.discard(instance_id)
            instance = self._instances.get(instance_id)
            if instance is not None and str(instance.completion_token) == item.completionToken:
                instance.pending_events[:0] = instance.dispatched_events
                instance.dispatched_events.clear()
                self._enqueue_orchestration(instance_id)
        else:
            self._entity_in_flight.discard(instance_id)
            entity = self._entities.get(instance_id)
            if entity is not None and str(entity.completion_token) == item.completionToken:
                entity.pending_operations[:0] = entity.dispatched_operations
                entity.dispatched_operations.clear()
                self._enqueue_entity(instance_id)
        self._work_available.set()


def _key(item: pb.WorkItem) -> Key:
    if item.HasField("activityRequest"):
        request = item.activityRequest
        instance = request.orchestrationInstance.instanceId
        return ("activity", instance, str(request.taskId), item.completionToken)
    if item.HasField("orchestratorRequest"):
        return ("orchestration", item.orchestratorRequest.instanceId, item.completionToken)
    return ("entity", item.entityRequestV2.instanceId, item.completionToken)


def main() -> None:
    """Run a task hub until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    hub = TaskHub(parser.parse_args().port)
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"task hub on {hub.start()}", flush=True)
    ended.wait()
    hub.stop(grace=0.2)
    sys.exit(0)


if __name__ == "__main__":
    main()
