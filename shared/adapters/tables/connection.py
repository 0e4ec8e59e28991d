"""One pooled connection to the storage account, with our own errors and bounded retries."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.adapters.retry import RetryPolicy, retry_after, with_retry
from shared.adapters.tables.storage import Create, Delete, Replace, Row, Upsert, Write, check_transaction
from shared.errors import Conflict, NotFound, Permanent, Transient
from shared.telemetry import spans

# 0 is an error without a response: no token could be had. A new role assignment takes minutes to arrive, and a token
# that is refused can be accepted later: trouble with berth's identity must fail no tenant.
_TRANSIENT = {0, 401, 403, 408, 429, 500, 502, 503, 504}
DEPENDENCY = "tables"
MAX_PAGE = 1000  # rows; Azure refuses to send more with one response


class TableGone(Transient):
    """A table that somebody deleted; the next attempt makes it anew, which Azure refuses for about 40 s."""


@asynccontextmanager
async def map_errors() -> AsyncGenerator[None]:
    """Map the library's errors to our own."""
    try:
        yield
    except HttpResponseError as error:
        status = error.status_code or 0
        # An error code only: the service's text can quote the row.
        code = getattr(error, "error_code", "") or ""
        text = f"table storage responded {status} {code}".strip() if status else f"no token: {type(error).__name__}"
        if code in ("TableNotFound", "TableBeingDeleted"):
            raise TableGone(text) from error
        if status == 404:
            raise NotFound(text) from error
        if status in (409, 412):
            raise Conflict(text) from error
        if status in _TRANSIENT:
            headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
            raise Transient(text, retry_after(headers)) from error
        raise Permanent(text) from error
    except (ServiceRequestError, ServiceResponseError, TimeoutError) as error:
        raise Transient(f"table storage cannot be reached: {type(error).__name__}") from error
    except AzureError as error:
        raise Permanent(f"table storage: {type(error).__name__}") from error


class AzureTableStorage:
    """Implements `shared.adapters.tables.storage.TableStorage`: Azure Table Storage, or Azurite.

    Args:
        endpoint: The account's table endpoint.
        credential: An identity's token, or the account's key for Azurite.
        policy: How long a call may be retried.
        attempt_timeout: Seconds that one attempt may take.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | AzureNamedKeyCredential,
        *,
        policy: RetryPolicy,
        attempt_timeout: float,
    ) -> None:
        self._service = TableServiceClient(
            endpoint,
            credential=credential,
            retry_total=0,  # with_retry does all retries
            connection_timeout=attempt_timeout,
            read_timeout=attempt_timeout,
            use_env_settings=False,  # half of the time of a request was for reading the proxies from the environment
        )
        self._policy = policy
        self._clients: dict[str, TableClient] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def check(self) -> None:
        """Return if the account responds; raises Transient or Permanent. Not retried: it is a health check."""
        async with map_errors():
            async for _ in self._service.query_tables("TableName eq 'tenants'", results_per_page=1):
                return

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """Return a row and its ETag; raises NotFound."""

        async def attempt() -> tuple[Row, str]:
            async with self._using(table) as client:
                entity = await client.get_entity(partition, row)
            return dict(entity), str(entity.metadata["etag"])

        return await self._call("get", table, attempt)

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        """Return when a row was last written, by the service's own clock; raises NotFound."""

        async def attempt() -> datetime:
            async with self._using(table) as client:
                entity = await client.get_entity(partition, row, select=["PartitionKey", "Timestamp"])
            written: Any = entity.metadata["timestamp"]  # optional there, but every row has it
            return written

        return await self._call("get", table, attempt)

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match, with their ETags; pages that come back empty are skipped."""
        position: str | None = None

        async def attempt() -> tuple[list[tuple[Row, str]], str | None]:
            async with self._using(table) as client:
                found = client.query_entities(
                    where, parameters=dict(parameters), results_per_page=min(page_size, MAX_PAGE)
                )
                pages: Any = found.by_page(position)
                page = await anext(pages, None)
                rows = [] if page is None else [(dict(each), str(each.metadata["etag"])) async for each in page]
                return rows, pages.continuation_token

        while True:  # page by page, so that a page that fails can be requested again
            rows, position = await self._call("query", table, attempt)
            for row in rows:
                yield row
            if not position:
                return

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Write rows of one partition, all or none, and return their ETags in order.

        Raises Conflict when a condition does not hold. A retry after a lost response raises it too, though the write
        was done: the caller compares the row's `write_id` with its own.
        """
        check_transaction(writes)

        async def attempt() -> list[str]:
            async with self._using(table) as client:
                responses = await client.submit_transaction([_operation(write) for write in writes])
            return [str(response.get("etag", "")) for response in responses]

        return await self._call("transact", table, attempt, writes=len(writes))

    async def _call[T](self, verb: str, table: str, attempt: Callable[[], Awaitable[T]], **fields: int) -> T:
        with spans.call(DEPENDENCY, verb, table=table, **fields):
            return await with_retry(attempt, self._policy, dependency=DEPENDENCY)

    @asynccontextmanager
    async def _using(self, table: str) -> AsyncGenerator[TableClient]:
        """Give a table's client, and map the errors of what is done with it."""
        try:
            async with map_errors():
                yield await self._client(table)
        except TableGone:
            self._clients.pop(table, None)
            raise

    async def _client(self, table: str) -> TableClient:
        async with self._locks.setdefault(table, asyncio.Lock()):
            if table not in self._clients:
                self._clients[table] = await self._service.create_table_if_not_exists(table)
        return self._clients[table]


def _operation(write: Write) -> Any:
    """Return a write as azure-data-tables takes it: a tuple of a verb, the row and its options."""
    match write:
        case Create(row):
            return "create", row
        case Upsert(row):
            return "upsert", row, {"mode": UpdateMode.REPLACE}
        case Replace(row, etag):
            return "update", row, {"mode": UpdateMode.REPLACE, **_unmodified(etag)}
        case Delete(row, ""):
            return "delete", row
        case Delete(row, etag):
            return "delete", row, _unmodified(etag)


def _unmodified(etag: str) -> Mapping[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
