"""The table `prices`: one row for each change of a price that was found, never written over.

| PartitionKey | RowKey | what |
|---|---|---|
| CURRENCY | REGION:PRICE:NUMBER | the price since `since`; NUMBER counts the changes of one price from 000000 on |
"""

from collections.abc import Sequence
from decimal import Decimal

from shared.adapters.tables.rows import readable, with_schema
from shared.adapters.tables.storage import Create, Row, TableStorage
from shared.domain.prices import Price, PriceId, Unit

TABLE = "prices"


class TablePriceRepository:
    """Implements `shared.application.ports.prices.PriceRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def all(self, currency: str) -> Sequence[Price]:
        """Return all prices in a currency in the order of each's changes; a row that cannot be read is skipped."""
        rows = self._tables.query(TABLE, "PartitionKey eq @currency", {"currency": currency})
        return readable(TABLE, [row async for row, _ in rows], _price)

    async def add(self, price: Price, *, number: int) -> None:
        """Add a price as the change with that number; raises Conflict when there is one already."""
        row: Row = {
            "PartitionKey": price.currency,
            "RowKey": f"{price.region}:{price.id}:{number:06}",
            "price": price.id,
            "region": price.region,
            "unit": price.unit.value,
            "amount": f"{price.amount:f}",  # a number of the table would not be exact
            "free": f"{price.free:f}",
            "since": price.since,
            "source": price.source,
            "seen": price.seen,
        }
        await self._tables.transact(TABLE, [Create(with_schema(row))])


def _price(row: Row) -> Price:
    return Price(
        id=PriceId(row["price"]),
        region=row["region"],
        currency=row["PartitionKey"],
        unit=Unit(row["unit"]),
        amount=Decimal(row["amount"]),
        since=row["since"],
        until=None,
        source=row["source"],
        seen=row["seen"],
        free=Decimal(row["free"]),
    )
