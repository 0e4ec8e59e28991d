"""Reports of costs, from the daily sums."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_rollups import ClusterDay, FleetDay, PlanDay
from shared.domain.costs import ZERO, day_bounds
from shared.domain.prices import HOURS_A_MONTH
from shared.domain.rates import hours

MIN_CUSTOMER_HOURS = 12  # of fewer no rate is told: the data of an hour are no verdict
UNSHARED = "unshared"  # the name of what no tenant bears, among plans and states


class Grouping(StrEnum):
    """What has a line of its own."""

    NONE = "none"
    DAY = "day"
    MONTH = "month"
    COMPONENT = "component"
    PLAN = "plan"
    CLUSTER = "cluster"
    STATE = "state"


@dataclass(slots=True)
class CostLine:
    """What one group cost.

    Attributes:
        costs: By component, with what no tenant bears.
        saved: What it would have cost more had no tenant been asleep.
        awake_hours: Hours awake, of all instances together; not by component or state.
        asleep_hours: Hours asleep, likewise.
    """

    costs: dict[Component, Decimal] = field(default_factory=dict[Component, Decimal])
    saved: Decimal = ZERO
    awake_hours: Decimal = ZERO
    asleep_hours: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All components."""
        return sum(self.costs.values(), ZERO)

    @property
    def per_customer(self) -> Decimal | None:
        """What a customer costs in a month of 730 hours at this rate; None if too few hours are counted to say so."""
        return self._a_month(self.total)

    @property
    def per_customer_awake(self) -> Decimal | None:
        """The same, had no tenant been asleep."""
        return self._a_month(self.total + self.saved)

    def _a_month(self, cost: Decimal) -> Decimal | None:
        lived = self.awake_hours + self.asleep_hours
        return cost / lived * HOURS_A_MONTH if lived >= MIN_CUSTOMER_HOURS else None

    def add(self, costs: Mapping[Component, Decimal], of: PlanDay | None = None) -> None:
        """Count more costs, and the hours of the instances that they are of."""
        for name, cost in costs.items():
            self.costs[name] = self.costs.get(name, ZERO) + cost
        if of is not None:
            self.saved += of.saved
            self.awake_hours += of.awake_hours
            self.asleep_hours += of.asleep_hours


@dataclass(frozen=True, slots=True)
class CostReport:
    """What the fleet cost from one day to another.

    Attributes:
        lines: By group, in order.
        whole: All of it.
        unshared: The part that no tenant bears, by component.
        while_asleep: What tenants cost themselves while they were asleep.
        run_rate: What a month of 730 hours costs at the rate of the last day that is counted.
        of_last: What that day cost.
        until: The moment up to which costs are counted; None if nothing is known of these days.
        last: The last day's own sums of the fleet; None if nothing is known.
        unpriced: Prices that the book does not have; what they are for is in no sum.
    """

    lines: Mapping[str, CostLine]
    whole: CostLine
    unshared: Mapping[Component, Decimal]
    while_asleep: Decimal
    run_rate: Decimal
    of_last: CostLine
    until: datetime | None
    last: FleetDay | None
    unpriced: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the costs: of one plan on one cluster on one day, or what no tenant bears of that."""

    day: date
    cluster: ClusterName
    plan: str
    costs: Mapping[Component, Decimal]
    of: PlanDay | None


def cost_report(clusters: Sequence[ClusterDay], fleet: Sequence[FleetDay], by: Grouping) -> CostReport:
    """Return a report of some days.

    Args:
        clusters: The sums of all clusters, in the order of the days.
        fleet: The sums of the fleet, in the order of the days.
        by: What has a line of its own.
    """
    pieces = [*_pieces(clusters, fleet)]
    last = fleet[-1] if fleet else None
    whole, of_last, lines, unshared = CostLine(), CostLine(), dict[str, CostLine](), CostLine()
    for each in pieces:
        whole.add(each.costs, each.of)
        if last and each.day == last.day:
            of_last.add(each.costs, each.of)
        if each.of is None:
            unshared.add(each.costs)
        for name, costs in _GROUPS[by](each):
            # By component or state a piece is in several lines, and its hours would be in each of them.
            lines.setdefault(name, CostLine()).add(costs, None if by in _DIVIDING else each.of)
    lasted = hours(day_bounds(last.day)[0], last.until) if last else ZERO
    unpriced = {price for each in (*clusters, *fleet) for price in each.unpriced}
    return CostReport(
        lines={} if by is Grouping.NONE else dict(sorted(lines.items())),
        whole=whole,
        unshared=unshared.costs,
        while_asleep=sum((each.of.while_asleep for each in pieces if each.of is not None), ZERO),
        run_rate=of_last.total / lasted * HOURS_A_MONTH if lasted else ZERO,
        of_last=of_last,
        until=last.until if last else None,
        last=last,
        unpriced=sorted(unpriced),
    )


def _pieces(clusters: Iterable[ClusterDay], fleet: Iterable[FleetDay]) -> Iterable[_Piece]:
    for day in clusters:
        for plan, sums in day.plans.items():
            yield _Piece(day.day, day.cluster, plan, sums.costs, sums)
        if day.unshared:
            yield _Piece(day.day, day.cluster, UNSHARED, day.unshared, None)
    for of_all in fleet:
        if of_all.unshared:
            yield _Piece(of_all.day, ClusterName(UNSHARED), UNSHARED, {Component.OVERHEAD: of_all.unshared}, None)


type _Named = Iterable[tuple[str, Mapping[Component, Decimal]]]


def _by_state(piece: _Piece) -> _Named:
    """Yield what it cost while instances were awake, and asleep; shares of idle and overhead are apart."""
    if piece.of is None:
        return [(UNSHARED, piece.costs)]
    shares = {name: cost for name, cost in piece.costs.items() if name in (Component.IDLE, Component.OVERHEAD)}
    own = {name: cost for name, cost in piece.costs.items() if name not in shares}
    asleep = {Component.VOLUME: piece.of.while_asleep}
    awake = {name: cost - asleep.get(name, ZERO) for name, cost in own.items()}
    return [("awake", awake), ("asleep", asleep), ("shares", shares)]


_DIVIDING = (Grouping.COMPONENT, Grouping.STATE)
_GROUPS: Mapping[Grouping, Callable[[_Piece], _Named]] = {
    Grouping.NONE: lambda _: (),
    Grouping.DAY: lambda piece: [(piece.day.isoformat(), piece.costs)],
    Grouping.MONTH: lambda piece: [(f"{piece.day:%Y-%m}", piece.costs)],
    Grouping.COMPONENT: lambda piece: [(name.value, {name: cost}) for name, cost in piece.costs.items()],
    Grouping.PLAN: lambda piece: [(piece.plan, piece.costs)],
    Grouping.CLUSTER: lambda piece: [(piece.cluster, piece.costs)],
    Grouping.STATE: _by_state,
}
