"""Reports of latency: daily roll-ups, put together by what somebody asks for."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.failures import FailureClass
from shared.domain.latency import STEPS, WAIT_STEPS, LatencyKind
from shared.domain.latency_rollup import TOTAL, WAITING, Durations, Rollup
from shared.domain.operations import OperationState
from shared.domain.sketch import ZERO_BIN, Sketch


class Grouping(StrEnum):
    """What has a line of its own."""

    NONE = "none"
    DAY = "day"
    WEEK = "week"
    OUTCOME = "outcome"
    CLUSTER = "cluster"
    PLAN = "plan"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long something took, in seconds: the exact mean, and quantiles within `sketch.RELATIVE_ERROR`."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """All operations of one kind and one group.

    `failures` counts the classes of the reasons why some did not succeed. `seconds`, and `waiting`, which is how much
    of them was waiting, are of those that succeeded; where the groups are the outcomes, of each outcome.
    """

    kind: LatencyKind
    group: str
    outcomes: Counter[OperationState]
    failures: Counter[FailureClass]
    seconds: Quantiles
    waiting: Quantiles


class _Sum:
    """The durations of many roll-ups."""

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0
        self._sketch = Sketch()

    def add(self, durations: Durations) -> None:
        self._count += durations.count
        self._seconds += durations.seconds
        self._sketch.add(durations.bins)

    def quantiles(self) -> Quantiles:
        mean = round(self._seconds / self._count, 6) if self._count else None
        return Quantiles(mean, *(self._rounded(share) for share in (0.5, 0.95, 0.99)))

    def _rounded(self, share: float) -> float | None:
        found = self._sketch.quantile(share)
        return None if found is None else round(found, 6)


@dataclass(slots=True)
class _Group:
    outcomes: Counter[OperationState] = field(default_factory=Counter[OperationState])
    failures: Counter[FailureClass] = field(default_factory=Counter[FailureClass])
    seconds: _Sum = field(default_factory=_Sum)
    waiting: _Sum = field(default_factory=_Sum)


class LatencyReport:
    """Puts roll-ups together."""

    def __init__(self, by: Grouping) -> None:
        self._by = by
        self._groups: defaultdict[tuple[LatencyKind, str], _Group] = defaultdict(_Group)

    def add(self, rollup: Rollup) -> None:
        """Take in a roll-up."""
        is_timed = self._by is Grouping.OUTCOME or rollup.key.outcome is OperationState.SUCCEEDED
        for name, seconds, waiting in self._parts(rollup):
            group = self._groups[rollup.kind, name]
            group.outcomes[rollup.key.outcome] += seconds.count
            if self._by is not Grouping.STEP:  # a failed operation has done some steps, and it is not known which
                group.failures.update(rollup.failures)
            if is_timed:
                group.seconds.add(seconds)
                group.waiting.add(waiting)

    def lines(self) -> Sequence[Line]:
        """Return the lines, by kind and group; steps in their order."""
        return [
            Line(kind, name, each.outcomes, each.failures, each.seconds.quantiles(), each.waiting.quantiles())
            for (kind, name), each in sorted(self._groups.items(), key=lambda item: self._place(*item[0]))
        ]

    def _place(self, kind: LatencyKind, group: str) -> tuple[int, int, str]:
        return list(LatencyKind).index(kind), STEPS.index(group) if self._by is Grouping.STEP else 0, group

    def _parts(self, rollup: Rollup) -> Iterator[tuple[str, Durations, Durations]]:
        """Yield the groups that a roll-up belongs to, each with the seconds that count there, and the waiting."""
        if self._by is not Grouping.STEP:
            yield _group(self._by, rollup), rollup.durations[TOTAL], rollup.durations[WAITING]
            return
        for step, durations in rollup.durations.items():
            if step in STEPS:
                none = Durations(durations.count, 0.0, {ZERO_BIN: durations.count})
                yield step, durations, durations if step in WAIT_STEPS else none


def _group(by: Grouping, rollup: Rollup) -> str:
    match by:
        case Grouping.DAY:
            return rollup.day.isoformat()
        case Grouping.WEEK:
            year, week, _ = rollup.day.isocalendar()
            return f"{year}-W{week:02}"
        case Grouping.OUTCOME:
            return rollup.key.outcome
        case Grouping.CLUSTER:
            return rollup.key.cluster
        case Grouping.PLAN:
            return rollup.key.plan
        case _:
            return ""
