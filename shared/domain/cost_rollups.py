"""Daily sums of the cost ledger: for each cluster by plan, and for the whole fleet.

Reports read these: one row for each cluster and day, and one for the fleet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.costs import ZERO, InstanceDay, day_bounds
from shared.domain.prices import HOURS_A_MONTH, PriceId
from shared.domain.rates import hours
from shared.domain.slugs import Slug


@dataclass(slots=True)
class PlanDay:
    """All instances of one plan on one cluster on one day.

    Attributes:
        costs: By component.
        while_asleep: The part of the own costs that is of the time in which an instance was asleep.
        saved: What they would have cost more had none been asleep.
        awake_hours: Hours awake, of all together.
        asleep_hours: Hours asleep, of all together.
        awake: How many are awake at the end.
        asleep: How many are asleep at the end.
        instances: How many there were on that day.
    """

    costs: dict[Component, Decimal] = field(default_factory=dict[Component, Decimal])
    while_asleep: Decimal = ZERO
    saved: Decimal = ZERO
    awake_hours: Decimal = ZERO
    asleep_hours: Decimal = ZERO
    awake: int = 0
    asleep: int = 0
    instances: int = 0

    @property
    def total(self) -> Decimal:
        """What they cost in all."""
        return sum(self.costs.values(), ZERO)

    def add(self, row: InstanceDay) -> None:
        """Count one instance."""
        if not row.costs and row.use is None:
            return  # it was gone already
        _add(self.costs, row.costs)
        self.while_asleep += row.own.while_asleep
        self.saved += row.own.saved
        self.awake_hours += row.own.awake
        self.asleep_hours += row.own.asleep
        if row.use is not None:
            self.awake += row.use.awake
            self.asleep += not row.use.awake
        self.instances += 1

    def add_all(self, other: "PlanDay") -> None:
        """Count the instances of another sum too."""
        _add(self.costs, other.costs)
        self.while_asleep += other.while_asleep
        self.saved += other.saved
        self.awake_hours += other.awake_hours
        self.asleep_hours += other.asleep_hours
        self.awake += other.awake
        self.asleep += other.asleep
        self.instances += other.instances


@dataclass(frozen=True, slots=True)
class ClusterDay:
    """What one cluster cost on one day in UTC.

    Attributes:
        day: The day.
        cluster: The cluster.
        region: Where it is.
        until: The moment up to which it is counted: the end of the day, once the day is over.
        nodes: What its nodes cost; where they are not known, what instances pay for them.
        seen: Its nodes at the end.
        overhead: What its own overhead costs.
        unshared: What of idle and overhead no tenant bears, by component.
        plans: Its instances by plan.
        unpriced: Prices that the book does not have; what they are for is in no sum.
    """

    day: date
    cluster: ClusterName
    region: str
    until: datetime
    nodes: Decimal
    seen: Sequence[Nodes]
    overhead: Decimal
    unshared: Mapping[Component, Decimal]
    plans: Mapping[str, PlanDay]
    unpriced: frozenset[PriceId] = frozenset()

    @property
    def total(self) -> Decimal:
        """What its nodes, its overhead and the disks on it cost."""
        disks = (each.costs.get(Component.VOLUME, ZERO) for each in self.plans.values())
        return self.nodes + self.overhead + sum(disks, ZERO)

    def a_month(self, cost: Decimal) -> Decimal:
        """Return what would be in a month of 730 hours, of something that costs this on the day up to `until`."""
        return cost / hours(day_bounds(self.day)[0], self.until) * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class OverGoal:
    """A customer that has cost more this month than one is to in a month, and the largest part of its last day."""

    slug: Slug
    plan: str
    month: Decimal
    most: Component | None


@dataclass(frozen=True, slots=True)
class Spread:
    """What customers have cost since the first of the month: how many, mean, median and 95th percentile, and in all."""

    customers: int
    total: Decimal
    median: Decimal
    p95: Decimal

    @property
    def mean(self) -> Decimal:
        """The total divided by the customers; zero if there are none."""
        return self.total / self.customers if self.customers else ZERO


@dataclass(frozen=True, slots=True)
class FleetDay:
    """What is the whole fleet's on one day in UTC.

    Attributes:
        day: The day.
        until: The moment up to which it is counted.
        overhead: What the overhead of all clusters together costs.
        unshared: What of that no tenant bears.
        months: What customers that are there at the end have cost since the first of the month, by plan.
        over_goal: Those that have cost most beyond the goal, the worst first.
        over_goal_count: How many there are of these in all.
        price_book: The version of the prices.
        unpriced: Prices that the book does not have.
    """

    day: date
    until: datetime
    overhead: Decimal
    unshared: Decimal
    months: Mapping[str, Spread]
    over_goal: Sequence[OverGoal]
    over_goal_count: int
    price_book: str
    unpriced: frozenset[PriceId] = frozenset()

    @property
    def is_whole_day(self) -> bool:
        """Whether the day is counted to its end."""
        return self.until >= day_bounds(self.day)[1]


def spread(values: Iterable[Decimal]) -> Spread:
    """Return how amounts are spread; a percentile is the smallest amount that so many do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, ZERO, ZERO, ZERO)

    def percentile(percent: int) -> Decimal:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

    return Spread(len(ordered), sum(ordered, ZERO), percentile(50), percentile(95))


def spread_of_all(spreads: Iterable[Spread]) -> Spread:
    """Return how many customers there are in all, and what they have cost; their spread cannot be told from that."""
    found = list(spreads)
    return Spread(sum(each.customers for each in found), sum((each.total for each in found), ZERO), ZERO, ZERO)


def _add(sums: dict[Component, Decimal], costs: Mapping[Component, Decimal]) -> None:
    for name, cost in costs.items():
        sums[name] = sums.get(name, ZERO) + cost
