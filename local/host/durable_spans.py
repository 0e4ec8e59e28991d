"""The spans of orchestrations and activities, as the Durable extension makes them.

Whoever starts an orchestration sends its context along, and the task hub keeps it in the event ExecutionStarted, over
all turns, redeliveries and `continue_as_new`. From it follow the ids of two spans, the same in whatever process they
are computed: `create_orchestration:NAME`, and under it `orchestration:NAME`, which is recorded when the orchestration
has ended. An activity has two: `activity:NAME` of the kind client from its scheduling to its result, whose id stands in
the event TaskScheduled, and under it one of the kind server for each time that it runs.
"""

import hashlib
import time
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Self

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry import context as current
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanContext, SpanKind

from local.host import tracing

_ids = RandomIdGenerator()


def activity_span(request: pb.ActivityRequest) -> AbstractContextManager[Span]:
    """Make the span of an activity that runs."""
    attributes = _attributes("activity", request.name, request.orchestrationInstance.instanceId)
    return tracing.span(
        f"activity:{request.name}",
        SpanKind.SERVER,
        _headers(request.parentTraceContext),
        {**attributes, "durabletask.task.task_id": request.taskId},
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of an orchestrator, in the trace of whoever started it.

    Attributes:
        request: What the orchestrator is asked.
        name: The orchestrator's.
        starter: The span within which it was started.
        began: When the orchestration ran first, in nanoseconds.
        first: Whether this is its first turn.
    """

    request: pb.OrchestratorRequest
    name: str
    starter: SpanContext
    began: int
    first: bool

    @classmethod
    def of(cls, request: pb.OrchestratorRequest) -> Self:
        """Return the turn that a request is for."""
        started = next(
            event.executionStarted
            for event in (*request.newEvents, *request.pastEvents)
            if event.HasField("executionStarted")
        )
        given, kept = started.parentTraceContext, request.orchestrationTraceContext
        starter = tracing.context_of(given.traceParent, given.traceState.value)
        first = not kept.HasField("spanStartTime")
        began = time.time_ns() if first else kept.spanStartTime.ToNanoseconds()
        return cls(request, started.name, starter, began, first)

    @contextmanager
    def current(self) -> Generator[None]:
        """Let the orchestration's span be the current one meanwhile."""
        token = current.attach(tracing.within(self._orchestration))
        try:
            yield
        finally:
            current.detach(token)

    def complete(self, response: pb.OrchestratorResponse) -> None:
        """Put the contexts of what the orchestrator has scheduled into its response, and record what has ended."""
        if not self.starter.is_valid:
            return
        for action in response.actions:
            if action.HasField("scheduleTask"):
                action.scheduleTask.parentTraceContext.CopyFrom(self._new_context())
            elif action.HasField("createSubOrchestration"):
                action.createSubOrchestration.parentTraceContext.CopyFrom(self._new_context())
        kept = pb.OrchestrationTraceContext(spanID=StringValue(value=f"{self._orchestration.span_id:016x}"))
        kept.spanStartTime.FromNanoseconds(self.began)
        response.orchestrationTraceContext.CopyFrom(kept)
        if self.first:
            self._record_creation()
        scheduled = {event.eventId: event for event in self.request.pastEvents}
        for event in self.request.newEvents:
            if event.HasField("taskCompleted"):
                self._record_activity(scheduled.get(event.taskCompleted.taskScheduledId), "")
            elif event.HasField("taskFailed"):
                failure = event.taskFailed.failureDetails.errorType
                self._record_activity(scheduled.get(event.taskFailed.taskScheduledId), failure)
            elif event.HasField("timerFired"):
                self._record_timer(scheduled.get(event.timerFired.timerId))
        self._record_end(response.actions)

    @property
    def _creation(self) -> SpanContext:
        return _derived(self.starter, f"create_orchestration {self.request.instanceId}")

    @property
    def _orchestration(self) -> SpanContext:
        return (
            _derived(self.starter, f"orchestration {self.request.instanceId}")
            if self.starter.is_valid
            else self.starter
        )

    def _new_context(self) -> pb.TraceContext:
        span = self._orchestration
        made = f"{_ids.generate_span_id():016x}"
        text = f"00-{span.trace_id:032x}-{made}-{span.trace_flags:02x}"
        state = span.trace_state.to_header()
        return pb.TraceContext(traceParent=text, spanID=made, traceState=StringValue(value=state) if state else None)

    def _record_creation(self) -> None:
        times = (each.timestamp for each in self.request.newEvents if each.HasField("orchestratorStarted"))
        created = next((each.ToNanoseconds() for each in times), self.began)
        tracing.record(
            f"create_orchestration:{self.name}",
            SpanKind.PRODUCER,
            self._creation,
            self.starter,
            nanoseconds=(created, created),
            attributes=_attributes("orchestration", self.name, self.request.instanceId),
        )

    def _record_activity(self, scheduled: pb.HistoryEvent | None, error: str) -> None:
        if scheduled is None or not scheduled.HasField("taskScheduled"):
            return
        task = scheduled.taskScheduled
        context = tracing.context_of(task.parentTraceContext.traceParent, task.parentTraceContext.traceState.value)
        if context.is_valid:
            attributes = _attributes("activity", task.name, self.request.instanceId)
            tracing.record(
                f"activity:{task.name}",
                SpanKind.CLIENT,
                context,
                self._orchestration,
                nanoseconds=_until_now(scheduled.timestamp),
                attributes={**attributes, "durabletask.task.task_id": scheduled.eventId},
                error=error,
            )

    def _record_timer(self, created: pb.HistoryEvent | None) -> None:
        if created is None or not created.HasField("timerCreated"):
            return
        context = _derived(self._orchestration, f"timer {created.eventId} {created.timestamp.ToNanoseconds()}")
        tracing.record(
            f"orchestration:{self.name}:timer",
            SpanKind.INTERNAL,
            context,
            self._orchestration,
            nanoseconds=_until_now(created.timestamp),
            attributes=_attributes("timer", self.name, self.request.instanceId),
        )

    def _record_end(self, actions: Iterable[pb.OrchestratorAction]) -> None:
        for action in actions:
            status = action.completeOrchestration.orchestrationStatus
            if action.HasField("completeOrchestration") and status != pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
                word = pb.OrchestrationStatus.Name(status).removeprefix("ORCHESTRATION_STATUS_").capitalize()
                attributes = _attributes("orchestration", self.name, self.request.instanceId)
                tracing.record(
                    f"orchestration:{self.name}",
                    SpanKind.SERVER,
                    self._orchestration,
                    self._creation,
                    nanoseconds=(self.began, time.time_ns()),
                    attributes={**attributes, "durabletask.task.status": word},
                    error=action.completeOrchestration.failureDetails.errorType,
                )


def _attributes(kind: str, name: str, instance: str) -> dict[str, str | int]:
    return {"durabletask.type": kind, "durabletask.task.name": name, "durabletask.task.instance_id": instance}


def _headers(context: pb.TraceContext) -> dict[str, str]:
    return {"traceparent": context.traceParent, "tracestate": context.traceState.value}


def _until_now(began: Timestamp) -> tuple[int, int]:
    return began.ToNanoseconds(), time.time_ns()


def _derived(parent: SpanContext, text: str) -> SpanContext:
    """Return the context of a span below another one, with an id that follows from both."""
    seed = f"{parent.trace_id:032x}{parent.span_id:016x} {text}"
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
    return SpanContext(
        parent.trace_id, number, is_remote=True, trace_flags=parent.trace_flags, trace_state=parent.trace_state
    )
