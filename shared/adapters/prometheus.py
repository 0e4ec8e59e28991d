"""A Prometheus over its HTTP API: one of one's own, or Azure Monitor's managed service, which wants an Entra token.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import asyncio
import json
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError

from shared.adapters.retry import RetryPolicy, retry_after, with_retry
from shared.application.ports.metrics import Result, Sample
from shared.errors import Permanent, Transient, Unreachable

MANAGED = ".prometheus.monitor.azure.com"
SCOPE = "https://prometheus.monitor.azure.com/.default"
ATTEMPT_TIMEOUT = 20.0  # seconds: one query is about the whole fleet
POLICY = RetryPolicy(total_timeout=60)
_MAY_WORK_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Prometheus:
    """Implements `shared.application.ports.metrics.Metrics`.

    Args:
        url: The address before /api/v1.
        credential: berth's identity, for Azure Monitor; it stays open.
        policy: How long to retry.
    """

    def __init__(self, url: str, credential: AsyncTokenCredential, policy: RetryPolicy = POLICY) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._credential = credential if (urlsplit(url).hostname or "").endswith(MANAGED) else None
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def query(self, promql: str, at: datetime) -> Result:
        """Evaluate an expression at a moment; raises Transient, and Permanent for a caller or expression refused."""
        return await with_retry(lambda: self._query(promql, at), self._policy, dependency="prometheus")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _query(self, promql: str, at: datetime) -> Result:
        if self._session is None:  # which belongs to the loop that runs now
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT))
        data = {"query": promql, "time": f"{at.timestamp():.3f}"}
        headers = await self._authorization()
        try:
            async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
                status, wait = response.status, retry_after(response.headers)
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"prometheus does not respond: {type(error).__name__}") from error
        return await asyncio.to_thread(_result, status, wait, body)  # of a large fleet, megabytes

    async def _authorization(self) -> dict[str, str]:
        if self._credential is None:
            return {}
        try:
            token = await self._credential.get_token(SCOPE)  # azure-identity keeps it until it expires
        except AzureError as error:
            # Only its type: azure-identity puts into the text whatever the response said.
            raise Transient(f"no token for prometheus: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {token.token}"}


def _result(status: int, wait: float | None, body: bytes) -> Result:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MAY_WORK_LATER:
        raise Transient(f"prometheus responds {status}", wait)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise Permanent(f"prometheus refuses berth's identity: {status}; it needs the role Monitoring Data Reader")
    try:
        document: Any = json.loads(body)
        if status != HTTPStatus.OK:
            raise Permanent(f"prometheus refuses the query: {status} {document['error'][:200]}")
        data = document["data"]
        if document["status"] != "success" or data["resultType"] != "vector":
            raise Permanent(f"the query is not one for a vector: {document['status']}, {data['resultType']}")
        samples = [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Transient(f"the response is not one of prometheus: {type(error).__name__}") from error
    return Result(samples, complete=not document.get("warnings"))
