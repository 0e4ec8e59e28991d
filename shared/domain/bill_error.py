"""How far the cost ledger is off the bill, by group and day, and by group and month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

from shared.domain.bill import COMPONENTS, BillGroup, Sums
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.prices import total

TOTAL = "total"
"""The group of a line that sums up all groups that are compared."""

_PERCENT = Decimal("0.01")
_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)  # for the percent of next to nothing


@dataclass(frozen=True, slots=True)
class UnsharedAsset:
    """What an asset cost on a day and no tenant has a share of, by the setting or because there was no tenant."""

    cluster: ClusterName
    component: Component
    cost: Decimal


@dataclass(frozen=True, slots=True)
class LedgerDay:
    """What the cost ledger has for one day in UTC: the components of all tenants, summed up, and what is unshared."""

    day: date
    components: Mapping[Component, Decimal]
    unshared: Sequence[UnsharedAsset] = ()

    def of(self, components: Iterable[Component]) -> Decimal:
        """Return what some components cost, unshared assets with them."""
        wanted = frozenset(components)
        shared = [cost for component, cost in self.components.items() if component in wanted]
        return total([*shared, *(each.cost for each in self.unshared if each.component in wanted)])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one group costs by the bill and by the ledger.

    Attributes:
        period: The day, or the month such as 2026-10.
        group: The group, or `total`.
        billed: By the bill.
        ledger: By the ledger; None for a group that is not compared, and for days that the ledger does not have.
        days: How many days that is.
    """

    period: str
    group: str
    billed: Decimal
    ledger: Decimal | None
    days: int = 1

    @property
    def difference(self) -> Decimal | None:
        """How much more the ledger has than the bill."""
        return None if self.ledger is None else total((self.ledger, -self.billed))

    @property
    def percent(self) -> Decimal | None:
        """The difference in percent of the bill, to two digits; None if nothing was billed."""
        if self.difference is None or not self.billed:
            return None
        return (self.difference / abs(self.billed) * 100).quantize(_PERCENT, context=_WIDE)

    @property
    def is_empty(self) -> bool:
        """Whether neither of the two has anything."""
        return not self.billed and not self.ledger


def compare_days(bill: Mapping[date, Sums], ledger: Mapping[date, LedgerDay]) -> list[Comparison]:
    """Compare each day of a bill, in order: the total first, then the groups; what neither has is left out."""
    found: list[Comparison] = []
    for day in sorted(bill):
        found += _compare(str(day), [day], bill, ledger)
    return [each for each in found if not each.is_empty]


def compare_months(bill: Mapping[date, Sums], ledger: Mapping[date, LedgerDay]) -> list[Comparison]:
    """Compare each month of a bill, in the same way.

    Of the days of the bill those count that the ledger has too; all count for what is not compared, and in a month of
    which the ledger has no day.
    """
    months: dict[str, list[date]] = {}
    for day in sorted(bill):
        months.setdefault(f"{day:%Y-%m}", []).append(day)
    found = [each for month, days in months.items() for each in _compare(month, days, bill, ledger)]
    return [each for each in found if not each.is_empty]


def _compare(
    period: str, days: Sequence[date], bill: Mapping[date, Sums], ledger: Mapping[date, LedgerDay]
) -> list[Comparison]:
    known = [day for day in days if day in ledger]
    found: list[Comparison] = []
    for group in BillGroup:
        counted = known if known and group in COMPONENTS else days
        billed = total(bill[day].get(group, Decimal(0)) for day in counted)
        compared = known and group in COMPONENTS
        costs = total(ledger[day].of(COMPONENTS[group]) for day in known) if compared else None
        found.append(Comparison(period, group, billed, costs, len(counted)))
    parts = [each for each in found if each.group in COMPONENTS]
    costs = [each.ledger for each in parts if each.ledger is not None]
    billed = total(each.billed for each in parts)
    return [Comparison(period, TOTAL, billed, total(costs) if costs else None, parts[0].days), *found]
