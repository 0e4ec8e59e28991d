"""The bill: cost exports of Azure, the sums of it that were imported, and the ledger that it is compared with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from shared.domain.bill import BillLine, Sums
from shared.domain.bill_error import LedgerDay


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of a cost export that cannot be read; `line` counts the lines of the file from 1."""

    file: str
    line: int
    reason: str


class CostExport(Protocol):
    """One file of a cost export."""

    @property
    def source(self) -> str:
        """The format, and the column with the costs."""
        ...

    def rows(self) -> Iterator[BillLine | UnreadableRow]:
        """Yield the rows one by one, however many there are; raises Invalid if the file breaks off."""
        ...


@dataclass(frozen=True, slots=True)
class BilledDay:
    """What was imported for one day from one billing period: its sums, from an export in a format, and when.

    A later billing period can have charges for the day too, such as corrections. Both count.
    """

    day: date
    period: date
    currency: str
    source: str
    imported_at: datetime
    sums: Sums


class BillRepository(Protocol):
    """The days of the bill that were imported."""

    async def replace(self, day: BilledDay) -> None:
        """Write a day, all or nothing, in the place of what was imported for it from the same billing period."""
        ...

    async def between(self, first: date, last: date, *, currency: str) -> Sequence[BilledDay]:
        """Return the days from one to another, both included, in order, of all billing periods.

        Those in another currency are left out.
        """
        ...


class LedgerDays(Protocol):
    """The cost ledger, as far as the bill is compared with it.

    It is asked for sums of all tenants, not for each tenant's row: 10,000 tenants have 310,000 rows a month.
    """

    async def days(self, first: date, last: date, *, currency: str) -> Sequence[LedgerDay]:
        """Return the days from one to another, both included, that the ledger has in a currency.

        A day that is not complete yet is left out: the bill has all of it, or will have.
        """
        ...
