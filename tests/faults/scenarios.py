"""What berth is doing when a fault strikes, at the wish of a portal that does not give up."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex

import httpx

from cli.api import Json, ProblemError
from tests.support.builders import signup_body
from tests.support.stack import ProxiedStack

COME_BACK = (429, 503)  # answers that say: send the same request again
PATIENCE = 180.0  # seconds for any one change, with the fault in the middle of it


async def insist(stack: ProxiedStack, method: str, path: str, body: Json | None = None) -> Json:
    """Send a change under one idempotency key until it is answered; raises ProblemError for any other refusal."""
    key = token_hex(8)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await stack.api.call(method, path, body, headers={"Idempotency-Key": key})
            except ProblemError as error:
                if error.status not in COME_BACK:
                    raise
            except httpx.HTTPError:
                pass  # the host is away, or its answer was lost
            await asyncio.sleep(0.2)


async def provision(stack: ProxiedStack, slug: str) -> Json:
    return await stack.ended(await insist(stack, "POST", "tenants", signup_body(slug)), seconds=PATIENCE)


async def delete(stack: ProxiedStack, slug: str) -> Json:
    return await stack.ended(await insist(stack, "DELETE", f"tenants/{slug}"), seconds=PATIENCE)


async def cancel(stack: ProxiedStack, slug: str) -> Json:
    """Cancel what runs on a tenant. It may have ended by then, which is a fair answer too."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                tenant = await stack.api.call("GET", f"tenants/{slug}")
                break
            except (httpx.HTTPError, ProblemError):
                await asyncio.sleep(0.2)
    operation: Json = {"id": tenant["operation"]}
    try:
        await insist(stack, "POST", f"operations/{operation['id']}/cancel")
    except ProblemError as error:
        if error.status != 409:
            raise
    return await stack.ended(operation, seconds=PATIENCE)


async def nothing(stack: ProxiedStack, slug: str) -> None:
    pass


async def a_tenant(stack: ProxiedStack, slug: str) -> None:
    operation = await stack.ended(await stack.sign_up(slug))
    assert operation["state"] == "succeeded", operation["reason"]


async def a_slow_signup(stack: ProxiedStack, slug: str) -> None:
    """Sign up, and wait until the objects are applied and the pod is waited for."""
    operation = await stack.sign_up(slug, version="slow-1")
    async with asyncio.timeout(30):
        while operation["steps"][2]["state"] == "pending":
            await asyncio.sleep(0.05)
            operation = await stack.api.call("GET", f"operations/{operation['id']}")


@dataclass(frozen=True)
class Scenario:
    """One change of one tenant: what comes before the fault, the change, and the states in which it may end."""

    prepare: Callable[[ProxiedStack, str], Awaitable[None]]
    act: Callable[[ProxiedStack, str], Awaitable[Json]]
    ends: frozenset[str]


SCENARIOS: Mapping[str, Scenario] = {
    "provision": Scenario(nothing, provision, frozenset({"succeeded"})),
    "delete": Scenario(a_tenant, delete, frozenset({"succeeded"})),
    "cancel": Scenario(a_slow_signup, cancel, frozenset({"cancelled", "succeeded"})),
}
