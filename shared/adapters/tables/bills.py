"""The table `bills`: a row for each day, billing period and group, those of a day and a period written together.

| PartitionKey | RowKey | what |
|---|---|---|
| CURRENCY-YYYY-MM of the day | DAY:PERIOD:GROUP | what Azure bills, from which export, and when it was imported |
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from shared.adapters.tables.rows import readable, with_schema
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.application.ports.bills import BilledDay
from shared.domain.bill import BillGroup

TABLE = "bills"


class TableBillRepository:
    """Implements `shared.application.ports.bills.BillRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def replace(self, day: BilledDay) -> None:
        """Write a day, all or nothing, in the place of what was imported for it from the same billing period."""
        # Of every group, so that nothing of an earlier import stays.
        await self._tables.transact(TABLE, [Upsert(_row(day, group)) for group in BillGroup])

    async def between(self, first: date, last: date, *, currency: str) -> Sequence[BilledDay]:
        """Return the days from one to another, both included, in order; a row that cannot be read is skipped."""
        where = (
            "PartitionKey ge @first_month and PartitionKey le @last_month and RowKey ge @first_day and RowKey lt @end"
        )
        parameters = {
            "first_month": _month(currency, first),
            "last_month": _month(currency, last),
            "first_day": str(first),
            "end": f"{last};",  # which sorts right after all groups of the last day
        }
        rows = [row async for row, _ in self._tables.query(TABLE, where, parameters)]
        days: dict[tuple[date, date], BilledDay] = {}
        for day, group, amount in readable(TABLE, rows, _billed):
            known = days.get((day.day, day.period), day)
            days[day.day, day.period] = replace(known, sums={**known.sums, group: amount})
        return list(days.values())


def _month(currency: str, day: date) -> str:
    return f"{currency}-{day:%Y-%m}"


def _row(day: BilledDay, group: BillGroup) -> Row:
    return with_schema(
        {
            "PartitionKey": _month(day.currency, day.day),
            "RowKey": f"{day.day}:{day.period}:{group}",
            "day": str(day.day),
            "billing_period": str(day.period),
            "bill_group": group.value,
            "currency": day.currency,
            "amount": f"{day.sums.get(group, Decimal(0)):f}",  # a number of the table would not be exact
            "source": day.source,
            "imported_at": day.imported_at,
        }
    )


def _billed(row: Row) -> tuple[BilledDay, BillGroup, Decimal]:
    at, period = (date.fromisoformat(row[each]) for each in ("day", "billing_period"))
    day = BilledDay(at, period, row["currency"], row["source"], row["imported_at"], {})
    return day, BillGroup(row["bill_group"]), Decimal(row["amount"])
