"""Faults of the ingestion endpoint that tests ask for."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Fault:
    """How the next requests are answered.

    Attributes:
        status: The status: of the whole request, or with `items` of these alone, whose response is then a 206. 0 gives
            no response at all until the caller has gone.
        times: For how many requests.
        retry_after: The header Retry-After, if any: seconds, or a date.
        location: The header Location of a redirect.
        items: The indices of the items that are refused.
        message: What is said of each item that is refused.
    """

    status: int
    times: int = 1
    retry_after: str = ""
    location: str = ""
    items: tuple[int, ...] = ()
    message: str = "the stand-in was told to refuse it"


class Faults:
    """The faults that are still to come, the next one first."""

    def __init__(self) -> None:
        self._queue: deque[Fault] = deque()

    def set(self, faults: Sequence[dict[str, Any]]) -> None:
        """Replace all; raises TypeError for a field that a fault does not have."""
        self._queue = deque(Fault(**each) for each in faults)

    def take(self) -> Fault | None:
        """Return the fault of a request that has come, if it has one."""
        if not self._queue:
            return None
        fault = self._queue[0]
        fault.times -= 1
        if fault.times <= 0:
            self._queue.popleft()
        return fault
