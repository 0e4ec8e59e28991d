"""Prices: what a unit costs in a region and since when, and what a use of it costs.

Amounts and costs are decimals. What is held for a time, such as a machine or a disk, is charged by the hour: a month
has 730 hours, as Azure counts, so a month of 31 days costs a little more than the amount for a month.

A cost of time is the difference of two values: what the same use would have cost from 1970 to its end, and from 1970 to
its start, each rounded to 12 decimal digits, half to even. So the costs of two intervals that touch add up to the cost
of both together, to the last digit, wherever an interval is split. No cost is off by more than one in the last digit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from typing import NewType

from shared.errors import NotFound

PriceId = NewType("PriceId", str)
"""What is priced, for example `vm:Standard_D4as_v5:linux` or `disk:StandardSSD_LRS:E4`."""

GLOBAL = "global"  # the region of a price that holds everywhere
HOURS_A_MONTH = 730
DAYS_A_MONTH = 30  # of what is charged by the day
LAST_DIGIT = Decimal("1e-12")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_AN_HOUR = timedelta(hours=1) // _MICROSECOND
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)  # all digits of any product or sum here


class Unit(StrEnum):
    """What one amount buys: an hour or more of something, or a number of something."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    GB_MONTH = "GB-month"
    GB = "GB"
    GB_SECOND = "GB-s"
    TEN = "10"
    TEN_THOUSAND = "10k"
    TEN_MILLION = "10M"


_HOURS = {Unit.HOUR: 1, Unit.DAY: 24, Unit.MONTH: HOURS_A_MONTH, Unit.GB_MONTH: HOURS_A_MONTH}
_A_MONTH = {Unit.HOUR: HOURS_A_MONTH, Unit.DAY: DAYS_A_MONTH, Unit.MONTH: 1, Unit.GB_MONTH: 1}
_NUMBERS = {Unit.GB: 1, Unit.GB_SECOND: 1, Unit.TEN: 10, Unit.TEN_THOUSAND: 10_000, Unit.TEN_MILLION: 10_000_000}


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one thing in one region for one period.

    Attributes:
        since: From when on it holds.
        until: When it ends; None if that is open.
        source: Where it is from.
        seen: When it was read there.
        verified: False if the source says nothing about this region or this meter, or could not be read.
        agreed: True for a price of one's own agreement, which goes before a list price.
        free: How many of what the unit counts are free each month, for the whole subscription. The amount does not
            contain that: whoever computes a month subtracts it first.
    """

    id: PriceId
    region: str
    currency: str
    unit: Unit
    amount: Decimal
    since: datetime
    until: datetime | None
    source: str
    seen: datetime
    verified: bool = True
    agreed: bool = False
    free: Decimal = Decimal(0)

    @property
    def is_of_time(self) -> bool:
        """Whether it is charged for a time."""
        return self.unit in _HOURS

    @property
    def an_hour(self) -> Decimal:
        """What one costs that is held for an hour; raises ValueError for what is charged by number."""
        if not self.is_of_time:
            raise ValueError(f"{self.id} is charged by {self.unit}, not by time")
        return self.amount / _HOURS[self.unit]

    @property
    def a_month(self) -> Decimal:
        """What one costs that is held for a month; raises ValueError for what is charged by number."""
        if not self.is_of_time:
            raise ValueError(f"{self.id} is charged by {self.unit}, not by time")
        return self.amount * _A_MONTH[self.unit]

    def holds_at(self, moment: datetime) -> bool:
        """Whether a moment is in its period, whose end is not part of it."""
        return self.since <= moment and (self.until is None or moment < self.until)

    def cost_of_time(self, quantity: Decimal, start: datetime, end: datetime) -> Decimal:
        """Return what so many cost that are held from one moment to another.

        Raises:
            ValueError: It is charged by number, or the interval ends before it begins.
        """
        if not self.is_of_time:
            raise ValueError(f"{self.id} is charged by {self.unit}, not by time")
        if end < start:
            raise ValueError(f"the interval ends before it begins: {start.isoformat()} to {end.isoformat()}")
        with localcontext(_EXACT):
            return self._cost_until(end, quantity) - self._cost_until(start, quantity)

    def cost_of_number(self, count: Decimal) -> Decimal:
        """Return what a number costs, such as of operations or of GB, with all digits.

        Raises:
            ValueError: It is charged by time.
        """
        if self.is_of_time:
            raise ValueError(f"{self.id} is charged by {self.unit}, not by number")
        with localcontext(_EXACT):
            return self.amount * count / _NUMBERS[self.unit]  # a power of ten, so nothing is rounded

    def _cost_until(self, moment: datetime, quantity: Decimal) -> Decimal:
        microseconds = (moment - _EPOCH) // _MICROSECOND
        exact = self.amount * quantity * microseconds / (_HOURS[self.unit] * _MICROSECONDS_AN_HOUR)
        return exact.quantize(LAST_DIGIT)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an interval, in which one price holds."""

    start: datetime
    end: datetime
    price: Price


class PriceBook:
    """All prices, in one currency.

    Of the prices of one thing in one region that hold at a moment, an agreed one counts; else the one that began last,
    and of two that began at the same moment the later in the order they were given. What has no price in a region has
    the one that holds everywhere, if there is one.

    Attributes:
        version: The edition of the document, with a hash of all prices: the same version is the same prices.
        prices: All of them.
        regions: Those that have a price of their own.

    Raises:
        ValueError: They have several currencies.
    """

    def __init__(self, edition: str, currency: str, prices: Iterable[Price]) -> None:
        self._edition = edition
        self.currency = currency
        self.prices: Sequence[Price] = sorted(prices, key=lambda each: (each.id, each.region, each.agreed, each.since))
        others = {each.currency for each in self.prices} - {currency}
        if others:
            raise ValueError(f"the book is in {currency}, but has prices in {', '.join(sorted(others))}")
        self.version = f"{edition}-{_digest(self.prices)}"
        self.regions = frozenset(each.region for each in self.prices) - {GLOBAL}
        self._series: Mapping[tuple[PriceId, str], list[Price]] = {}
        for each in self.prices:
            self._series.setdefault((each.id, each.region), []).append(each)

    def at(self, price: PriceId, region: str, moment: datetime) -> Price:
        """Return the price that holds at a moment; raises NotFound if there is none."""
        holding = [each for each in self._candidates(price, region) if each.holds_at(moment)]
        if not holding:
            raise NotFound(
                f"there is no price of {price} in {region} at {moment.isoformat()}: enter it into shared/prices.yaml"
            )
        *_, last = sorted(holding, key=lambda each: (each.agreed, each.since))
        return last

    def changes(self, price: PriceId, region: str, start: datetime, end: datetime) -> Sequence[datetime]:
        """Return when a price may change between two moments, in order."""
        found = {each.since for each in self._candidates(price, region)}
        found |= {each.until for each in self._candidates(price, region) if each.until is not None}
        return sorted(each for each in found if start < each < end)

    def between(self, price: PriceId, region: str, start: datetime, end: datetime) -> Sequence[Part]:
        """Return the prices from one moment to another in order, a part for each; raises NotFound if there is a gap."""
        parts: list[Part] = []
        for begin, finish in pairwise([start, *self.changes(price, region, start, end), end]):
            found = self.at(price, region, begin)
            if parts and parts[-1].price is found:
                parts[-1] = Part(parts[-1].start, finish, found)
            else:
                parts.append(Part(begin, finish, found))
        return parts

    def cost_of_known(
        self, price: PriceId, region: str, quantity: Decimal, start: datetime, end: datetime
    ) -> tuple[Decimal, bool]:
        """Return what so many cost that are held for a time, at the prices of each part, and whether all have one.

        Raises ValueError as `cost`.
        """
        costs, is_complete = list[Decimal](), True
        for begin, finish in pairwise([start, *self.changes(price, region, start, end), end]):
            try:
                costs.append(self.at(price, region, begin).cost_of_time(quantity, begin, finish))
            except NotFound:
                is_complete = False
        return total(costs), is_complete

    def cost(self, price: PriceId, region: str, quantity: Decimal, start: datetime, end: datetime) -> Decimal:
        """Return what so many cost that are held from one moment to another, at the prices of each part.

        Raises:
            NotFound: There is a time without a price.
            ValueError: It is charged by number, or the interval ends before it begins.
        """
        parts = self.between(price, region, start, end)
        return total(each.price.cost_of_time(quantity, each.start, each.end) for each in parts)

    def last_known(self, price: PriceId, region: str, moment: datetime) -> Price | None:
        """Return the list price that holds at a moment, or else the last one that began before it."""
        begun = [each for each in self._series.get((price, region), ()) if not each.agreed and each.since <= moment]
        holding = [each for each in begun if each.holds_at(moment)]
        return (holding or begun or [None])[-1]

    def with_stored(self, prices: Iterable[Price]) -> "PriceBook":
        """Return a book that also has prices that were found later; of two that began together, theirs counts."""
        return PriceBook(self._edition, self.currency, [*self.prices, *prices])

    def _candidates(self, price: PriceId, region: str) -> Sequence[Price]:
        return self._series.get((price, region)) or self._series.get((price, GLOBAL), ())


def total(costs: Iterable[Decimal]) -> Decimal:
    """Return the sum of costs, with all digits."""
    with localcontext(_EXACT):
        return sum(costs, Decimal(0))


def _digest(prices: Sequence[Price]) -> str:
    lines = (
        f"{each.id} {each.region} {each.currency} {each.unit} {each.amount.normalize():f} {each.free.normalize():f}"
        f" {each.agreed} {each.since.timestamp()} {each.until and each.until.timestamp()}"
        for each in prices
    )
    return sha256("\n".join(lines).encode()).hexdigest()[:12]
