"""Requests of a portal or an operator that retries until it gets a response."""

import asyncio
from secrets import token_hex

import httpx

from cli.api import Json, ProblemError
from tests.support.stack import CALLER_TIMEOUT_SECONDS, ProxiedStack

RETRY_STATUSES = (429, 502, 503)  # 502 of the host, for a worker that ended
TIMEOUT_SECONDS = 180.0  # of one operation, with the fault


async def send_until_accepted(
    stack: ProxiedStack, method: str, path: str, body: Json | None = None, *, operator: bool = False, after: str = ""
) -> Json:
    """Repeat a request with one idempotency key until it succeeds; raises ProblemError for a status without retry.

    `after` is the `next` of the page before, of a list.
    """
    query = {"next": after} if after else {}
    api = stack.operators if operator else stack.api
    key = token_hex(8)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                async with asyncio.timeout(CALLER_TIMEOUT_SECONDS):
                    return await api.call(method, path, body, headers={"Idempotency-Key": key}, **query)
            except ProblemError as error:
                if error.status not in RETRY_STATUSES:
                    raise
            except (httpx.HTTPError, TimeoutError):
                pass  # the host is down, or the response was lost
            await asyncio.sleep(0.2)
