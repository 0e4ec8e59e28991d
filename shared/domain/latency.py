"""How long one ended operation took: each step, and waiting told from work.

berth waits for a slot or for room (`queued_seconds`, of which the step `place` is a part), and in the steps `start`,
`stop` and `remove` for Kubernetes to do what it was told. The rest is work: the step `apply`, and the task hub's
hand-overs. A sweep has the phases `decide`, which is work, and `act`, in which it waits for its hibernations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from shared.domain.failures import FailureClass
from shared.domain.lifecycle import OperationKind, StepName
from shared.domain.operations import Operation, OperationState, seconds_between
from shared.domain.sweeps import Sweep, SweepState
from shared.domain.tenants import Tenant

SWEEP, DECIDE, ACT = "sweep", "decide", "act"
STEPS: tuple[str, ...] = (*StepName, DECIDE, ACT)
"""The steps of all kinds, in order."""
WAIT_STEPS: frozenset[str] = frozenset({StepName.PLACE, StepName.START, StepName.STOP, StepName.REMOVE, ACT})
"""Those in which berth only waits."""


class LatencyKind(StrEnum):
    """What took its time: an operation of one kind, or a sweep."""

    PROVISION = OperationKind.PROVISION
    HIBERNATE = OperationKind.HIBERNATE
    WAKE = OperationKind.WAKE
    DELETE = OperationKind.DELETE
    SWEEP = SWEEP


@dataclass(frozen=True, slots=True)
class Sample:
    """How long one ended operation, or sweep, took.

    Attributes:
        id: The operation's or the sweep's.
        kind: What it was.
        ended_at: When it ended.
        outcome: How it ended: succeeded, failed or cancelled.
        failure: The class of the reason why it did not succeed.
        cluster: Where it was done; empty for a sweep, and for what was never placed.
        plan: The tenant's; empty for a sweep.
        version: The tenant's; empty for a sweep.
        slug: The tenant; empty for a sweep.
        queued_seconds: From the request to the first work on it.
        total_seconds: From the request to its end.
        steps: The seconds of each step that ran.
    """

    id: str
    kind: LatencyKind
    ended_at: datetime
    outcome: OperationState
    failure: FailureClass
    cluster: str
    plan: str
    version: str
    slug: str
    queued_seconds: float
    total_seconds: float
    steps: Mapping[str, float]

    @property
    def day(self) -> date:
        """The day on which it ended, in UTC."""
        return self.ended_at.astimezone(UTC).date()

    @property
    def waiting_seconds(self) -> float:
        """How much of the total was waiting; the rest was work."""
        steps = (seconds for step, seconds in self.steps.items() if step in WAIT_STEPS and step != StepName.PLACE)
        return min(self.total_seconds, self.queued_seconds + sum(steps))


def sample_of(tenant: Tenant) -> Sample:
    """Return how long a tenant's ended operation took."""
    operation = tenant.operation
    return Sample(
        id=operation.id,
        kind=LatencyKind(operation.kind),
        ended_at=operation.finished_at or operation.heartbeat_at,
        outcome=operation.state,
        failure=_failure(operation),
        cluster=operation.cluster,
        plan=tenant.plan,
        version=tenant.version,
        slug=tenant.slug,
        queued_seconds=operation.queued_seconds,
        total_seconds=operation.total_seconds,
        steps={each.name: each.seconds for each in operation.steps if each.seconds is not None},
    )


def sample_of_sweep(sweep: Sweep) -> Sample:
    """Return how long an ended sweep took; one that was refused has failed, and one that was stopped is cancelled."""
    began, ended = sweep.start.started_at, sweep.ended_at or sweep.heartbeat_at
    acting = sweep.acting_at or ended
    outcome, failure = {
        SweepState.REFUSED: (OperationState.FAILED, FailureClass.REFUSED),
        SweepState.STOPPED: (OperationState.CANCELLED, FailureClass.CANCELLED),
    }.get(sweep.state, (OperationState.SUCCEEDED, FailureClass.NONE))
    steps = {DECIDE: seconds_between(began, acting)}
    if sweep.acting_at is not None:
        steps[ACT] = seconds_between(acting, ended)
    total = seconds_between(began, ended)
    return Sample(sweep.id, LatencyKind.SWEEP, ended, outcome, failure, "", "", "", "", 0.0, total, steps)


def _failure(operation: Operation) -> FailureClass:
    match operation.state:
        case OperationState.SUCCEEDED:
            return FailureClass.NONE
        case OperationState.CANCELLED:  # only an operator who forgets a tenant ends it so without asking first
            return FailureClass.CANCELLED if operation.cancel_requested else FailureClass.FORGOTTEN
        case _ if operation.failure is FailureClass.NONE:
            return FailureClass.UNEXPECTED
        case _:
            return operation.failure
