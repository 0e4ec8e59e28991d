"""Which row of Azure's public price list is a price, and whether a change of it can be believed.

Rows of different things look alike: one `armSkuName` has rows for Linux, Windows and Cloud Services, each also as Spot
and Low Priority, and rows of reservations and of subscriptions for tests; one meter has a row for each step of a volume
discount. So a row has to match exactly, and if several different ones do, none is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.domain.prices import GLOBAL, Price, PriceBook, PriceId, Unit
from shared.errors import Permanent

VIRTUAL_MACHINES = "Virtual Machines"
CONSUMPTION = "Consumption"
_NOT_ON_DEMAND = ("spot", "low priority")


@dataclass(frozen=True, slots=True)
class Meter:
    """Where a price is in Azure's list: the names of the API; what is empty can be anything.

    Attributes:
        service: `serviceName`.
        product: `productName`.
        arm_sku: `armSkuName`.
        sku: `skuName`.
        name: `meterName`.
        tier: `tierMinimumUnits`: from what number in a month on it holds.
    """

    service: str
    product: str = ""
    arm_sku: str = ""
    sku: str = ""
    name: str = ""
    tier: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RetailRow:
    """One row of the list, with the names of `Meter`; `unit` is None for one that berth does not know."""

    service: str
    product: str
    arm_sku: str
    sku: str
    name: str
    tier: Decimal
    region: str
    currency: str
    meter_id: str
    unit: Unit | None
    amount: Decimal
    kind: str
    reservation_term: str
    primary: bool
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class PriceDocument:
    """The prices as they are deployed, and where those that Azure lists are found there."""

    book: PriceBook
    meters: Mapping[PriceId, Meter]


def azure_region(region: str) -> str:
    """Return a region as Azure's list has it."""
    return "Global" if region == GLOBAL else region


def matching(rows: Sequence[RetailRow], meter: Meter, known: Price, now: datetime) -> Sequence[RetailRow]:
    """Return the rows of a price: the present one first, then those that are announced, in the order of their start.

    Args:
        rows: What the list has, whatever it is.
        meter: Where the price is.
        known: The price as it is known, for its region, currency and unit.
        now: The present time.

    Raises:
        Permanent: There is none, or several different ones.
    """
    found = [each for each in rows if _matches(each, meter, known) and (each.until is None or each.until > now)]
    chosen: list[RetailRow] = []
    for since in sorted({each.since for each in found}):
        begun = [each for each in found if each.since == since]
        alike = [each for each in begun if each.primary] or begun
        amounts = {each.amount for each in alike}
        if len(amounts) > 1:
            listed = ", ".join(f"{each:f}" for each in sorted(amounts))
            raise Permanent(f"there are {len(amounts)} different prices since {since.isoformat()}: {listed}")
        chosen.append(alike[0])
    present = [each for each in chosen if each.since <= now][-1:]
    if not present:
        raise Permanent("there is no such row in Azure's list")
    return [*present, *(each for each in chosen if each.since > now)]


def is_plausible(amount: Decimal, known: Decimal, *, factor: Decimal) -> bool:
    """Whether a price is above zero and at most so many times as high or as low as the known one."""
    return amount > 0 and known <= amount * factor and amount <= known * factor


def _matches(row: RetailRow, meter: Meter, known: Price) -> bool:
    pairs = (
        (meter.service, row.service),
        (meter.product, row.product),
        (meter.arm_sku, row.arm_sku),
        (meter.sku, row.sku),
        (meter.name, row.name),
    )
    return (
        all(not wanted or wanted == found for wanted, found in pairs)
        and row.tier == meter.tier
        and (row.region, row.currency, row.unit) == (azure_region(known.region), known.currency, known.unit)
        and row.kind == CONSUMPTION
        and not row.reservation_term
        and (row.service != VIRTUAL_MACHINES or _is_linux_on_demand(row))
    )


def _is_linux_on_demand(row: RetailRow) -> bool:
    """Whether a row is for a Linux machine at its full price; Cloud Services have another product name."""
    names = f"{row.sku} {row.name}".lower()
    return (
        row.product.startswith(VIRTUAL_MACHINES)
        and not row.product.endswith(" Windows")
        and not any(each in names for each in _NOT_ON_DEMAND)
    )
