"""An operation: one change of one tenant that a caller asked for, as ordered steps that always reach an end.

Every function here returns a new value; the times come from the caller, so that a replay gives the same result.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from secrets import randbelow
from typing import NewType

from shared.domain.base32 import ALPHABET, base32
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.failures import FailureClass
from shared.domain.instances import NO_INSTANCE, InstanceId
from shared.domain.lifecycle import KindRules, OperationKind, StepName, rules_of
from shared.domain.slugs import Slug

OperationId = NewType("OperationId", str)

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 2, 15  # between two polls of a caller who follows an operation
_ID = re.compile(rf"([a-z0-9-]{{1,63}})\.[{ALPHABET}]{{20}}")
_MILLISECONDS_END = 1 << 50  # ten letters of base 32; no clock reaches it before the year 37000


class OperationState(StrEnum):
    """Where the operation stands. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    """Where one step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, with the times between which it ran and its latest message."""

    name: StepName
    state: StepState = StepState.PENDING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it took, in seconds; None unless it ran and ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return seconds_between(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one tenant.

    `instance` is the one it is about; `cluster` is where it is done, once that is known; `heartbeat_at` is the last
    time that something wrote progress; `reason` says why it failed or was cancelled, in text for a person, and
    `failure` is the class of that, for counting; `actor` is who asked for it; `waited_seconds` is how long activities
    have waited for it to become ready, as they recorded it, `node_seconds` how long for a node that was being added,
    and `doubt_seconds` how long, without a break, though it could hardly become ready; `restarts` counts how often
    recovery started its orchestration again, and `moves` how often it got another instance; `trace` is the trace of
    the request, as W3C's `traceparent`, to which all that is done for it belongs; `kept_volumes` names the volumes that
    stay after a removal, because the cluster keeps them.
    """

    id: OperationId
    kind: OperationKind
    slug: Slug
    actor: str
    created_at: datetime
    heartbeat_at: datetime
    steps: tuple[Step, ...]
    state: OperationState = OperationState.QUEUED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    instance: InstanceId = NO_INSTANCE
    cluster: ClusterName = NO_CLUSTER
    reason: str = ""
    failure: FailureClass = FailureClass.NONE
    cancel_requested: bool = False
    waited_seconds: float = 0.0
    node_seconds: float = 0.0
    doubt_seconds: float = 0.0
    restarts: int = 0
    moves: int = 0
    trace: str = ""
    kept_volumes: tuple[str, ...] = ()

    @property
    def rules(self) -> KindRules:
        """What its kind does to a tenant."""
        return rules_of(self.kind)

    @property
    def orchestration_id(self) -> str:
        """The id of its orchestration: the operation's own, with a suffix after each restart and each move.

        So a start is never taken for that of an earlier orchestration which has not quite ended.
        """
        number = self.restarts + self.moves
        return f"{self.id}.{number}" if number else self.id

    @property
    def is_open(self) -> bool:
        """Whether it has not reached its end."""
        return self.state in (OperationState.QUEUED, OperationState.RUNNING)

    @property
    def is_aborting(self) -> bool:
        """Whether it cannot succeed any more and is being compensated."""
        return self.cancel_requested or bool(self.reason)

    @property
    def percent(self) -> int:
        """Share of its plan that is done, 0 to 100; it never falls, and is 100 only at the end.

        Every step that has started counts half, and whole once it is done. A failed step still counts half, and a
        compensation comes on top of the plan without changing its length: so no transition takes anything away.
        """
        if not self.is_open:
            return 100
        done = sum(1.0 if step.state is StepState.DONE else 0.5 for step in self.steps if step.started_at)
        return min(99, round(100 * done / len(self.rules.steps)))

    @property
    def queued_seconds(self) -> float:
        """Seconds between the request and the first work on it: the time in the queue."""
        return seconds_between(self.created_at, self.started_at or self.heartbeat_at)

    @property
    def total_seconds(self) -> float:
        """Seconds between the request and the end, or the last heartbeat of an open one."""
        return seconds_between(self.created_at, self.finished_at or self.heartbeat_at)

    def heartbeat_age(self, now: datetime) -> float:
        """Seconds since the last heartbeat."""
        return age(self.heartbeat_at, now)

    def poll_after(self, now: datetime) -> int:
        """Seconds after which a caller should poll again: a tenth of the operation's age, from 2 to 15.

        So a burst of waiting callers does not take time away from the operations that run.
        """
        age = seconds_between(self.created_at, now)
        return round(min(MAX_POLL_SECONDS, max(MIN_POLL_SECONDS, age / 10)))

    def step(self, name: StepName) -> Step:
        """Return the step of that name; raises KeyError when this operation never had it."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def start_step(self, name: StepName, now: datetime, message: str = "") -> "Operation":
        """Start a step, ending the one that ran before it; adds the step if it is not part of the plan.

        Starting a step again, as a repeated activity does, only writes a heartbeat. The operation counts as queued
        until a step after its placement starts.
        """
        if any(step.name == name and step.state is not StepState.PENDING for step in self.steps):
            return replace(self, heartbeat_at=now)
        steps = [
            replace(step, state=StepState.DONE, finished_at=now) if step.state is StepState.RUNNING else step
            for step in self.steps
        ]
        if all(step.name != name for step in steps):
            steps.append(Step(name))
        steps = [
            replace(step, state=StepState.RUNNING, started_at=now, message=message) if step.name == name else step
            for step in steps
        ]
        started = replace(self, steps=tuple(steps), heartbeat_at=now)
        if name is StepName.PLACE:
            return started
        return replace(started, state=OperationState.RUNNING, started_at=self.started_at or now)

    def has_started(self, name: StepName) -> bool:
        """Whether a step has begun, whatever came of it."""
        return any(step.name == name and step.started_at is not None for step in self.steps)

    def placed(self, cluster: ClusterName, instance: InstanceId, now: datetime, message: str) -> "Operation":
        """Record where an instance of it has a reservation, as the message of its place step."""
        placing = self.start_step(StepName.PLACE, now).with_message(message, now)
        return replace(placing, cluster=cluster, instance=instance)

    def with_message(self, message: str, now: datetime) -> "Operation":
        """Put a new message on the running step."""
        steps = tuple(
            replace(step, message=message) if step.state is StepState.RUNNING else step for step in self.steps
        )
        return replace(self, steps=steps, heartbeat_at=now)

    def fail_step(self, now: datetime, reason: str, failure: FailureClass = FailureClass.UNEXPECTED) -> "Operation":
        """End the running step as failed and skip those not begun; the operation stays open, for its compensation.

        The class of its first failure stays: what goes wrong with its compensation is another matter.
        """
        steps: list[Step] = []
        for step in self.steps:
            if step.state is StepState.RUNNING:
                steps.append(replace(step, state=StepState.FAILED, finished_at=now, message=reason))
            elif step.state is StepState.PENDING:
                steps.append(replace(step, state=StepState.SKIPPED))
            else:
                steps.append(step)
        first = failure if self.failure is FailureClass.NONE else self.failure
        return replace(self, steps=tuple(steps), reason=reason, failure=first, heartbeat_at=now)

    def finish(self, state: OperationState, now: datetime) -> "Operation":
        """Reach the end: a step still running is done, one never begun is skipped."""
        steps = tuple(
            replace(step, state=StepState.DONE, finished_at=now)
            if step.state is StepState.RUNNING
            else replace(step, state=StepState.SKIPPED)
            if step.state is StepState.PENDING
            else step
            for step in self.steps
        )
        return replace(self, steps=steps, state=state, finished_at=now, heartbeat_at=now)


def new_operation(kind: OperationKind, slug: Slug, *, actor: str, now: datetime, trace: str = "") -> Operation:
    """Return a new operation, which no activity has worked on yet."""
    return Operation(
        id=new_operation_id(slug, now),
        kind=kind,
        slug=slug,
        actor=actor,
        created_at=now,
        heartbeat_at=now,
        steps=tuple(Step(name) for name in rules_of(kind).steps),
        trace=trace,
    )


def new_operation_id(slug: Slug, now: datetime) -> OperationId:
    """Make an id that names its tenant, sorts newest first within it, and cannot be guessed (50 random bits)."""
    return OperationId(f"{slug}.{newest_first(now)}{base32(randbelow(1 << 50))}")


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Return the seconds from one moment to another, and 0 where the clock was set back between them."""
    return max(0.0, (later - earlier).total_seconds())


def age(moment: datetime, now: datetime) -> float:
    """Return the seconds since a moment; one in the future is equally long ago: the clock was set back since."""
    return abs((now - moment).total_seconds())


def newest_first(now: datetime) -> str:
    """Return ten letters that sort a later time before an earlier one, to the millisecond."""
    return base32(_MILLISECONDS_END - 1 - int(now.timestamp() * 1000))


def slug_of(operation_id: str) -> Slug:
    """Return the slug inside an operation id, or an empty string when it is not one.

    The result is safe as part of a key: only letters, digits and hyphens get that far.
    """
    found = _ID.fullmatch(operation_id)
    return Slug(found[1] if found else "")
