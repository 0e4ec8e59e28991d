"""The daily roll-up of latency: what is kept of all operations of a kind that ended alike on one day."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from shared.domain.failures import FailureClass
from shared.domain.latency import LatencyKind, Sample
from shared.domain.operations import OperationState
from shared.domain.sketch import Bins, bins_of

TOTAL, WAITING = "total", "waiting"


class RollupKey(NamedTuple):
    """What the operations of one roll-up have in common, beside their kind and their day."""

    outcome: OperationState
    cluster: str
    plan: str


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took, of all operations that did it: their number, the seconds of all, and a sketch."""

    count: int
    seconds: float
    bins: Bins


@dataclass(frozen=True, slots=True)
class Rollup:
    """All operations of a kind that ended alike on one day, on one cluster, for one plan.

    `durations` has those of the total, of the waiting, and of each step that ran; `failures` counts the classes of the
    reasons why they did not succeed.
    """

    kind: LatencyKind
    day: date
    key: RollupKey
    failures: Mapping[FailureClass, int]
    durations: Mapping[str, Durations]

    @property
    def count(self) -> int:
        """How many operations they are."""
        return self.durations[TOTAL].count


@dataclass(frozen=True, slots=True)
class RollupProgress:
    """How far the roll-ups have come: each day up to `final` was rolled up after its end, last at `rolled_at`."""

    final: date
    rolled_at: datetime


def roll_up(kind: LatencyKind, day: date, samples: Iterable[Sample]) -> Sequence[Rollup]:
    """Return the roll-ups of all operations of a kind that ended on a day; the same for every order of them."""
    groups: defaultdict[RollupKey, list[Sample]] = defaultdict(list)
    for each in samples:
        groups[RollupKey(each.outcome, each.cluster, each.plan)].append(each)
    return [_rolled_up(kind, day, key, groups[key]) for key in sorted(groups)]


def _rolled_up(kind: LatencyKind, day: date, key: RollupKey, samples: Sequence[Sample]) -> Rollup:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for each in samples:
        for name, value in {TOTAL: each.total_seconds, WAITING: each.waiting_seconds, **each.steps}.items():
            seconds[name].append(value)
    failures = Counter(each.failure for each in samples if each.failure is not FailureClass.NONE)
    durations = {
        name: Durations(len(values), round(math.fsum(values), 6), bins_of(values))
        for name, values in sorted(seconds.items())
    }
    return Rollup(kind, day, key, dict(sorted(failures.items())), durations)
