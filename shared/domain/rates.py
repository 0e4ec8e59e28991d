"""What the nodes of a cluster cost, and what each unit of them costs, over time.

As the OpenCost specification has it, the price of a node is divided among its resources, so that a full node costs its
price and what nobody has requested is idle. First `attach_share` goes to the places for disks; the rest is divided
between cores and memory in the ratio of OpenCost's default prices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from shared.domain.assets import Assets, Nodes, SeenNodes, machine_price
from shared.domain.prices import PriceBook, PriceId
from shared.errors import NotFound

# OpenCost's default prices (configs/default.json): a core costs 0.031611 an hour, a GiB of memory 0.004237.
CPU_WEIGHT = Decimal("0.031611") / 1000  # for each thousandth of a core
MEMORY_WEIGHT = Decimal("0.004237") / 1024  # for each MiB

_HOUR = timedelta(hours=1)
_MICROSECONDS = Decimal(_HOUR // timedelta(microseconds=1))
_NONE: frozenset[PriceId] = frozenset()


@dataclass(frozen=True, slots=True)
class Rate:
    """What nodes cost an hour in a time in which neither they nor their prices change.

    Attributes:
        start: The first moment.
        end: The moment after the last.
        nodes: All nodes together; zero if they are not known.
        cpu: A thousandth of a core.
        memory: One MiB.
        slot: One place for a disk.
        unpriced: Prices that the book does not have.
    """

    start: datetime
    end: datetime
    nodes: Decimal
    cpu: Decimal
    memory: Decimal
    slot: Decimal
    unpriced: frozenset[PriceId] = _NONE

    def hours(self, start: datetime, end: datetime) -> Decimal:
        """Return how many hours of an interval are in its time."""
        return hours(max(self.start, start), min(self.end, end))


def hours(start: datetime, end: datetime) -> Decimal:
    """Return the hours from one moment to another, exact to the microsecond; none if it ends before it begins."""
    return max(Decimal((end - start) // timedelta(microseconds=1)), Decimal(0)) / _MICROSECONDS


def rates(
    seen: Iterable[SeenNodes], assets: Assets, book: PriceBook, region: str, start: datetime, end: datetime
) -> Sequence[Rate]:
    """Return the rates of one cluster from one moment to another, in order and without gaps.

    Args:
        seen: Its nodes, in the order of time. Before the first ones were seen nothing is known to be idle, and their
            prices count.
        assets: What the machines have.
        book: The prices.
        region: Whose prices hold for it.
        start: The first moment.
        end: The moment after the last.
    """
    begun = [each for each in seen if each.at < end]
    first = [each for each in begun if each.at <= start][-1:] or begun[:1]
    later = [each for each in begun if each.at > start and each not in first]
    moments = [start, *(each.at for each in later), end]
    nodes: Sequence[Sequence[Nodes]] = [first[0].nodes if first else (), *(each.nodes for each in later)]
    found = [
        rate
        for each, (begin, finish) in zip(nodes, pairwise(moments), strict=True)
        for rate in _rates_of(each, assets, book, region, begin, finish)
    ]
    known_from = min(max(first[0].at, start), end) if first else end
    return [part for each in found for part in _known(each, known_from)]


def _known(rate: Rate, since: datetime) -> Iterable[Rate]:
    """Yield a rate in two parts: before its nodes were seen they are in no sum."""
    if rate.start < since:
        yield replace(rate, end=min(rate.end, since), nodes=Decimal(0))
    if rate.end > since:
        yield replace(rate, start=max(rate.start, since))


def _is_unknown(nodes: Nodes, assets: Assets) -> bool:
    """Whether nodes say what they are, and it is not known what such a machine has."""
    return bool(nodes.machine and nodes.count and nodes.machine not in assets.machines)


def _rates_of(
    nodes: Sequence[Nodes], assets: Assets, book: PriceBook, region: str, start: datetime, end: datetime
) -> Sequence[Rate]:
    """Return the rates while the nodes stay as they are: one for each time between two changes of a price."""
    known = [each for each in nodes if each.machine in assets.machines and each.count]
    counted = known or [Nodes(assets.reference, spot=False, count=1)]
    prices = [machine_price(each.machine, spot=each.spot) for each in counted]
    moments = sorted({start, end, *(each for price in prices for each in book.changes(price, region, start, end))})
    found: list[Rate] = []
    for begin, finish in pairwise(moments):
        cost = Decimal(0)
        unpriced = frozenset(machine_price(each.machine, spot=each.spot) for each in nodes if _is_unknown(each, assets))
        for each, price in zip(counted, prices, strict=True):
            try:
                cost += each.count * book.at(price, region, begin).an_hour
            except NotFound:
                unpriced |= {price}
        machines = [(each.count, assets.machines[each.machine]) for each in counted]
        cpu = sum(count * each.cpu_millicores for count, each in machines) * CPU_WEIGHT
        memory = sum(count * each.memory_mib for count, each in machines) * MEMORY_WEIGHT
        slots = sum(count * each.disks for count, each in machines)
        divided = cost * (1 - assets.attach_share) / (cpu + memory)
        found.append(
            Rate(
                begin,
                finish,
                nodes=cost if known else Decimal(0),
                cpu=divided * CPU_WEIGHT,
                memory=divided * MEMORY_WEIGHT,
                slot=cost * assets.attach_share / slots if slots else Decimal(0),
                unpriced=unpriced,
            )
        )
    return found
