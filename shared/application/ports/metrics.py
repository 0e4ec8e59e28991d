"""The metrics of the fleet, as a Prometheus has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of a result."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found; not `complete` if the server says that something may be left out."""

    samples: Sequence[Sample]
    complete: bool


class Metrics(Protocol):
    """A server that evaluates PromQL."""

    async def query(self, promql: str, at: datetime) -> Result:
        """Evaluate an expression at a moment.

        Raises:
            Transient: The server does not respond, or is overloaded.
            Permanent: It refuses the caller or the expression.
        """
        ...
