"""The table `bills`: a row for each day and group of the bill, all rows of a day written together.

| PartitionKey | RowKey | what |
|---|---|---|
| CURRENCY-YYYY-MM | YYYY-MM-DD:GROUP | what Azure bills for a group on a day, from which export, imported when |
"""

from collections.abc import Sequence
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
        """Write a day, all or nothing, in the place of what was imported for it before."""
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
        days: dict[date, BilledDay] = {}
        sums: dict[date, dict[BillGroup, Decimal]] = {}
        for day, group, amount in readable(TABLE, rows, _billed):
            of_day = sums.setdefault(day.day, {})
            of_day[group] = amount
            days[day.day] = BilledDay(day.day, day.currency, day.source, day.imported_at, of_day)
        return list(days.values())


def _month(currency: str, day: date) -> str:
    return f"{currency}-{day:%Y-%m}"


def _row(day: BilledDay, group: BillGroup) -> Row:
    return with_schema(
        {
            "PartitionKey": _month(day.currency, day.day),
            "RowKey": f"{day.day}:{group}",
            "day": str(day.day),
            "bill_group": group.value,
            "currency": day.currency,
            "amount": f"{day.sums.get(group, Decimal(0)):f}",  # a number of the table would not be exact
            "source": day.source,
            "imported_at": day.imported_at,
        }
    )


def _billed(row: Row) -> tuple[BilledDay, BillGroup, Decimal]:
    day = BilledDay(date.fromisoformat(row["day"]), row["currency"], row["source"], row["imported_at"], {})
    return day, BillGroup(row["bill_group"]), Decimal(row["amount"])
