"""The bill beside the cost ledger: imports its days, and publishes how far the ledger is off."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.application.ports.bills import BilledDay, BillRepository, LedgerDays
from shared.application.ports.clock import Clock
from shared.domain.bill import BillGroup, Sums, add
from shared.domain.bill_error import TOTAL, Comparison, compare_days, compare_months
from shared.errors import Invalid
from shared.events import log_event

logger = logging.getLogger(__name__)

MAX_DAYS = 92  # of a report: three months


@dataclass(frozen=True, slots=True)
class BillReport:
    """The comparison of the days from one to another that were imported."""

    currency: str
    first: date
    last: date
    days: Sequence[Comparison]
    months: Sequence[Comparison]


class Bills:
    """The bill beside the cost ledger.

    Args:
        bills: What was imported.
        ledger: The cost ledger.
        currency: The currency of the price book, and so of the ledger.
        clock: The present time.
    """

    def __init__(self, *, bills: BillRepository, ledger: LedgerDays, currency: str, clock: Clock) -> None:
        self._bills = bills
        self._ledger = ledger
        self._currency = currency
        self._clock = clock

    async def import_days(
        self, days: Mapping[date, Sums], *, period: date, currency: str, source: str, dry_run: bool = False
    ) -> BillReport:
        """Replace days of a billing period, and compare them; importing the same again changes nothing.

        Args:
            days: The sums of each day, at least one.
            period: The first day of the billing period.
            currency: In which they are.
            source: The format of the export, and the column with the costs.
            dry_run: Only compare.

        Raises:
            Invalid: They are in another currency than the price book.
        """
        if currency != self._currency:
            raise Invalid(
                (
                    "/currency",
                    f"the bill is in {currency} and the price book in {self._currency}, and berth does not convert: "
                    f"export the bill in {self._currency}, or enter your prices in {currency} into shared/prices.yaml",
                )
            )
        now = self._clock.now()
        billed = [BilledDay(day, period, currency, source, now, sums) for day, sums in sorted(days.items())]
        if not dry_run:
            for each in billed:
                await self._bills.replace(each)
        first, last = billed[0].day, billed[-1].day
        stored = await self._bills.between(first, last, currency=currency)
        others = [each for each in stored if each.day in days and each.period != period]
        report = await self._compare(first, last, [*billed, *others])
        if not dry_run:
            _log(report)
        return report

    async def report(self, first: date | None, last: date | None) -> BillReport:
        """Compare the days from one to another that were imported.

        Args:
            first: The first day; by default that of the last day's month.
            last: The last day; by default today, in UTC.

        Raises:
            Invalid: The last day is before the first one, or there are more than `MAX_DAYS`.
        """
        last = last or self._clock.now().date()
        first = first or last.replace(day=1)
        if last < first:
            raise Invalid(("?to", f"give a day that is not before {first}"))
        if last - first >= timedelta(days=MAX_DAYS):
            raise Invalid(("?from", f"give at most {MAX_DAYS} days"))
        found = await self._bills.between(first, last, currency=self._currency)
        return await self._compare(first, last, found)

    async def _compare(self, first: date, last: date, billed: Sequence[BilledDay]) -> BillReport:
        bill: dict[date, dict[BillGroup, Decimal]] = {}
        for each in billed:
            sums = bill.setdefault(each.day, {})
            for group, amount in each.sums.items():
                sums[group] = add(sums.get(group, Decimal(0)), amount)
        known = await self._ledger.days(first, last, currency=self._currency) if bill else ()
        ledger = {each.day: each for each in known}
        return BillReport(self._currency, first, last, compare_days(bill, ledger), compare_months(bill, ledger))


def _log(report: BillReport) -> None:
    """Log how far the ledger is off on each imported day that it has, for the query `bill-and-ledger`."""
    for each in report.days:
        if each.group == TOTAL and each.ledger is not None:
            log_event(logger, "bill compared", day=each.period, billed=f"{each.billed:f}", ledger=f"{each.ledger:f}")
