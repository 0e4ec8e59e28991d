"""Reads a cost export, row by row, and sums up what belongs to what.

The sums are small however long the export is, so it is read where it is, and the app gets the sums only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from shared.application.ports.bills import CostExport, UnreadableRow
from shared.domain.bill import BillSums
from shared.domain.bill_matching import BillRules, match
from shared.errors import Invalid

MAX_UNREADABLE = Decimal("0.001")  # the share of rows that may be unreadable, by default
NAMED_ROWS = 20  # unreadable rows that are named one by one


@dataclass(slots=True)
class ReadBill:
    """What an export says.

    Attributes:
        source: The format, and the column with the costs.
        currency: The one currency of all lines.
        sums: The sums of all rows that could be read.
        rows: How many rows there are, without empty ones.
        unreadable: How many of these could not be read, and are in no sum.
        named: The first of them.
    """

    source: str
    currency: str = ""
    sums: BillSums = field(default_factory=BillSums)
    rows: int = 0
    unreadable: int = 0
    named: list[UnreadableRow] = field(default_factory=list[UnreadableRow])


def read_bill(exports: Iterable[CostExport], rules: BillRules, *, max_unreadable: Decimal = MAX_UNREADABLE) -> ReadBill:
    """Read all files of one export.

    Args:
        exports: The files, all of one format.
        rules: What belongs to what.
        max_unreadable: The share of rows that may be unreadable, from 0 to 1.

    Raises:
        Invalid: There is no row, the lines have several currencies, or too many rows cannot be read.
    """
    read: ReadBill | None = None
    for export in exports:
        read = read or ReadBill(export.source)
        for row in export.rows():
            read.rows += 1
            if isinstance(row, UnreadableRow):
                read.unreadable += 1
                if len(read.named) < NAMED_ROWS:
                    read.named.append(row)
                continue
            read.currency = read.currency or row.currency
            if row.currency != read.currency:
                raise Invalid(
                    ("", f"the export has lines in {read.currency} and in {row.currency}: export one currency")
                )
            read.sums.add(row, match(row, rules))
    if read is None or not read.rows:
        raise Invalid(("", "the export has no rows: there is nothing to import"))
    if read.unreadable > max_unreadable * read.rows:
        named = [(f"{each.file}, line {each.line}", each.reason) for each in read.named]
        limit = f"{read.unreadable} of {read.rows} rows cannot be read, more than {percent(max_unreadable)} %"
        raise Invalid(("", limit), *named)
    return read


def percent(share: Decimal) -> str:
    """Return a share of 1 as a number of percent."""
    return f"{(share * 100).normalize():f}"
