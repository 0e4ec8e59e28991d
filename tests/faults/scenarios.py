"""The operations during which a fault is injected, as requested by a portal that retries until it gets a response."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex

import httpx

from cli.api import Json, ProblemError
from tests.support.builders import signup_body
from tests.support.stack import CALLER_TIMEOUT_SECONDS, ProxiedStack

RETRY_STATUSES = (429, 502, 503)  # 502 of the host, for a worker that ended
TIMEOUT_SECONDS = 180.0  # of one operation, with the fault


async def send_until_accepted(stack: ProxiedStack, method: str, path: str, body: Json | None = None) -> Json:
    """Repeat a request with one idempotency key until it succeeds; raises ProblemError for a status without retry."""
    key = token_hex(8)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                async with asyncio.timeout(CALLER_TIMEOUT_SECONDS):
                    return await stack.api.call(method, path, body, headers={"Idempotency-Key": key})
            except ProblemError as error:
                if error.status not in RETRY_STATUSES:
                    raise
            except (httpx.HTTPError, TimeoutError):
                pass  # the host is down, or the response was lost
            await asyncio.sleep(0.2)


async def provision(stack: ProxiedStack, slug: str) -> Json:
    return await stack.ended(
        await send_until_accepted(stack, "POST", "tenants", signup_body(slug)), seconds=TIMEOUT_SECONDS
    )


async def delete(stack: ProxiedStack, slug: str) -> Json:
    return await stack.ended(await send_until_accepted(stack, "DELETE", f"tenants/{slug}"), seconds=TIMEOUT_SECONDS)


async def cancel(stack: ProxiedStack, slug: str) -> Json:
    """Cancel the operation of a tenant."""
    tenant = await send_until_accepted(stack, "GET", f"tenants/{slug}")
    operation = await send_until_accepted(stack, "POST", f"operations/{tenant['operation']}/cancel")
    return await stack.ended(operation, seconds=TIMEOUT_SECONDS)


async def retry(stack: ProxiedStack, slug: str) -> Json:
    """Provision a tenant again whose provisioning was cancelled."""
    operation = await send_until_accepted(stack, "POST", f"tenants/{slug}/retry", {"version": "1.0.0"})
    return await stack.ended(operation, seconds=TIMEOUT_SECONDS)


async def nothing(stack: ProxiedStack, slug: str) -> None:
    pass


async def create_tenant(stack: ProxiedStack, slug: str) -> None:
    operation = await stack.ended(await stack.sign_up(slug))
    assert operation["state"] == "succeeded", operation["reason"]


async def start_endless_signup(stack: ProxiedStack, slug: str) -> None:
    """Sign up with a version that is never ready, and wait until the objects are applied."""
    operation = await stack.sign_up(slug, version="never-ready-1")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while operation["steps"][2]["state"] == "pending":
            await asyncio.sleep(0.05)
            operation = await stack.api.call("GET", f"operations/{operation['id']}")


@dataclass(frozen=True)
class Scenario:
    """One operation on one tenant: its preparation, the operation, and the states in which it may end."""

    prepare: Callable[[ProxiedStack, str], Awaitable[None]]
    act: Callable[[ProxiedStack, str], Awaitable[Json]]
    end_states: frozenset[str]


SCENARIOS: Mapping[str, Scenario] = {
    "provision": Scenario(nothing, provision, frozenset({"succeeded"})),
    "delete": Scenario(create_tenant, delete, frozenset({"succeeded"})),
    "cancel": Scenario(start_endless_signup, cancel, frozenset({"cancelled"})),
}
