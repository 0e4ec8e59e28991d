"""What follows from the end of an operation or a sweep: its latency row, and once, its metrics and spans."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from shared.application.ports.latency import LatencyRepository
from shared.domain.latency import ACT, DECIDE, Sample, sample_of, sample_of_sweep
from shared.domain.lifecycle import StepName
from shared.domain.operations import OperationState
from shared.domain.sweeps import Sweep
from shared.domain.tenants import Tenant
from shared.telemetry import metrics, spans
from shared.telemetry.metrics import record
from shared.telemetry.recorder import recorder

# Application Insights refuses what began more than 48 hours ago: a longer operation seems to have begun later, and its
# attributes have the seconds that it took.
LONGEST_SPAN = timedelta(hours=47)

type StepTime = tuple[str, datetime, datetime]


async def record_operation_end(latency: LatencyRepository, tenant: Tenant, *, now: datetime) -> None:
    """Record the end of a tenant's operation. Doing it again changes nothing.

    Metrics and spans are recorded by whoever writes the row, and are lost if it dies right after.
    """
    operation = tenant.operation
    sample = sample_of(tenant)
    if not await latency.record(sample, now=now):
        return
    ids = {"tenant": tenant.slug, "operation": operation.id, "instance": operation.instance}
    if operation.has_started(StepName.PLACE):
        record(metrics.QUEUE_WAIT, sample.queued_seconds, kind=sample.kind)
    times = ((each.name, each.started_at, each.finished_at) for each in operation.steps)
    steps = ((name, began, ended) for name, began, ended in times if began and ended)
    _tell(sample, operation.created_at, steps, operation.trace, ids)


async def record_sweep_end(latency: LatencyRepository, sweep: Sweep, *, now: datetime) -> None:
    """Record the end of a sweep, as that of an operation."""
    sample = sample_of_sweep(sweep)
    if not await latency.record(sample, now=now):
        return
    began, acting = sweep.start.started_at, sweep.acting_at
    steps: list[StepTime] = [(DECIDE, began, acting or sample.ended_at)]
    if acting is not None:
        steps.append((ACT, acting, sample.ended_at))
    record(metrics.SWEEPS, state=sweep.state)
    _tell(sample, began, steps, recorder().trace(), {"sweep": sweep.id})


def _tell(sample: Sample, began: datetime, steps: Iterable[StepTime], trace: str, ids: Mapping[str, str]) -> None:
    record(metrics.OPERATION_DURATION, sample.total_seconds, kind=sample.kind, outcome=sample.outcome)
    has_failed = sample.outcome is not OperationState.SUCCEEDED
    if has_failed:
        record(metrics.OPERATION_FAILURES, kind=sample.kind, failure=sample.failure)
    attributes = {
        **ids,
        "cluster": sample.cluster,
        "kind": sample.kind.value,
        "outcome": sample.outcome.value,
        "failure": sample.failure.value,
        "plan": sample.plan,
        "version": sample.version,
        "total_seconds": sample.total_seconds,
        "queued_seconds": sample.queued_seconds,
        "waiting_seconds": sample.waiting_seconds,
    }
    earliest = sample.ended_at - LONGEST_SPAN
    whole = recorder().past_span(
        spans.OPERATION.name, attributes, max(began, earliest), sample.ended_at, trace=trace, has_failed=has_failed
    )
    for step, step_began, step_ended in steps:
        record(metrics.STEP_DURATION, (step_ended - step_began).total_seconds(), kind=sample.kind, step=step)
        fields = {**ids, "kind": sample.kind.value, "step": step}
        if step_ended > earliest:
            recorder().past_span(spans.STEP.name, fields, max(step_began, earliest), step_ended, trace=whole)
