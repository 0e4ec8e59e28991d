"""One worker's way to table storage, with faults."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.adapters.tables.storage import Row, TableStorage, Write
from tests.support.faults import Faults


class FaultyTables:
    """Implements `shared.adapters.tables.storage.TableStorage` on another one.

    A write whose response is lost is made twice, as the real adapter's retry does; what comes of the second counts.
    """

    def __init__(self, tables: TableStorage, faults: Faults) -> None:
        self._tables = tables
        self._faults = faults

    async def check(self) -> None:
        """Return if it answers: as the real adapter does, by reading something."""

        async def read() -> None:
            async for _ in self._tables.query("tenants", "PartitionKey eq '0'", {}, page_size=1):
                return

        await self._faults.call("check tables", read)

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """Return a row and its ETag; raises NotFound."""
        return await self._faults.call(f"get {table}", lambda: self._tables.get(table, partition, row))

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        """Return when a row was last written; raises NotFound."""
        return await self._faults.call(f"get {table}", lambda: self._tables.written_at(table, partition, row))

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match, with their ETags; all but the first page as they are asked for."""

        async def read() -> tuple[list[tuple[Row, str]], AsyncIterator[tuple[Row, str]]]:
            rows, page = self._tables.query(table, where, parameters, page_size=page_size), list[tuple[Row, str]]()
            async for each in rows:
                page.append(each)
                if len(page) == page_size:
                    break
            return page, rows

        page, others = await self._faults.call(f"query {table}", read)
        for each in page:
            yield each
        async for each in others:
            yield each

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Make writes in one partition, all or none."""
        return await self._faults.call(f"transact {table}", lambda: self._tables.transact(table, writes))
