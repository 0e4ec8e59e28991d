"""What one instance costs on one day, of what it uses itself.

Its share of idle and overhead comes on top of that; see `shared.domain.cost_shares`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from shared.domain.assets import Assets
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.instances import InstanceId
from shared.domain.prices import HOURS_A_MONTH, LAST_DIGIT, PriceBook, PriceId
from shared.domain.rates import Rate, hours
from shared.domain.slugs import Slug
from shared.domain.uses import Span, Use
from shared.errors import NotFound

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class OwnCost:
    """What an instance costs itself in a time.

    Attributes:
        costs: By component, without those that cost nothing.
        awake: Hours in which it was awake.
        asleep: Hours in which it was asleep.
        while_asleep: The part of the costs that is of the time in which it was asleep.
        saved: What it would have cost more had it been awake then.
        unpriced: Prices that the book does not have; what they are for is in no sum.
    """

    costs: Mapping[Component, Decimal]
    awake: Decimal = ZERO
    asleep: Decimal = ZERO
    while_asleep: Decimal = ZERO
    saved: Decimal = ZERO
    unpriced: frozenset[PriceId] = frozenset()

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum(self.costs.values(), ZERO)

    @property
    def of_nodes(self) -> Decimal:
        """What of the nodes it pays for."""
        return self.costs.get(Component.COMPUTE, ZERO) + self.costs.get(Component.ATTACH, ZERO)

    @property
    def existed(self) -> Decimal:
        """Hours in which it existed."""
        return self.awake + self.asleep


@dataclass(frozen=True, slots=True)
class InstanceDay:
    """What one instance cost on one day in UTC: a row of the cost ledger.

    Attributes:
        slug: Whose it is.
        instance: The instance.
        day: The day.
        use: What it uses at the end; None if it is gone. What it used last is in `plan` and `cluster`. One that is gone
            has rows until its month ends, so that what it has cost in the month is not lost.
        plan: Its plan.
        cluster: Its cluster.
        sequence: The number of the last transition that is counted.
        own: What it costs itself.
        shares: Its shares of idle and overhead, by component.
        month: What it has cost since the first of the month, this day included.
    """

    slug: Slug
    instance: InstanceId
    day: date
    use: Use | None
    plan: str
    cluster: ClusterName
    sequence: int
    own: OwnCost
    shares: Mapping[Component, Decimal] = field(default_factory=dict[Component, Decimal])
    month: Decimal = ZERO

    @property
    def costs(self) -> Mapping[Component, Decimal]:
        """All components that cost something."""
        return {**self.own.costs, **self.shares}

    @property
    def goes_on(self) -> bool:
        """Whether it has a row on the next day too."""
        return self.use is not None or (self.day + timedelta(days=1)).month == self.day.month

    @property
    def total(self) -> Decimal:
        """What it cost on this day in all."""
        return sum(self.costs.values(), ZERO)


class Pricing:
    """Computes what uses cost within one time, such as a day.

    It remembers what it has computed: most instances of a fleet use the same things for the whole day.

    Args:
        assets: What storage classes are disks of which kind.
        book: The prices.
        rates_of: Returns the rates of a cluster in a region for that whole time.
        price_region: Returns whose prices hold in a region.
    """

    def __init__(
        self,
        assets: Assets,
        book: PriceBook,
        rates_of: Callable[[ClusterName, str], Sequence[Rate]],
        price_region: Callable[[str], str],
    ) -> None:
        self._assets = assets
        self._book = book
        self._rates_of = rates_of
        self._price_region = price_region
        self._known: dict[tuple[Span, ...], OwnCost] = {}

    def own_cost(self, spans: Sequence[Span]) -> OwnCost:
        """Return what an instance costs itself that has used this, each component rounded to the last digit."""
        key = tuple(spans)
        if key not in self._known:
            self._known[key] = self._computed(key)
        return self._known[key]

    def _computed(self, spans: Iterable[Span]) -> OwnCost:
        costs = dict.fromkeys((Component.COMPUTE, Component.VOLUME, Component.ATTACH), ZERO)
        awake = asleep = while_asleep = saved = ZERO
        unpriced: frozenset[PriceId] = frozenset()
        for span in spans:
            compute, attach, missing = self._of_nodes(span)
            volume, no_disk = self._volume(span)
            costs[Component.VOLUME] += volume
            if span.use.awake:
                awake += hours(span.start, span.end)
                costs[Component.COMPUTE] += compute
                costs[Component.ATTACH] += attach
            else:
                asleep += hours(span.start, span.end)
                while_asleep += volume
                saved += compute + attach
            unpriced |= missing | no_disk
        rounded = {name: last_digit(cost) for name, cost in costs.items() if cost}
        times = last_digit(awake), last_digit(asleep)
        return OwnCost(rounded, *times, last_digit(while_asleep), last_digit(saved), unpriced)

    def _of_nodes(self, span: Span) -> tuple[Decimal, Decimal, frozenset[PriceId]]:
        """Return what it costs, or would cost, to be awake: its requests, and its place for a disk."""
        compute = attach = ZERO
        size, unpriced = span.use.size, frozenset[PriceId]()
        for rate in self._rates_of(span.use.cluster, span.use.region):
            lasted = rate.hours(span.start, span.end)
            if lasted:
                compute += lasted * (rate.cpu * size.cpu_millicores + rate.memory * size.memory_mib)
                attach += lasted * rate.slot
                unpriced |= rate.unpriced
        return compute, attach, unpriced

    def _volume(self, span: Span) -> tuple[Decimal, frozenset[PriceId]]:
        size = span.use.size
        price = self._assets.disk_price(size.storage_class, size.volume_gib)
        region = self._price_region(span.use.region)
        cost, is_complete = self._book.cost_of_known(price, region, Decimal(1), span.start, span.end)
        return cost, frozenset() if is_complete else frozenset({price})


def overhead_cost(
    items: Assets, book: PriceBook, region: str, start: datetime, end: datetime, *, of_all: bool
) -> tuple[Decimal, frozenset[PriceId]]:
    """Return what overhead costs from one moment to another, and the prices that the book does not have.

    Args:
        items: The overhead of each cluster, and of all together.
        book: The prices. What is charged by number is spread evenly over a month of 730 hours.
        region: Whose prices hold.
        start: The first moment.
        end: The moment after the last.
        of_all: Whether the overhead of all together is asked for; else that of one cluster.
    """
    cost, unpriced = ZERO, frozenset[PriceId]()
    for item in items.of_all if of_all else items.of_each_cluster:
        try:
            if book.at(item.price, region, start).is_of_time:
                cost += book.cost(item.price, region, item.quantity, start, end)
            else:
                for part in book.between(item.price, region, start, end):
                    lasted = hours(part.start, part.end) / HOURS_A_MONTH
                    free = part.price.free if of_all else ZERO  # which is for the whole subscription, once
                    cost += part.price.cost_of_number(max(ZERO, item.quantity - free)) * lasted
        except NotFound:
            unpriced |= {item.price}
    return last_digit(cost), unpriced


def price_region(book: PriceBook, region: str, fallback: str) -> str:
    """Return whose prices hold in a region: its own, or those of `fallback` if the book has none of it."""
    return region if region in book.regions or not fallback else fallback


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return when a day begins and ends, in UTC."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


def last_digit(cost: Decimal) -> Decimal:
    """Return a cost rounded to the last digit of the ledger."""
    return cost.quantize(LAST_DIGIT, rounding=ROUND_HALF_EVEN)
