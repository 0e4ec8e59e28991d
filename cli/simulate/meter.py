"""Meters a simulated fleet day by day, with the functions of berth's own metering.

Instances that used the same on a day cost the same and have equal weights. So they are counted, and computed once: as
shares are differences of running sums, what many equal ones get together is the share of their weights together.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby

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
    """What a day cost."""

    day: date
    nodes: Decimal = ZERO
    overhead_of_clusters: Decimal = ZERO
    overhead_of_all: Decimal = ZERO
    unshared: Decimal = ZERO
    groups: dict[Group, Sum] = field(default_factory=dict[Group, Sum])
    unpriced: frozenset[PriceId] = frozenset()


@dataclass(frozen=True, slots=True)
class Alike:
    """Instances that used the same on a day: what was used when it began, and from when on what else."""

    kind: Kind
    opening: Use | None
    changes: tuple[tuple[datetime, Use | None], ...] = ()


@dataclass(frozen=True, slots=True)
class UsedDay:
    """What all instances used on a day: how many of each, and the transitions of one of those that had some."""

    day: date
    numbers: Mapping[Alike, int]
    examples: Mapping[Alike, Sequence[Transition]]
    awake: int
    asleep: int


def used_days(kinds: Sequence[Kind], logs: Sequence[Sequence[Transition]], days: int) -> Iterator[UsedDay]:
    """Yield what was used on each day, from what each customer does and its transitions."""
    changed: list[list[tuple[Kind, list[Transition]]]] = [[] for _ in range(days)]
    for kind, log in zip(kinds, logs, strict=True):
        for number, of_day in groupby(log, key=lambda each: (each.at - START) // DAY):
            changed[number].append((kind, list(of_day)))
    resting: Counter[Alike] = Counter()
    for number, of_day in enumerate(changed):
        numbers, closing, examples = Counter(resting), Counter(resting), dict[Alike, Sequence[Transition]]()
        for kind, log in of_day:
            moved = Alike(kind, log[0].before, tuple((each.at, each.after) for each in log))
            examples.setdefault(moved, log)
            numbers[moved] += 1
            if log[-1].after is not None:
                closing[Alike(kind, log[-1].after)] += 1
            if log[0].before is not None:
                numbers[Alike(kind, log[0].before)] -= 1
                closing[Alike(kind, log[0].before)] -= 1
        resting = +closing  # those of which there are any
        awake = sum(count for each, count in resting.items() if each.opening is not None and each.opening.awake)
        day = (START + number * DAY).date()
        yield UsedDay(day, +numbers, examples, awake, resting.total() - awake)


def metered(
    used: Iterable[UsedDay],
    nodes: Mapping[ClusterName, Sequence[SeenNodes]],
    region: str,
    assets: Assets,
    book: PriceBook,
    settings: CostSettings,
) -> Iterator[Day]:
    """Yield what each day cost.

    Args:
        used: What was used on each day.
        nodes: The nodes of each cluster in the order of time, the first ones since the cluster is there.
        region: Where all clusters are.
        assets: What costs money besides volumes.
        book: The prices.
        settings: How costs are shared out.
    """
    for each in used:
        yield _Metering(nodes, region, each, assets, book, settings).run()


class _Metering:
    """Meters one day."""

    def __init__(
        self,
        nodes: Mapping[ClusterName, Sequence[SeenNodes]],
        region: str,
        used: UsedDay,
        assets: Assets,
        book: PriceBook,
        settings: CostSettings,
    ) -> None:
        self._assets, self._book, self._used = assets, book, used
        self._start, self._end = day_bounds(used.day)
        self._rules = SharingRules(settings.share_idle, settings.share_overhead)
        self._region = price_region(book, region, settings.price_region)
        self._rates = {
            name: rates(_of_day(seen, self._start), assets, book, self._region, self._start, self._end)
            for name, seen in nodes.items()
            if seen[0].at < self._end
        }

    def run(self) -> Day:
        """Return what the day cost; instances that used the same are counted together."""
        pricing = Pricing(self._assets, self._book, self._rates_of, lambda _: self._region)
        day, totals = Day(self._used.day), dict[ClusterName, Totals]()
        found: list[tuple[Kind, int, Use, OwnCost, Weights]] = []
        for each, count in self._used.numbers.items():
            used = spans(each.opening, self._used.examples.get(each, ()), self._start, self._end)
            if not used:
                continue
            own, use = pricing.own_cost(used), used[-1].use
            weights = {name: count * weight for name, weight in self._rules.weights(own).items()}
            totals[use.cluster] = totals.get(use.cluster, Totals(use.region)).plus(count * own.of_nodes, weights)
            found.append((each.kind, count, use, own, weights))
        pools = self._pools(totals, day)
        for kind, count, use, own, weights in found:
            costs = {name: count * cost for name, cost in own.costs.items()}
            costs.update(pools.shares(use.cluster, weights))
            sum_ = day.groups.setdefault((kind, use.plan, not own.awake), Sum())
            sum_.add(costs, count * own.awake, count * own.asleep)
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
