"""The bill: what Azure charges, line by line, and its sums by day and group.

A group is what can be compared with components of the cost ledger, or what cannot be, such as taxes. Amounts are
decimals, and their sums keep all digits: the groups of all days add up to the total to the last one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact
from enum import StrEnum

from shared.domain.cost_components import Component

# Digits before and after the point that an amount may have. Azure's exports have up to 28 after it; with these limits
# the sum of 10^20 amounts is exact.
_BEFORE, _AFTER = 18, 40
_EXACT = Context(prec=_BEFORE + _AFTER + 20, traps=[Inexact])
_AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class Charge(StrEnum):
    """What a line of the bill is for."""

    USAGE = "usage"
    PURCHASE = "purchase"  # such as of a reservation, or of something in the marketplace
    TAX = "tax"
    CREDIT = "credit"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"  # rounding, or a correction of an earlier bill
    UNUSED = "unused"  # the part of a reservation or savings plan that nothing used
    OTHER = "other"  # a word that berth does not know


class BillGroup(StrEnum):
    """A part of the bill."""

    NODES = "nodes"
    VOLUMES = "volumes"
    DATABASES = "databases"
    NETWORK = "network"
    OVERHEAD = "overhead"
    UNMATCHED = "unmatched"  # usage that is of no tenant, no node and no overhead that berth knows
    # What is no usage, or of nobody: not compared.
    UNUSED = "unused commitments"
    PURCHASES = "purchases"
    TAXES = "taxes"
    CREDITS = "credits"
    REFUNDS = "refunds"
    ADJUSTMENTS = "adjustments"


COMPONENTS: Mapping[BillGroup, frozenset[Component]] = {
    # A node is billed whole: what its pods use, what its places for disks keep others from, and what is idle.
    BillGroup.NODES: frozenset({Component.COMPUTE, Component.ATTACH, Component.IDLE}),
    BillGroup.VOLUMES: frozenset({Component.VOLUME}),
    BillGroup.DATABASES: frozenset({Component.DATABASE}),
    BillGroup.NETWORK: frozenset({Component.NETWORK}),
    BillGroup.OVERHEAD: frozenset({Component.OVERHEAD}),
}
"""The components of the ledger with which each group is compared; the other groups are not."""

type Sums = Mapping[BillGroup, Decimal]
"""The amounts of one day; a group that is left out is 0."""


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of the bill.

    Attributes:
        day: The day, in UTC, on which the charge begins.
        period: The first day of the billing period that it is billed in, which may be a later one.
        cost: What it costs, with the part of a reservation or savings plan that it used, where the export has that.
        invoiced: What the invoice has for it, where the export has that too.
        service: The category of its meter, such as Storage.
        resource_id: The Azure resource, or empty.
        tags: The resource's tags; None if they cannot be read.
    """

    day: date
    period: date
    cost: Decimal
    currency: str
    charge: Charge
    service: str
    resource_id: str
    resource_group: str
    tags: Mapping[str, str] | None
    invoiced: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """To what a line belongs; `tenant` is its namespace, or its slug if an operator said so, or empty."""

    group: BillGroup
    tenant: str = ""


class BillSums:
    """The sums of a bill, added up line by line.

    Attributes:
        periods: The amount of each group on each day, by the billing period.
        tenants: What was matched to each tenant, all in all.
        unmatched: What was not matched, by the type of resource, or by service where there is no resource.
        total: The sum of all lines.
        invoiced: The same by what the invoice has; None if the export does not have it.
    """

    def __init__(self) -> None:
        self.periods: defaultdict[date, dict[date, defaultdict[BillGroup, Decimal]]] = defaultdict(dict)
        self.tenants: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.unmatched: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.total = Decimal(0)
        self.invoiced: Decimal | None = None

    def add(self, line: BillLine, match: Match) -> None:
        """Add a line, as it was matched."""
        day = self.periods[line.period].setdefault(line.day, defaultdict(Decimal))
        day[match.group] = add(day[match.group], line.cost)
        self.total = add(self.total, line.cost)
        if match.tenant:
            self.tenants[match.tenant] = add(self.tenants[match.tenant], line.cost)
        if match.group is BillGroup.UNMATCHED:
            what = resource_type(line.resource_id) or line.service or "without a resource"
            self.unmatched[what] = add(self.unmatched[what], line.cost)
        if line.invoiced is not None:
            self.invoiced = add(self.invoiced or Decimal(0), line.invoiced)


def add(one: Decimal, other: Decimal) -> Decimal:
    """Return the sum of two amounts, with all digits."""
    return _EXACT.add(one, other)


def amount_of(text: str) -> Decimal:
    """Return an amount as it is written; raises ValueError for what is no number, or has too many digits to be one."""
    if not _AMOUNT.fullmatch(text):
        raise ValueError("is not a number")
    amount = Decimal(text)
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # of a number that is finite
    if exponent < -_AFTER or (amount and amount.adjusted() >= _BEFORE):
        raise ValueError("has too many digits for an amount")
    return amount


def resource_type(resource_id: str) -> str:
    """Return the type of a resource in lower case, such as microsoft.compute/disks, or nothing."""
    parts = resource_id.lower().rpartition("/providers/")[2].split("/")
    return "/".join(parts[:2]) if "/providers/" in resource_id.lower() and len(parts) > 2 else ""
