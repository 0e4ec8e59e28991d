"""The input and output of orchestrators and activities. Small, because the task hub stores it with every call."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from shared.domain.operations import OperationId
from shared.domain.slugs import Slug


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

    `reason` says why the operation failed, for the activity that compensates.
    """

    slug: Slug
    operation_id: OperationId
    reason: str = ""

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
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """An activity's result.

    DONE goes on to the next step; RETRY asks to be called again after `wait` seconds; QUEUED ends the orchestration,
    which is started again when the operation has a slot; FAILED gives the reason for which the operation cannot
    succeed; ENDED says that the operation has ended already.
    """

    verdict: Verdict
    reason: str = ""
    wait: float = 0.0

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, payload: Mapping[str, Any]) -> Self:
        """Return the outcome that `encode` made this JSON from; raises ValueError for an unknown verdict."""
        return cls(Verdict(payload["verdict"]), str(payload["reason"]), float(payload["wait"]))
