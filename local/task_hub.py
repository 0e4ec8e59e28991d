"""The task hub: durabletask's in-memory backend in a process of its own, with the guarantees of a real hub.

The backend is made for short tests within one process. This adds what a real hub does: work is dispatched again when
its host has disconnected; each completion is accepted once, and only for the execution that scheduled it; a parent is
notified of its sub-orchestration's end however late it comes; an ended instance of the same id is replaced; the trace
of whoever starts an orchestration goes on in all its turns and activities. It listens on loopback only, and fires all
timers from one thread.

Work that was dispatched twice is treated as DurableTask.AzureStorage does. Of an activity, the first completion counts,
from whichever host. Of an orchestrator's turn, only the decisions of the latest host count; but the activities that a
late host has scheduled run all the same, because Azure sends them before it finds that the history has changed (its
AzureStorageOrchestrationService.CompleteTaskOrchestrationWorkItemAsync). Here as there second results are ignored.
"""

import argparse
import heapq
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta

import grpc
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import InMemoryOrchestrationBackend
from durabletask.testing.in_memory_backend import ActivityWorkItem, OrchestrationInstance

from local.clock import longest_sleep

THREADS = 256  # each open stream and each wait for an instance holds one; they are started as they are needed
KEEP_ENDED = 10_000
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

type Key = tuple[str, ...]


class TaskHub(InMemoryOrchestrationBackend):
    """A task hub for as long as its process lives.

    Args:
        port: Where to listen.
        keep_ended: How many ended instances to remember; the oldest are forgotten.
        redelivery: After how many seconds the work of a host that has disconnected is dispatched again.
    """

    def __init__(self, port: int, keep_ended: int = KEEP_ENDED, redelivery: float = 0.0) -> None:
        # An instance whose history exceeds the backend's own limit would hang.
        super().__init__(max_history_size=sys.maxsize, port=port)
        # Not from 1: a host may still complete or abandon work of the hub that ran on this port before.
        self._next_completion_token = time.time_ns()
        self._keep_ended = keep_ended
        self._redelivery = timedelta(seconds=redelivery)
        self._streams = itertools.count()
        # Dispatched on a stream and not completed; the stream is None when it has ended and the item is still locked.
        self._dispatched: dict[Key, tuple[int | None, pb.WorkItem]] = {}
        self._repeated: dict[int, int] = {}  # by the token of a turn that was dispatched again: its new token
        # Completion tokens only grow: work with a smaller one than its instance's first is of an earlier execution.
        self._first_tokens: dict[str, int] = {}
        self._ended: dict[str, None] = {}  # in the order in which they ended
        self._parents: dict[str, tuple[str, int, int]] = {}  # by child: parent, its token, its task
        self._traces: dict[str, pb.OrchestrationTraceContext] = {}  # by instance: what its last turn wanted kept
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._due = threading.Condition(self._lock)

    def start(self) -> str:
        """Listen on loopback and return the address; raises RuntimeError if the port is taken."""
        address = f"127.0.0.1:{self._port}"
        # Without the first option a second hub on the same port would silently share its connections.
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(address)
        self._server.start()
        threading.Thread(target=self._run_timers, daemon=True).start()
        return address

    def StartInstance(
        self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext
    ) -> pb.CreateInstanceResponse:
        """Start an orchestration; unless the caller has a policy, an ended one of the same id is replaced."""
        with self._lock:
            known = self._instances.get(request.instanceId)
            policy = request.orchestrationIdReusePolicy.replaceableStatus
            if known is not None and not policy and self._is_terminal_status(known.status):
                del self._instances[request.instanceId]
            response = super().StartInstance(request, context)
            self._traces.pop(response.instanceId, None)
            if request.HasField("parentTraceContext"):
                _started(self._instances[response.instanceId]).parentTraceContext.CopyFrom(request.parentTraceContext)
            return response

    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Iterator[pb.WorkItem]:
        """Stream work to a host; what it has not completed when the stream ends is dispatched again, once it is due."""
        stream = next(self._streams)
        try:
            for item in super().GetWorkItems(request, context):
                if item.HasField("activityRequest"):
                    # An orchestrator's activities share its token, and one of them alone may be abandoned.
                    item.completionToken += f"/{item.activityRequest.taskId}"
                with self._lock:
                    self._add_trace(item)
                    self._dispatched[_key(item)] = (stream, item)
                yield item
        finally:
            with self._lock:
                for key, (owner, item) in list(self._dispatched.items()):
                    if owner == stream:
                        self._dispatched[key] = (None, item)
                        self._unlock_later(key, item)

    def CompleteActivityTask(
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Accept an activity's result once, from any host."""
        key = ("activity", request.instanceId, request.completionToken)
        with self._lock:
            known = self._dispatched.pop(key, None) is not None or self._remove_from_queue(key)
            if not known or not self._expects(request.instanceId, _number(request.completionToken)):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Accept an orchestrator's decisions."""
        with self._lock:
            if self._dispatched.pop(("orchestration", request.completionToken), None) is None:
                self._schedule_late(request)
                return pb.CompleteTaskResponse()
            instance = self._instances.get(request.instanceId)
            if instance is not None and not instance.history:
                self._first_tokens[request.instanceId] = instance.completion_token
            response = super().CompleteOrchestratorTask(request, context)
            if request.HasField("orchestrationTraceContext"):
                self._traces[request.instanceId] = request.orchestrationTraceContext
            if instance is not None and self._is_terminal_status(instance.status):
                self._end(instance)
            elif instance is not None and instance.pending_events:
                # The backend does not run a suspended instance, even if one of its new events resumes it.
                self._enqueue_orchestration(request.instanceId)
            return response

    def CompleteEntityTask(
        self, request: pb.EntityBatchResult, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        """Accept an entity's results."""
        with self._lock:
            if self._dispatched.pop(("entity", request.completionToken), None) is None:
                return pb.CompleteTaskResponse()
            return super().CompleteEntityTask(request, context)

    def AbandonTaskActivityWorkItem(
        self, request: pb.AbandonActivityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonActivityTaskResponse:
        """Take an activity back from a host that could not run it to its end."""
        self._take_back("activity", request.completionToken)
        return pb.AbandonActivityTaskResponse()

    def AbandonTaskOrchestratorWorkItem(
        self, request: pb.AbandonOrchestrationTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonOrchestrationTaskResponse:
        """Take an orchestrator's turn back."""
        self._take_back("orchestration", request.completionToken)
        return pb.AbandonOrchestrationTaskResponse()

    def AbandonTaskEntityWorkItem(
        self, request: pb.AbandonEntityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonEntityTaskResponse:
        """Take an entity's turn back."""
        self._take_back("entity", request.completionToken)
        return pb.AbandonEntityTaskResponse()

    def StreamInstanceHistory(
        self, request: pb.StreamInstanceHistoryRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.HistoryChunk]:
        """Return all that happened to an instance, with what it was given and what its activities returned."""
        with self._lock:
            instance = self._instances.get(request.instanceId)
            yield pb.HistoryChunk(events=instance.history if instance else ())

    def _take_back(self, kind: str, token: str) -> None:
        with self._lock:
            for key, (_, item) in list(self._dispatched.items()):
                if (key[0], item.completionToken) == (kind, token):
                    del self._dispatched[key]
                    self._dispatch_again(item)

    def _unlock_later(self, key: Key, item: pb.WorkItem) -> None:
        """Dispatch an item again unless it is completed in time; until then nobody else gets it."""

        def unlock() -> None:
            if self._dispatched.get(key) == (None, item):
                del self._dispatched[key]
                self._dispatch_again(item)

        if self._redelivery:
            self._call_at(datetime.now(UTC) + self._redelivery, unlock)
        else:
            unlock()

    def _schedule_late(self, request: pb.OrchestratorResponse) -> None:
        """Run the activities that a host scheduled although its turn had been given to another one."""
        token = int(request.completionToken)
        if token not in self._repeated:
            return  # it was completed already
        while token in self._repeated:
            token = self._repeated.pop(token)
        for action in request.actions:
            if action.HasField("scheduleTask") and self._expects(request.instanceId, token):
                task = action.scheduleTask
                given = task.input.value if task.HasField("input") else None
                self._activity_queue.append(ActivityWorkItem(request.instanceId, task.name, action.id, given, token))
                self._work_available.set()

    def _enqueue_orchestration(self, instance_id: str) -> None:
        # One that runs is queued when it is completed; in the queue it would hold up those behind it.
        instance = self._instances.get(instance_id)
        if instance_id in self._orchestration_in_flight or instance is None:
            return
        if not self._is_terminal_status(instance.status):
            super()._enqueue_orchestration(instance_id)

    def _process_schedule_task_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        super()._process_schedule_task_action(instance, action)
        event = instance.history[-1]
        event.timestamp.GetCurrentTime()
        if action.scheduleTask.HasField("parentTraceContext"):
            event.taskScheduled.parentTraceContext.CopyFrom(action.scheduleTask.parentTraceContext)

    def _process_create_sub_orchestration_action(
        self, instance: OrchestrationInstance, action: pb.OrchestratorAction
    ) -> None:
        create = action.createSubOrchestration
        known = self._instances.get(create.instanceId)
        super()._process_create_sub_orchestration_action(instance, action)
        child = self._instances.get(create.instanceId)
        if child is not None and child is not known and create.HasField("parentTraceContext"):
            _started(child).parentTraceContext.CopyFrom(create.parentTraceContext)

    def _process_complete_orchestration_action(
        self, instance: OrchestrationInstance, complete_action: pb.CompleteOrchestrationAction
    ) -> None:
        before = _started(instance)
        super()._process_complete_orchestration_action(instance, complete_action)
        continued = complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
        if continued and before.HasField("parentTraceContext"):
            _started(instance).parentTraceContext.CopyFrom(before.parentTraceContext)

    def _process_create_timer_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        fire_at = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        created = helpers.new_timer_created_event(action.id, fire_at)
        created.timestamp.GetCurrentTime()
        instance.history.append(created)
        fired = helpers.new_timer_fired_event(action.id, fire_at)
        instance_id, token = instance.instance_id, instance.completion_token
        self._call_at(fire_at, lambda: self._deliver(instance_id, token, fired))

    def _schedule_delayed_entity_operation(self, entity_id: str, event: pb.HistoryEvent, fire_at: datetime) -> None:
        self._call_at(fire_at, lambda: self._queue_entity_operation(entity_id, event))

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        parent, child = self._instances[parent_instance_id], self._instances[sub_instance_id]
        self._traces.pop(sub_instance_id, None)
        self._parents[sub_instance_id] = (parent_instance_id, parent.completion_token, task_id)
        if self._is_terminal_status(child.status):
            self._notify_parent(child)

    def _end(self, instance: OrchestrationInstance) -> None:
        """Notify the parent, and forget the instances that ended longest ago."""
        self._notify_parent(instance)
        self._ended.pop(instance.instance_id, None)
        self._ended[instance.instance_id] = None
        while len(self._ended) > self._keep_ended:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            known = self._instances.get(oldest)
            if known is None or self._is_terminal_status(known.status):  # and was not started again
                self._instances.pop(oldest, None)
                self._first_tokens.pop(oldest, None)
                self._traces.pop(oldest, None)

    def _notify_parent(self, child: OrchestrationInstance) -> None:
        if child.instance_id not in self._parents:
            return
        parent, token, task_id = self._parents.pop(child.instance_id)
        if child.status == pb.ORCHESTRATION_STATUS_COMPLETED:
            event = helpers.new_sub_orchestration_completed_event(task_id, child.output)
        else:
            reason = child.failure_details.errorMessage if child.failure_details else "it was terminated"
            event = helpers.new_sub_orchestration_failed_event(task_id, RuntimeError(reason))
        self._deliver(parent, token, event)

    def _expects(self, instance_id: str, token: int) -> bool:
        """Whether an instance still runs the execution that scheduled work under that completion token."""
        instance = self._instances.get(instance_id)
        if instance is None or self._is_terminal_status(instance.status):
            return False
        return token >= (self._first_tokens[instance_id] if instance.history else instance.completion_token)

    def _deliver(self, instance_id: str, token: int, event: pb.HistoryEvent) -> None:
        if self._expects(instance_id, token):
            self._instances[instance_id].pending_events.append(event)
            self._enqueue_orchestration(instance_id)

    def _call_at(self, when: datetime, call: Callable[[], None]) -> None:
        with self._due:
            heapq.heappush(self._timers, (when.timestamp(), next(self._order), call))
            self._due.notify()

    def _run_timers(self) -> None:
        with self._due:
            while True:
                wait = self._timers[0][0] - time.time() if self._timers else longest_sleep()
                if wait > 0:
                    self._due.wait(min(wait, longest_sleep()))
                else:
                    heapq.heappop(self._timers)[2]()

    def _remove_from_queue(self, key: Key) -> bool:
        """Remove an activity from the queue whose result came late, from a host that had disconnected."""
        for item in self._activity_queue:
            if ("activity", item.instance_id, f"{item.completion_token}/{item.task_id}") == key:
                self._activity_queue.remove(item)
                return True
        return False

    def _dispatch_again(self, item: pb.WorkItem) -> None:
        # Two hosts may both finish an activity. For an orchestrator or an entity only the latest host counts, which may
        # have read more events: a new token invalidates the completion of the other.
        if item.HasField("activityRequest"):
            request = item.activityRequest
            self._activity_queue.append(
                ActivityWorkItem(
                    instance_id=request.orchestrationInstance.instanceId,
                    name=request.name,
                    task_id=request.taskId,
                    input=request.input.value if request.HasField("input") else None,
                    completion_token=_number(item.completionToken),
                )
            )
        elif item.HasField("orchestratorRequest"):
            instance_id = item.orchestratorRequest.instanceId
            self._orchestration_in_flight.discard(instance_id)
            instance = self._instances.get(instance_id)
            if instance is not None and str(instance.completion_token) == item.completionToken:
                instance.pending_events[:0] = instance.dispatched_events
                instance.dispatched_events.clear()
                instance.completion_token = self._new_token()
                self._repeated[int(item.completionToken)] = instance.completion_token
                self._enqueue_orchestration(instance_id)
        else:
            entity_id = item.entityRequestV2.instanceId
            self._entity_in_flight.discard(entity_id)
            entity = self._entities.get(entity_id)
            if entity is not None and str(entity.completion_token) == item.completionToken:
                entity.pending_operations[:0] = entity.dispatched_operations
                entity.dispatched_operations.clear()
                entity.completion_token = self._new_token()
                self._enqueue_entity(entity_id)
        self._work_available.set()

    def _add_trace(self, item: pb.WorkItem) -> None:
        """Add to a turn what its orchestration's last one wanted kept, and to an activity who has scheduled it."""
        if item.HasField("orchestratorRequest"):
            if (kept := self._traces.get(item.orchestratorRequest.instanceId)) is not None:
                item.orchestratorRequest.orchestrationTraceContext.CopyFrom(kept)
        elif item.HasField("activityRequest"):
            request = item.activityRequest
            instance = self._instances.get(request.orchestrationInstance.instanceId)
            for event in reversed(instance.history) if instance else ():
                # The second is the case for what a late host has scheduled, and the latest has not.
                scheduled = event.HasField("taskScheduled") and event.eventId == request.taskId
                if scheduled or event.HasField("executionStarted"):
                    found = event.taskScheduled if scheduled else event.executionStarted
                    if found.HasField("parentTraceContext"):
                        request.parentTraceContext.CopyFrom(found.parentTraceContext)
                    break

    def _new_token(self) -> int:
        self._next_completion_token += 1
        return self._next_completion_token - 1


def _key(item: pb.WorkItem) -> Key:
    if item.HasField("activityRequest"):
        return ("activity", item.activityRequest.orchestrationInstance.instanceId, item.completionToken)
    return ("orchestration" if item.HasField("orchestratorRequest") else "entity", item.completionToken)


def _started(instance: OrchestrationInstance) -> pb.ExecutionStartedEvent:
    """Return the event with which an execution of an orchestration began."""
    events = (*instance.history, *instance.dispatched_events, *instance.pending_events)
    return next(event.executionStarted for event in events if event.HasField("executionStarted"))


def _number(token: str) -> int:
    """Return the number of an activity's token, which is its orchestrator's."""
    return int(token.partition("/")[0])


def main() -> None:
    """Run a task hub until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keep", type=int, default=KEEP_ENDED, help="how many ended instances to remember")
    parser.add_argument(
        "--redelivery", type=float, default=0.0, help="seconds until a lost host's work is given out (0)"
    )
    options = parser.parse_args()
    # Blocked before any thread starts, so that only sigwait receives them.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    print(f"task hub on {TaskHub(options.port, options.keep, options.redelivery).start()}", flush=True)
    signal.sigwait(ending)
    # There is no data to save, and threads that wait for an instance must not delay the end.
    os._exit(0)


if __name__ == "__main__":
    main()
