"""The JSON of reports of latency."""

from datetime import date
from typing import Self

from functions.http.responses import Moment, ResponseBody
from shared.domain import latency_report
from shared.domain.failures import FailureClass
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Grouping
from shared.domain.operations import OperationState
from shared.domain.sketch import RELATIVE_ERROR


class LatencyLine(ResponseBody):
    """How long the operations of one kind and one group took, in seconds from the request to the end.

    The seconds are of those that succeeded; with `by=outcome`, of each outcome. They are null if there are none.
    """

    kind: LatencyKind
    group: str
    """The day, the ISO week such as 2026-W09, the outcome, the cluster, the plan or the step; empty for `by=none`, and
    for a cluster or plan that a sweep does not have."""
    count: int
    """How many have ended; with `by=step`, of these how many did the step."""
    succeeded: int
    failures: int
    cancelled: int
    reasons: dict[FailureClass, int]
    """Why some did not succeed, and how many."""
    mean: float | None
    """Exact."""
    p50: float | None
    p95: float | None
    p99: float | None
    waiting_mean: float | None
    """How much of the mean was waiting: for a slot, and for Kubernetes."""
    waiting_p50: float | None
    waiting_p95: float | None
    waiting_p99: float | None
    error: float
    """How far the quantiles, but not the means, can be from the exact ones, as a share of these; those below a
    millisecond are 0."""

    @classmethod
    def of(cls, line: latency_report.Line) -> Self:
        """Return a line as operators see it."""
        outcomes, seconds, waiting = line.outcomes, line.seconds, line.waiting
        return cls(
            kind=line.kind,
            group=line.group,
            count=outcomes.total(),
            succeeded=outcomes[OperationState.SUCCEEDED],
            failures=outcomes[OperationState.FAILED],
            cancelled=outcomes[OperationState.CANCELLED],
            reasons=dict(sorted(line.failures.items())),
            mean=seconds.mean,
            p50=seconds.p50,
            p95=seconds.p95,
            p99=seconds.p99,
            waiting_mean=waiting.mean,
            waiting_p50=waiting.p50,
            waiting_p95=waiting.p95,
            waiting_p99=waiting.p99,
            error=RELATIVE_ERROR,
        )


class LatencyReport(ResponseBody):
    """How long operations took that ended in a range of days."""

    first_day: date
    """In UTC, as the last one."""
    last_day: date
    by: Grouping
    rolled_at: Moment | None
    """When the last roll-up began: what ended later is not in the report yet. Null before the first one."""
    items: tuple[LatencyLine, ...]
