"""Pages of a query that come back empty with a continuation token.

The service ends a page after some seconds or at the border of a partition, whether it found anything or not. Azurite
never does: it looks through all rows until a page is full. So a scripted server responds here in place of it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential

from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.due import TableDueIndex
from shared.adapters.tables.tenants import due_row
from shared.domain.slugs import Slug
from shared.domain.sweeps import Position
from tests.support.clock import START

NOTHING: Mapping[str, Mapping[str, Any]] = {}


class PagedTable:
    """A table service with one query: each letter of a page is a row, and every page but the last has a token.

    Args:
        pages: The pages.
        rows: What the rows hold beside their keys, and their own row keys, by their letters.
        of: What a filter has to say to get them; any other finds nothing.
    """

    def __init__(self, pages: Sequence[str], *, rows: Mapping[str, Mapping[str, Any]] = NOTHING, of: str = "") -> None:
        self._pages = pages
        self._rows = rows
        self._of = of
        self.queries: list[dict[str, str]] = []

    async def create(self, _: web.Request) -> web.Response:
        return web.json_response({"TableName": "rows"}, status=201)

    async def query(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        number = int(request.query.get("NextRowKey", "0"))
        pages = self._pages if self._of in request.query["$filter"] else ("",)
        rows = [
            {"odata.etag": f'W/"{key}"', "PartitionKey": "p", "RowKey": key, **self._rows.get(key, {})}
            for key in pages[number]
        ]
        more = number + 1 < len(pages)
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


@pytest.mark.parametrize("text", ["abc", "|abc", "a||bc", "||ab|||c|", "abc||"])
async def test_a_sweep_skips_no_tenant_behind_empty_pages(text: str) -> None:
    rows = {slug: due_row(Slug(slug), START, START + timedelta(minutes=ord(slug))) for slug in "abc"}
    paged = PagedTable(text.split("|"), rows=rows, of="PartitionKey eq '9'")
    async with served(paged) as storage:
        index, found, position = TableDueIndex(storage), list[str](), Position()
        while position is not None:
            page = await index.page(position, until=START + timedelta(days=1), limit=7)
            found += [each.slug for each in page.items]
            position = page.next
    assert found == ["a", "b", "c"]
