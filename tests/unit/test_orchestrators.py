"""The decisions of the orchestrators, with scripted outcomes of the activities and a scripted clock."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from functions import orchestrators
from shared.application.activities.activity import CONFLICT_PAUSE_SECONDS
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome, Verdict, Work

WORK = Work(Slug("acme"), OperationId("acme.id"))
QUEUED = Outcome(Verdict.QUEUED)
RETRY = Outcome(Verdict.RETRY, "table storage cannot be reached", 1)
DONE = Outcome(Verdict.DONE)
FAILED = Outcome(Verdict.FAILED, "no room")

type Script = Callable[[Activity], Outcome]


class Context:
    """An orchestration context whose activities return the scripted outcomes, and whose timers move the clock."""

    def __init__(self, script: Script) -> None:
        self.current_utc_datetime = datetime(2026, 1, 1, tzinfo=UTC)
        self.started = self.current_utc_datetime
        self.called: list[Activity] = []
        self.called_at: list[datetime] = []
        self.continued = False
        self._script = script

    def call_activity(self, name: str, **_: Any) -> dict[str, Any]:
        self.called.append(Activity(name))
        self.called_at.append(self.current_utc_datetime)
        return asdict(self._script(Activity(name)))

    def create_timer(self, wait: timedelta) -> None:
        self.current_utc_datetime += wait

    def continue_as_new(self, _: Any) -> None:
        self.continued = True


def provision(script: Script) -> tuple[str, Context]:
    return run(orchestrators.provision_tenant, script)


def run(declared: Any, script: Script) -> tuple[str, Context]:
    """Run an orchestration until it ends, including each continue-as-new; return its result and its last context."""
    while True:
        context = Context(script)
        steps = declared.build().get_user_function().orchestrator_function(context, asdict(WORK))
        given, result = None, None
        while result is None:
            try:
                given = steps.send(given)
            except StopIteration as end:
                result = str(end.value)
        if not context.continued:
            return result, context


def test_a_tenant_without_a_slot_ends_its_orchestration() -> None:
    result, context = provision(lambda _: QUEUED)
    assert (result, context.called) == (Verdict.QUEUED, [Activity.APPLY])


def test_retries_go_on_until_the_activity_decides() -> None:
    outcomes = iter([*[RETRY] * 200, DONE])
    result, context = provision(lambda activity: next(outcomes) if activity is Activity.APPLY else DONE)
    assert (result, context.called[-1]) == (Verdict.DONE, Activity.AWAIT)
    assert len(context.called) < 100  # its history stays short


def test_a_conflict_that_lasts_is_no_hot_loop() -> None:
    outcomes = iter([*[Outcome(Verdict.RETRY, wait=CONFLICT_PAUSE_SECONDS)] * 10, DONE])
    _, context = provision(lambda activity: next(outcomes) if activity is Activity.APPLY else DONE)
    seconds = [(each - context.started).total_seconds() for each in context.called_at]
    assert seconds[1] < 0.2
    assert len([each for each in seconds if each < 15]) <= 10


def test_compensation_is_retried_until_it_succeeds() -> None:
    removals = iter([RETRY, FAILED, DONE])
    result, context = provision(lambda activity: next(removals) if activity is Activity.REMOVE else FAILED)
    assert result == Verdict.DONE
    assert context.called == [Activity.APPLY, *[Activity.REMOVE] * 3]


def test_an_operation_that_has_ended_is_not_touched() -> None:
    result, context = provision(lambda _: Outcome(Verdict.ENDED))
    assert (result, context.called) == (Verdict.ENDED, [Activity.APPLY])


def test_a_wake_is_undone_by_a_stop() -> None:
    stops = iter([RETRY, FAILED, DONE])
    result, context = run(
        orchestrators.wake_tenant, lambda activity: next(stops) if activity is Activity.STOP else FAILED
    )
    assert (result, context.called) == (Verdict.DONE, [Activity.APPLY, *[Activity.STOP] * 3])


def test_a_wake_without_a_slot_ends_its_orchestration() -> None:
    result, context = run(orchestrators.wake_tenant, lambda _: QUEUED)
    assert (result, context.called) == (Verdict.QUEUED, [Activity.APPLY])


def test_a_hibernation_is_undone_by_a_start() -> None:
    starts = iter([RETRY, FAILED, DONE])
    result, context = run(
        orchestrators.hibernate_tenant, lambda activity: next(starts) if activity is Activity.RESUME else FAILED
    )
    assert (result, context.called) == (Verdict.DONE, [Activity.STOP, *[Activity.RESUME] * 3])


def test_a_long_stop_keeps_its_history_short() -> None:
    outcomes = iter([*[RETRY] * 200, DONE])
    result, context = run(orchestrators.hibernate_tenant, lambda _: next(outcomes))
    assert (result, set(context.called)) == (Verdict.DONE, {Activity.STOP})
    assert len(context.called) < 100
