"""The orchestrator of a sweep: it goes on until its activity says that the sweep has ended."""

from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import Any

from durabletask.internal.orchestrator_service_pb2 import TaskFailureDetails
from durabletask.task import TaskFailedError

from functions import orchestrators
from shared.domain.sweeps import SweepId
from shared.domain.workflow import SWEEP_ACTIVITY, SweepProgress, SweepWork

WORK = SweepWork(SweepId("sweep-2026-02-28")).encode()
FAILURE = TaskFailedError("it failed", TaskFailureDetails(errorType="ValueError", errorMessage="on purpose"))


class Context:
    """An orchestration context that notes what is asked of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.waits: list[float] = []
        self.continued: Any = None

    def call_activity(self, name: str, *, input: Any, **_: Any) -> str:
        assert (name, input) == (SWEEP_ACTIVITY, WORK)
        self.calls += 1
        return "activity"

    def create_timer(self, wait: timedelta) -> str:
        self.waits.append(wait.total_seconds())
        return "timer"

    def continue_as_new(self, payload: Any) -> None:
        self.continued = payload


def run(results: Iterable[SweepProgress | Exception]) -> tuple[bool, Context]:
    """Run the orchestration once with what its activity returns; return its result and its context."""
    context, coming = Context(), iter(results)
    declared: Any = orchestrators.sweep_fleet
    steps: Generator[str, Any, bool] = declared.build().get_user_function().orchestrator_function(context, WORK)
    try:
        asked = next(steps)
        while True:
            result = next(coming) if asked == "activity" else None
            asked = steps.throw(result) if isinstance(result, Exception) else steps.send(result and result.encode())
    except StopIteration as end:
        return end.value, context


def test_it_goes_on_until_the_sweep_has_ended() -> None:
    go_on, wait, ended = SweepProgress(ended=False), SweepProgress(ended=False, wait=5), SweepProgress(ended=True)
    result, context = run([go_on, wait, go_on, ended])
    assert (result, context.calls, context.waits, context.continued) == (True, 4, [5], None)


def test_a_long_sweep_begins_its_history_anew() -> None:
    result, context = run([SweepProgress(ended=False, wait=5)] * 1000)
    assert (result, context.continued) == (False, WORK)
    assert context.calls <= 60


def test_an_activity_that_breaks_off_ends_it_for_now() -> None:
    result, context = run([FAILURE])
    assert (result, context.continued) == (False, None)
