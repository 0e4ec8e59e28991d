"""Pages of a query that come back empty with a continuation token.

The service ends a page after some seconds or at the border of a partition, whether it found anything or not. Azurite
never does: it looks through all rows until a page is full. So a scripted server responds here in place of it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential

from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage


class PagedTable:
    """A table service with one query: each letter of a page is a row, and every page but the last has a token."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = pages
        self.queries: list[dict[str, str]] = []

    async def create(self, _: web.Request) -> web.Response:
        return web.json_response({"TableName": "rows"}, status=201)

    async def query(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        number = int(request.query.get("NextRowKey", "0"))
        rows = [{"odata.etag": f'W/"{key}"', "PartitionKey": "p", "RowKey": key} for key in self._pages[number]]
        more = number + 1 < len(self._pages)
        token = {"x-ms-continuation-NextPartitionKey": "p", "x-ms-continuation-NextRowKey": str(number + 1)}
        return web.json_response({"value": rows}, headers=token if more else {})


@asynccontextmanager
async def served(paged: PagedTable) -> AsyncGenerator[AzureTableStorage]:
    app = web.Application()
    app.add_routes([web.post("/Tables", paged.create), web.get("/{query}", paged.query)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    storage = AzureTableStorage(
        f"http://127.0.0.1:{runner.addresses[0][1]}",
        AzureNamedKeyCredential("account", "a2V5"),
        policy=RetryPolicy(total_timeout=5),
        attempt_timeout=5,
    )
    try:
        yield storage
    finally:
        await storage.close()
        await runner.cleanup()


@pytest.mark.parametrize("text", ["", "a", "|a", "a|||bc", "a|", "||"])
async def test_an_empty_page_does_not_end_the_rows(text: str) -> None:
    pages = text.split("|")  # each letter is a row
    paged = PagedTable(pages)
    async with served(paged) as storage:
        found = [(row["RowKey"], etag) async for row, etag in storage.query("rows", "match eq true", {}, page_size=7)]
    assert found == [(key, f'W/"{key}"') for page in pages for key in page]
    assert [query.get("NextRowKey", "0") for query in paged.queries] == [str(number) for number in range(len(pages))]
    assert {(query["$filter"], query["$top"]) for query in paged.queries} == {("match eq true", "7")}
