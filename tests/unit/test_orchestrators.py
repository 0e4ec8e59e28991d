"""The decisions of the orchestrators, with scripted outcomes of the activities and a scripted clock."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from functions import orchestrators
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome, Verdict, Work

WORK = Work(Slug("acme"), OperationId("acme.id"), fail_after=300)
QUEUED = Outcome(Verdict.QUEUED, wait=30)
RETRY = Outcome(Verdict.RETRY, "table storage cannot be reached", 1)
DONE = Outcome(Verdict.DONE)
FAILED = Outcome(Verdict.FAILED, "no room")

type Script = Callable[[Activity], Outcome]


class Context:
    """An orchestration context whose activities return the scripted outcomes, and whose timers move the clock."""

    def __init__(self, script: Script) -> None:
        self.current_utc_datetime = datetime(2026, 1, 1, tzinfo=UTC)
        self.called: list[Activity] = []
        self.continued = False
        self._script = script

    def call_activity(self, name: str, **_: Any) -> dict[str, Any]:
        self.called.append(Activity(name))
        return asdict(self._script(Activity(name)))

    def create_timer(self, wait: timedelta) -> None:
        self.current_utc_datetime += wait

    def continue_as_new(self, _: Any) -> None:
        self.continued = True


def provision(script: Script) -> tuple[str, Context]:
    """Run the orchestration until it ends, including each continue-as-new; return its result and its last context."""
    while True:
        context = Context(script)
        declared: Any = orchestrators.provision_tenant
        steps = declared.build().get_user_function().orchestrator_function(context, asdict(WORK))
        given, result = None, None
        while result is None:
            try:
                given = steps.send(given)
            except StopIteration as end:
                result = str(end.value)
        if not context.continued:
            return result, context


def by(outcomes: Iterator[Outcome]) -> Script:
    return lambda activity: next(outcomes) if activity is Activity.APPLY else DONE


def test_time_in_the_queue_does_not_count() -> None:
    script = by(iter([QUEUED, QUEUED, RETRY, *[QUEUED] * 100, RETRY, QUEUED, DONE]))
    result, context = provision(script)
    assert result == Verdict.DONE
    assert Activity.REMOVE not in context.called


def test_retries_end_at_the_deadline_with_compensation() -> None:
    result, context = provision(lambda activity: DONE if activity is Activity.REMOVE else RETRY)
    assert result == Verdict.DONE
    assert context.called[-1] is Activity.REMOVE
    assert 295 <= context.called.count(Activity.APPLY) <= 305  # a second apart


def test_compensation_is_retried_until_it_succeeds() -> None:
    removals = iter([RETRY, FAILED, DONE])
    result, context = provision(lambda activity: next(removals) if activity is Activity.REMOVE else FAILED)
    assert result == Verdict.DONE
    assert context.called == [Activity.APPLY, *[Activity.REMOVE] * 3]


def test_an_operation_that_has_ended_is_not_touched() -> None:
    result, context = provision(lambda _: Outcome(Verdict.ENDED))
    assert (result, context.called) == (Verdict.ENDED, [Activity.APPLY])
