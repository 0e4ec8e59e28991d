"""The columns of Azure's cost exports, by their headers: FOCUS, and the formats from before it.

Names are compared without regard to case and spaces, because they differ between agreements: an Enterprise Agreement
has `Cost` and `ResourceGroup`, a Microsoft Customer Agreement `costInBillingCurrency` and `resourceGroupName`.

Of FOCUS, `EffectiveCost` is read: usage that a reservation or savings plan covers has its part of what that cost there,
and 0 in `BilledCost`. The price book has reservations as prices for an hour, so the ledger counts in the same way. The
older formats have one column with the cost; an export of amortized cost has the same in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.domain.bill import Charge


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that a row says, and the names that its column may have; the first that is there counts."""

    names: tuple[str, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """A format: its name, and the column of each thing."""

    name: str
    columns: Mapping[str, Column]


_FOCUS = {
    "day": Column(("ChargePeriodStart",)),
    "period": Column(("BillingPeriodStart",), required=False),
    "cost": Column(("EffectiveCost",)),
    "invoiced": Column(("BilledCost",)),
    "currency": Column(("BillingCurrency",)),
    "charge": Column(("ChargeCategory",)),
    "correction": Column(("ChargeClass",), required=False),
    "commitment": Column(("CommitmentDiscountStatus",), required=False),
    "service": Column(("x_SkuMeterCategory", "ServiceName")),
    "resource_id": Column(("ResourceId",)),
    "resource_group": Column(("x_ResourceGroupName",), required=False),
    "tags": Column(("Tags",)),
}
FOCUS_1_0 = Layout("FOCUS 1.0", _FOCUS)
FOCUS_1_2 = Layout("FOCUS 1.2", _FOCUS)
COST_DETAILS = Layout(
    "cost details",
    {
        "day": Column(("Date", "UsageDate", "UsageDateTime")),
        "period": Column(("BillingPeriodStartDate",), required=False),
        "cost": Column(("CostInBillingCurrency", "Cost", "PreTaxCost")),
        "currency": Column(("BillingCurrency", "BillingCurrencyCode", "Currency")),
        "charge": Column(("ChargeType",)),
        "service": Column(("MeterCategory",)),
        "resource_id": Column(("ResourceId", "InstanceId")),
        "resource_group": Column(("ResourceGroup", "ResourceGroupName"), required=False),
        "tags": Column(("Tags",)),
    },
)

_CHARGES = {
    "usage": Charge.USAGE,
    "purchase": Charge.PURCHASE,
    "tax": Charge.TAX,
    "credit": Charge.CREDIT,
    "refund": Charge.REFUND,
    "adjustment": Charge.ADJUSTMENT,
    "roundingadjustment": Charge.ADJUSTMENT,
    "unusedreservation": Charge.UNUSED,
    "unusedsavingsplan": Charge.UNUSED,
}


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file: its format, where each thing is in a row, and how many fields a row has."""

    layout: Layout
    places: Mapping[str, int]
    width: int
    cost: str

    @property
    def source(self) -> str:
        """The format, and the column with the costs."""
        return f"{self.layout.name}, {self.cost}"


def read_header(names: Sequence[str]) -> tuple[Header | None, list[str]]:
    """Return what a header says, or everything that is wrong with it, as sentences."""
    found = [_plain(each) for each in names]
    layout = _layout_of(frozenset(found))
    wrong: list[str] = []
    places: dict[str, int] = {}
    for what, column in layout.columns.items():
        present = [name for name in column.names if _plain(name) in found]
        if present:
            if found.count(_plain(present[0])) > 1:
                wrong.append(f"the column {present[0]} occurs twice")
            places[what] = found.index(_plain(present[0]))
        elif column.required:
            wrong.append(f"the column {' or '.join(column.names)} is missing")
    if wrong:
        return None, [f"{each} (read as {layout.name})" for each in wrong]
    return Header(layout, places, len(names), names[places["cost"]].strip()), []


def charge_of(category: str, *, correction: str = "", commitment: str = "") -> Charge:
    """Return what a line is for, by the words of its columns."""
    charge = _CHARGES.get(_plain(category), Charge.OTHER)
    if charge is Charge.USAGE and _plain(correction) == "correction":
        return Charge.ADJUSTMENT
    if charge is Charge.USAGE and _plain(commitment) == "unused":
        return Charge.UNUSED
    return charge


def _layout_of(found: frozenset[str]) -> Layout:
    if found.isdisjoint({"chargeperiodstart", "effectivecost", "billedcost", "chargecategory"}):
        return COST_DETAILS
    return FOCUS_1_2 if "skumeter" in found else FOCUS_1_0


def _plain(name: str) -> str:
    return name.replace(" ", "").lower()
