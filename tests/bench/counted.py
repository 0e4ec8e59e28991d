"""The tables and the task hub of a benchmark: they count what a worker asks of them."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.adapters.tables.storage import Row, TableStorage, Write
from shared.errors import NotFound
from tests.support.fake_workflows import FakeWorkflows

KEYS = {"PartitionKey", "RowKey"}
_COMPARED = re.compile(r"(\w+) (?:eq|ne|gt|ge|lt|le) ")


class CountedTables:
    """Implements `shared.adapters.tables.storage.TableStorage` on another one.

    Attributes:
        requests: How many gets, pages of queries, and transactions there were; retries are not among them.
        rows: How many rows the queries read.
        scans: How many queries make the service look at other rows than those that it returns.
    """

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables
        self.requests = self.rows = self.scans = 0

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        self.requests += 1
        return await self._tables.get(table, partition, row)

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        self.requests += 1
        return await self._tables.written_at(table, partition, row)

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        self.requests += 1
        self.scans += is_scan(where)
        rows = 0
        async for each in self._tables.query(table, where, parameters, page_size=page_size):
            if rows and rows % page_size == 0:
                self.requests += 1
            rows += 1
            self.rows += 1
            yield each

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        self.requests += 1
        return await self._tables.transact(table, writes)


def is_scan(where: str) -> bool:
    """Whether a filter does more than to name a range of keys in one partition: then the service looks at more rows.

    Azurite looks at all rows for every query, so neither its time nor the number of rows that it returns shows this.
    """
    return "PartitionKey eq " not in where or not set(_COMPARED.findall(where)) <= KEYS


class CollectedRows:
    """Table storage without rows that keeps what is written, so that many rows can be sent in one transaction."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        raise NotFound(f"{table} has no row {partition} {row}")

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        raise NotFound(f"{table} has no row {partition} {row}")

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        for nothing in ():
            yield nothing

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        self.writes += writes
        return ["" for _ in writes]


@dataclass
class CountedWorkflows(FakeWorkflows):
    """A task hub in memory.

    Attributes:
        calls: How many calls it got. Each is a few transactions of the real one; none is none.
    """

    calls: int = 0

    async def check(self) -> None:
        self.calls += 1
        await super().check()
