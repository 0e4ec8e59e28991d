"""The JSON of the comparison of the bill with the cost ledger."""

from datetime import date
from typing import Annotated, Self

from pydantic import Field

from functions.http.responses import Exact, ResponseBody
from shared.application import bills
from shared.domain import bill_error


class BillComparison(ResponseBody):
    """What one group costs by the bill and by the cost ledger, on a day or in a month."""

    period: str
    """The day, such as 2026-10-31, or the month, such as 2026-10."""
    group: str
    """A group of the bill, or `total` of those that are compared: nodes, volumes, databases, network, overhead."""
    billed: Exact
    ledger: Exact | None
    """Null for a group that is not compared, and where the ledger does not have the day."""
    difference: Exact | None
    """How much more the ledger has than the bill."""
    percent: Exact | None
    """The difference in percent of the bill; null if nothing is billed."""
    days: Annotated[int, Field(ge=1)]
    """How many days are in it. In a month, those count that both the bill and the ledger have."""

    @classmethod
    def of(cls, comparison: bill_error.Comparison) -> Self:
        """Return a comparison as operators see it."""
        return cls(
            period=comparison.period,
            group=comparison.group,
            billed=comparison.billed,
            ledger=comparison.ledger,
            difference=comparison.difference,
            percent=comparison.percent,
            days=comparison.days,
        )


class BillReport(ResponseBody):
    """The bill beside the cost ledger, for the days that were imported."""

    currency: str
    first: date
    last: date
    days: tuple[BillComparison, ...]
    """By day and group; what neither of the two has is left out."""
    months: tuple[BillComparison, ...]
    """By month and group."""

    @classmethod
    def of(cls, report: bills.BillReport) -> Self:
        """Return a report as operators see it."""
        return cls(
            currency=report.currency,
            first=report.first,
            last=report.last,
            days=tuple(map(BillComparison.of, report.days)),
            months=tuple(map(BillComparison.of, report.months)),
        )
