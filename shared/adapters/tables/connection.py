"""One pooled connection to the storage account, its errors translated and its repeats bounded."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.adapters.retry import RetryBudget, retry_after, with_retry
from shared.errors import Conflict, NotFound, Permanent, Transient

type Row = dict[str, Any]
"""One entity: PartitionKey, RowKey and its properties."""

type Write = (
    tuple[Literal["create", "delete"], Row]
    | tuple[Literal["upsert"], Row]
    | tuple[Literal["update", "delete"], Row, Mapping[str, Any]]
)
"""One operation of a transaction, as azure-data-tables takes it."""

_BUSY = {408, 429, 500, 502, 503, 504}


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Raise our own errors in place of the library's."""
    try:
        yield
    except HttpResponseError as error:
        status = error.status_code or 0
        # An error code only: the service's text can quote the row.
        text = f"table storage answered {status} {getattr(error, 'error_code', '') or ''}".strip()
        if status == 404:
            raise NotFound(text) from error
        if status in (409, 412):
            raise Conflict(text) from error
        if status in _BUSY:
            headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
            raise Transient(text, retry_after(headers)) from error
        raise Permanent(text) from error
    except (ServiceRequestError, ServiceResponseError, TimeoutError) as error:
        raise Transient(f"table storage cannot be reached: {type(error).__name__}") from error
    except AzureError as error:
        raise Permanent(f"table storage: {type(error).__name__}") from error


class Tables:
    """The tables of one storage account, made on first use.

    Args:
        endpoint: The account's table endpoint.
        credential: An identity's token, or the account's key for Azurite.
        budget: How long a call may be repeated.
        try_seconds: Time limit of one try.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | AzureNamedKeyCredential,
        *,
        budget: RetryBudget,
        try_seconds: float,
    ) -> None:
        self._service = TableServiceClient(
            endpoint,
            credential=credential,
            retry_total=0,  # with_retry is the one place that repeats
            connection_timeout=try_seconds,
            read_timeout=try_seconds,
        )
        self._budget = budget
        self._clients: dict[str, TableClient] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def check(self) -> None:
        """Return if the account answers; raises Transient or Permanent. Not repeated: it is a health check."""
        async with translated():
            async for _ in self._service.query_tables("TableName eq 'tenants'", results_per_page=1):
                return

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """Return a row and its ETag; raises NotFound."""

        async def attempt() -> tuple[Row, str]:
            async with translated():
                entity = await (await self._client(table)).get_entity(partition, row)
            return dict(entity), str(entity.metadata["etag"])

        return await with_retry(attempt, self._budget)

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match, with their ETags; the service's empty pages are passed over."""
        position: str | None = None

        async def attempt() -> tuple[list[tuple[Row, str]], str | None]:
            async with translated():
                found = (await self._client(table)).query_entities(
                    where, parameters=dict(parameters), results_per_page=page_size
                )
                pages: Any = found.by_page(position)
                page = await anext(pages, None)
                rows = [] if page is None else [(dict(each), str(each.metadata["etag"])) async for each in page]
                return rows, pages.continuation_token

        while True:  # page by page, so that one that fails can be asked for again
            rows, position = await with_retry(attempt, self._budget)
            for row in rows:
                yield row
            if not position:
                return

    async def upsert(self, table: str, row: Row) -> None:
        """Write a row whatever is there."""

        async def attempt() -> None:
            async with translated():
                await (await self._client(table)).upsert_entity(row, mode=UpdateMode.REPLACE)

        await with_retry(attempt, self._budget)

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Write rows of one partition, all or none, and return their ETags in order.

        Raises Conflict when a condition does not hold. A repeat after a lost answer raises it too, though the write
        was done: the caller compares the row's `write_id` with its own.
        """

        async def attempt() -> list[str]:
            async with translated():
                answers = await (await self._client(table)).submit_transaction(list(writes))  # pyright: ignore[reportArgumentType] - its union of tuples is not ours by name only
            return [str(answer.get("etag", "")) for answer in answers]

        return await with_retry(attempt, self._budget)

    async def _client(self, table: str) -> TableClient:
        async with self._making.setdefault(table, asyncio.Lock()):
            if table not in self._clients:
                self._clients[table] = await self._service.create_table_if_not_exists(table)
        return self._clients[table]


def replace_if(row: Row, etag: str) -> Write:
    """Return the write that puts a row in the place of the one with that ETag, or that creates it for an empty ETag."""
    if not etag:
        return ("create", row)
    return (
        "update",
        row,
        {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified},
    )


def delete_if(row: Row, etag: str) -> Write:
    """Return the write that deletes a row if it still has that ETag."""
    return ("delete", row, {"etag": etag, "match_condition": MatchConditions.IfNotModified})
