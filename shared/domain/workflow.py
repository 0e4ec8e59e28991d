"""The input and output of orchestrators and activities. Small, because the task hub stores it with every call."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from shared.domain.failures import FailureClass
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.sweeps import SweepId

SWEEP_ORCHESTRATOR, SWEEP_ACTIVITY = "sweep_fleet", "advance_sweep"


class Activity(StrEnum):
    """The registered names of the activities."""

    APPLY = "apply_tenant"
    AWAIT = "await_tenant"
    STOP = "stop_tenant"
    RESUME = "resume_tenant"
    REMOVE = "remove_tenant"


class Verdict(StrEnum):
    """The kind of an activity's outcome."""

    DONE = "done"
    RETRY = "retry"
    QUEUED = "queued"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Work:
    """An orchestration's input, and its activities'.

    `reason` says why the operation failed, and `failure` is the class of that, for the activity that compensates.
    `trace` is the operation's.
    """

    slug: Slug
    operation_id: OperationId
    reason: str = ""
    failure: FailureClass = FailureClass.NONE
    trace: str = ""

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, payload: Mapping[str, Any]) -> Self:
        """Return the work that `encode` made this JSON from."""
        return cls(
            slug=Slug(payload["slug"]),
            operation_id=OperationId(payload["operation_id"]),
            reason=str(payload["reason"]),
            failure=_failure(payload),
            trace=str(payload.get("trace", "")),  # a history of before may go on without it
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """An activity's result.

    DONE goes on to the next step; RETRY asks to be called again after `wait` seconds; QUEUED ends the orchestration,
    which is started again when the operation has a slot; FAILED gives the reason for which the operation cannot
    succeed, with its class; ENDED says that the operation has ended already.
    """

    verdict: Verdict
    reason: str = ""
    wait: float = 0.0
    failure: FailureClass = FailureClass.NONE

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, payload: Mapping[str, Any]) -> Self:
        """Return the outcome that `encode` made this JSON from; raises ValueError for an unknown verdict."""
        reason, wait = str(payload["reason"]), float(payload["wait"])
        return cls(Verdict(payload["verdict"]), reason, wait, _failure(payload))


@dataclass(frozen=True, slots=True)
class SweepWork:
    """The input of a sweep's orchestration, and of its activity."""

    sweep_id: SweepId

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, payload: Mapping[str, Any]) -> Self:
        """Return the work that `encode` made this JSON from."""
        return cls(SweepId(payload["sweep_id"]))


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """The result of a sweep's activity: whether the sweep has ended, and else after how many seconds it goes on."""

    ended: bool
    wait: float = 0.0

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, payload: Mapping[str, Any]) -> Self:
        """Return the progress that `encode` made this JSON from."""
        return cls(bool(payload["ended"]), float(payload["wait"]))


def _failure(payload: Mapping[str, Any]) -> FailureClass:
    return FailureClass(payload.get("failure", FailureClass.NONE))  # a history of before may go on without it
