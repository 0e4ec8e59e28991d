"""Meters a simulated fleet day by day, with the functions of berth's own metering.

Instances that used the same on a day cost the same and have equal weights. So they are counted, and computed once: as
shares are differences of running sums, what many equal ones get together is the share of their weights together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from cli.simulate.population import DAY, START, Kind
from shared.domain.assets import Assets, SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_shares import Pool, Pools, SharingRules, Totals, Weights, idle_cost
from shared.domain.costs import ZERO, OwnCost, Pricing, day_bounds, last_digit, overhead_cost, price_region
from shared.domain.prices import PriceBook, PriceId
from shared.domain.rates import Rate, rates
from shared.domain.uses import Transition, Use, spans
from shared.settings import CostSettings

type Group = tuple[Kind, str, bool]
"""What a customer does, its plan, and whether it was asleep all day."""


@dataclass(slots=True)
class Sum:
    """What instances cost together, and for how long."""

    costs: dict[Component, Decimal] = field(default_factory=dict[Component, Decimal])
    awake: Decimal = ZERO
    asleep: Decimal = ZERO

    @property
    def hours(self) -> Decimal:
        """Hours of all instances together."""
        return self.awake + self.asleep

    @property
    def total(self) -> Decimal:
        """All components."""
        return sum(self.costs.values(), ZERO)

    def add(self, costs: Mapping[Component, Decimal], awake: Decimal, asleep: Decimal) -> None:
        """Count more of it."""
        for name, cost in costs.items():
            self.costs[name] = self.costs.get(name, ZERO) + cost
        self.awake += awake
        self.asleep += asleep


@dataclass(slots=True)
class Day:
    """What a day cost, and how many instances there were at its end."""

    day: date
    awake: int = 0
    asleep: int = 0
    nodes: Decimal = ZERO
    overhead_of_clusters: Decimal = ZERO
    overhead_of_all: Decimal = ZERO
    unshared: Decimal = ZERO
    groups: dict[Group, Sum] = field(default_factory=dict[Group, Sum])
    unpriced: frozenset[PriceId] = frozenset()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that was played.

    Attributes:
        kinds: What each customer does.
        logs: The transitions of each, in the same order.
        nodes: The nodes of each cluster in the order of time; the first ones since the cluster is there.
        region: Where all clusters are.
    """

    kinds: Sequence[Kind]
    logs: Sequence[Sequence[Transition]]
    nodes: Mapping[ClusterName, Sequence[SeenNodes]]
    region: str


@dataclass(frozen=True, slots=True)
class _Class:
    """Instances that used the same on a day."""

    kind: Kind
    opening: Use | None
    changes: tuple[tuple[datetime, Use | None], ...] = ()


def metered(fleet: Fleet, days: int, assets: Assets, book: PriceBook, settings: CostSettings) -> Iterator[Day]:
    """Yield what each day cost, in order."""
    changed: list[list[tuple[Kind, list[Transition]]]] = [[] for _ in range(days)]
    for kind, log in zip(fleet.kinds, fleet.logs, strict=True):
        last = -1
        for each in log:
            number = (each.at - START) // DAY
            if number != last:
                changed[number].append((kind, []))
            changed[number][-1][1].append(each)
            last = number
    resting: Counter[_Class] = Counter()
    for number, logs in enumerate(changed):
        classes, closing, examples = Counter(resting), Counter(resting), dict[_Class, Sequence[Transition]]()
        for kind, log in logs:
            opening, after = _Class(kind, log[0].before), _Class(kind, log[-1].after)
            moved = _Class(kind, log[0].before, tuple((each.at, each.after) for each in log))
            examples.setdefault(moved, log)
            classes[moved] += 1
            closing[after] += 1
            if opening.opening is not None:
                classes[opening] -= 1
                closing[opening] -= 1
        metering = _Metering(fleet, (START + number * timedelta(days=1)).date(), assets, book, settings)
        day = metering.run({each: count for each, count in classes.items() if count}, examples)
        resting = Counter({each: count for each, count in closing.items() if count and each.opening is not None})
        for each, count in resting.items():
            if each.opening is not None and each.opening.awake:
                day.awake += count
            else:
                day.asleep += count
        yield day


class _Metering:
    """Meters one day."""

    def __init__(self, fleet: Fleet, day: date, assets: Assets, book: PriceBook, settings: CostSettings) -> None:
        self._assets, self._book = assets, book
        self._day, (self._start, self._end) = day, day_bounds(day)
        self._rules = SharingRules(settings.share_idle, settings.share_overhead)
        self._region = price_region(book, fleet.region, settings.price_region)
        self._rates = {
            name: rates(_of_day(seen, self._start), assets, book, self._region, self._start, self._end)
            for name, seen in fleet.nodes.items()
            if seen[0].at < self._end
        }

    def run(self, classes: Mapping[_Class, int], examples: Mapping[_Class, Sequence[Transition]]) -> Day:
        """Return what the day cost; all instances of a class are counted together."""
        pricing = Pricing(self._assets, self._book, self._rates_of, lambda _: self._region)
        day, totals = Day(self._day), dict[ClusterName, Totals]()
        found: list[tuple[_Class, int, Use, OwnCost, Weights]] = []
        for each, count in classes.items():
            used = spans(each.opening, examples.get(each, ()), self._start, self._end)
            if not used:
                continue
            own, use = pricing.own_cost(used), used[-1].use
            weights = {name: count * weight for name, weight in self._rules.weights(own).items()}
            totals[use.cluster] = totals.get(use.cluster, Totals(use.region)).plus(count * own.of_nodes, weights)
            found.append((each, count, use, own, weights))
        pools = self._pools(totals, day)
        for each, count, use, own, weights in found:
            costs = {name: count * cost for name, cost in own.costs.items()} | pools.shares(use.cluster, weights)
            group = each.kind, use.plan, not own.awake
            day.groups.setdefault(group, Sum()).add(costs, count * own.awake, count * own.asleep)
            day.unpriced |= own.unpriced
        return day

    def _pools(self, totals: Mapping[ClusterName, Totals], day: Day) -> Pools:
        """Return what is shared out, and note it."""
        idle, overhead, none = dict[ClusterName, Pool](), dict[ClusterName, Pool](), Totals("")
        for name in self._rates:
            nodes = sum((each.nodes * each.hours(self._start, self._end) for each in self._rates[name]), ZERO)
            weight, cost = totals.get(name, none), self._overhead(day, of_all=False)
            idle[name] = Pool(idle_cost(last_digit(nodes), weight.of_nodes), weight.idle)
            overhead[name] = Pool(cost, weight.overhead)
            day.nodes += last_digit(nodes)
            day.overhead_of_clusters += cost
            day.unshared += idle[name].unshared + overhead[name].unshared
            day.unpriced = day.unpriced.union(*(each.unpriced for each in self._rates[name]))
        day.overhead_of_all = self._overhead(day, of_all=True)
        of_all = Pool(day.overhead_of_all, sum((each.overhead for each in totals.values()), ZERO))
        day.unshared += of_all.unshared
        return Pools(idle, overhead, of_all)

    def _overhead(self, day: Day, *, of_all: bool) -> Decimal:
        cost, unpriced = overhead_cost(self._assets, self._book, self._region, self._start, self._end, of_all=of_all)
        day.unpriced |= unpriced
        return cost

    def _rates_of(self, cluster: ClusterName, _: str) -> Sequence[Rate]:
        return self._rates[cluster]


def _of_day(seen: Sequence[SeenNodes], start: datetime) -> Sequence[SeenNodes]:
    """Return the nodes that count on a day: the last ones before it, and those from then on; `rates` ends them."""
    before = [number for number, each in enumerate(seen) if each.at <= start][-1:]
    return seen[before[0] if before else 0 :]
