"""The durable orchestrations. Deterministic: they depend only on their input and the results of their activities."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task

from shared.domain.failures import FailureClass
from shared.domain.workflow import SWEEP_ACTIVITY, Activity, Outcome, SweepProgress, Verdict, Work

bp = df.Blueprint()

STARTING = (Activity.APPLY, Activity.AWAIT)
DONE = Outcome(Verdict.DONE)

type Steps[R] = Generator[task.Task[Any], Any, R]

# Activities return expected errors as outcomes; this policy is for the others, such as a worker out of memory.
UNEXPECTED = task.RetryPolicy(
    first_retry_interval=timedelta(seconds=1), max_number_of_attempts=4, backoff_coefficient=3.0
)
MAX_PAUSE = 30.0  # seconds between two attempts to undo what a failed operation did, or after many conflicts
ROUNDS = 60  # of waiting or undoing, before the orchestration starts afresh to keep its history short


@bp.orchestration_trigger(context_name="ctx")
def provision_tenant(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps[str]:
    """Apply a tenant's objects and wait until it is ready; remove everything again if it cannot become ready.

    Ends early for a tenant without a slot: whoever gives it one starts it again.
    """
    return (yield from _try(ctx, Work.decode(payload), STARTING, undo=Activity.REMOVE))


@bp.orchestration_trigger(context_name="ctx")
def wake_tenant(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps[str]:
    """Start a tenant that sleeps and wait until it is ready; stop it again if it cannot become ready.

    Ends early for a tenant without a slot: whoever gives it one starts it again.
    """
    return (yield from _try(ctx, Work.decode(payload), STARTING, undo=Activity.STOP))


@bp.orchestration_trigger(context_name="ctx")
def hibernate_tenant(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps[str]:
    """Stop a tenant's pods; start them again if it is turned round, or if they cannot be stopped."""
    return (yield from _try(ctx, Work.decode(payload), (Activity.STOP,), undo=Activity.RESUME))


@bp.orchestration_trigger(context_name="ctx")
def delete_tenant(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps[str]:
    """Remove everything that a tenant has."""
    return (yield from _persist(ctx, Activity.REMOVE, Work.decode(payload)))


def _try(ctx: task.OrchestrationContext, work: Work, activities: Sequence[Activity], *, undo: Activity) -> Steps[str]:
    """Call activities one after another, and the last one if one of them fails."""
    if not work.reason:
        outcome = DONE
        for activity in activities:
            if outcome.verdict is Verdict.DONE:
                outcome = yield from _decided(ctx, activity, work)
        if outcome.verdict is Verdict.RETRY:
            ctx.continue_as_new(work.encode())
        if outcome.verdict is not Verdict.FAILED:
            return outcome.verdict
        work = replace(work, reason=outcome.reason, failure=outcome.failure)
    return (yield from _persist(ctx, undo, work))


@bp.orchestration_trigger(context_name="ctx")
def sweep_fleet(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps[bool]:
    """Advance a sweep until it has ended; False if its activity broke off: then a timer starts this again."""
    for _ in range(ROUNDS):
        try:
            result = yield ctx.call_activity(SWEEP_ACTIVITY, input=payload, retry_policy=UNEXPECTED)
        except task.TaskFailedError:
            return False
        progress = SweepProgress.decode(result)
        if progress.ended:
            return True
        if progress.wait:
            yield ctx.create_timer(timedelta(seconds=progress.wait))
    ctx.continue_as_new(payload)
    return False


def _decided(ctx: task.OrchestrationContext, activity: Activity, work: Work) -> Steps[Outcome]:
    """Call an activity until it decides something; still RETRY after many rounds. The activity knows the deadline."""
    outcome = yield from _call(ctx, activity, work)
    conflicts = 0  # in a row: these give no reason, and are tried again soon, but never in a hot loop
    for _ in range(ROUNDS):
        if outcome.verdict is not Verdict.RETRY:
            break
        if outcome.wait:
            wait = outcome.wait if outcome.reason else min(MAX_PAUSE, outcome.wait * 2**conflicts)
            yield ctx.create_timer(timedelta(seconds=wait))
        conflicts = 0 if outcome.reason else conflicts + 1
        outcome = yield from _call(ctx, activity, work)
    return outcome


def _persist(ctx: task.OrchestrationContext, activity: Activity, work: Work) -> Steps[str]:
    """Call an activity until it succeeds, however long that takes: nothing may be left half done."""
    pause = 1.0
    for _ in range(ROUNDS):
        outcome = yield from _call(ctx, activity, work)
        if outcome.verdict not in (Verdict.RETRY, Verdict.FAILED):
            return outcome.verdict
        yield ctx.create_timer(timedelta(seconds=max(pause, outcome.wait)))
        pause = min(MAX_PAUSE, pause * 2)
    ctx.continue_as_new(work.encode())
    return Verdict.RETRY


def _call(ctx: task.OrchestrationContext, activity: Activity, work: Work) -> Steps[Outcome]:
    try:
        result = yield ctx.call_activity(activity, input=work.encode(), retry_policy=UNEXPECTED)
    except task.TaskFailedError as error:
        reason = f"{activity} broke off: {error.details.error_type}"
        return Outcome(Verdict.FAILED, reason, failure=FailureClass.UNEXPECTED)
    return Outcome.decode(result)
