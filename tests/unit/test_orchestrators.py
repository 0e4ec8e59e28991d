"""The orchestrations' decisions, with the activities' outcomes and the clock given by a script."""

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
RETRY = Outcome(Verdict.RETRY, "the tables were away", 1)
DONE = Outcome(Verdict.DONE)
FAILED = Outcome(Verdict.FAILED, "no room")

type Script = Callable[[Activity], Outcome]


class Context:
    """What an orchestrator asks of its context: each yields what the script says, and a timer moves the clock."""

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
    """Run the orchestration until it ends, as often as it begins anew; return its result and its last context."""
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


def test_time_in_the_queue_does_not_count_whatever_comes_between() -> None:
    script = by(iter([QUEUED, QUEUED, RETRY, *[QUEUED] * 100, RETRY, QUEUED, DONE]))
    result, context = provision(script)
    assert result == Verdict.DONE
    assert Activity.REMOVE not in context.called


def test_what_goes_wrong_again_and_again_fails_after_a_while_and_is_cleaned_up() -> None:
    result, context = provision(lambda activity: DONE if activity is Activity.REMOVE else RETRY)
    assert result == Verdict.DONE
    assert context.called[-1] is Activity.REMOVE
    assert 295 <= context.called.count(Activity.APPLY) <= 305  # a second apart


def test_what_cannot_succeed_is_cleaned_up_until_that_succeeds() -> None:
    removals = iter([RETRY, FAILED, DONE])
    result, context = provision(lambda activity: next(removals) if activity is Activity.REMOVE else FAILED)
    assert result == Verdict.DONE
    assert context.called == [Activity.APPLY, *[Activity.REMOVE] * 3]


def test_an_operation_that_somebody_else_ended_is_let_be() -> None:
    result, context = provision(lambda _: Outcome(Verdict.ENDED))
    assert (result, context.called) == (Verdict.ENDED, [Activity.APPLY])
