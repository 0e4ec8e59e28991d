"""What orchestrators and activities say to each other. Small on purpose: it is stored with every step."""

from dataclasses import dataclass
from enum import StrEnum


class Activity(StrEnum):
    """The registered names of the activities."""

    APPLY = "apply_tenant"
    AWAIT = "await_tenant"
    REMOVE = "remove_tenant"


class Verdict(StrEnum):
    """What an activity came to."""

    DONE = "done"
    AGAIN = "again"
    QUEUED = "queued"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Work:
    """An orchestration's input, and with the reason of a failure that of an activity which cleans up after it."""

    slug: str
    operation_id: str
    fail_after: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An activity's result.

    DONE goes on to the next step; AGAIN asks to be called once more after `wait` seconds, and QUEUED too, in which case
    that time does not count against the deadline; FAILED gives the reason for
    which the operation cannot succeed; ENDED says that the operation is over, whoever ended it.
    """

    verdict: Verdict
    reason: str = ""
    wait: float = 0.0
