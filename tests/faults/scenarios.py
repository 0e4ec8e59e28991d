"""The operations during which a fault is injected, as requested by a portal that retries until it gets a response."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cli.api import Json
from tests.faults import sweep
from tests.faults.requests import TIMEOUT_SECONDS, send_until_accepted
from tests.support.builders import signup_body
from tests.support.stack import ProxiedStack


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


async def put_to_sleep(stack: ProxiedStack, slug: str) -> Json:
    return await _until_begun(stack, f"tenants/{slug}/sleep", "hibernated")


async def wake(stack: ProxiedStack, slug: str) -> Json:
    return await _until_begun(stack, f"tenants/{slug}/wake", "active")


async def _until_begun(stack: ProxiedStack, path: str, state: str) -> Json:
    """Ask for what needs no key, and return its operation at its end; the response of the first request may be lost."""
    begun = await send_until_accepted(stack, "POST", path)
    if begun.get("state") == state:  # the tenant: a request without a response has begun it, and it has ended
        begun = {"id": begun["operation"]}
    return await stack.ended(begun, seconds=TIMEOUT_SECONDS)


async def nothing(stack: ProxiedStack, slug: str) -> None:
    pass


async def create_tenant(stack: ProxiedStack, slug: str) -> None:
    operation = await stack.ended(await stack.sign_up(slug))
    assert operation["state"] == "succeeded", operation["reason"]


async def create_sleeping_tenant(stack: ProxiedStack, slug: str) -> None:
    await create_tenant(stack, slug)
    operation = await put_to_sleep(stack, slug)
    assert operation["state"] == "succeeded", operation["reason"]


async def create_dormant_tenant(stack: ProxiedStack, slug: str) -> None:
    await create_tenant(stack, slug)
    await sweep.let_weeks_pass(stack, slug)


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
    "hibernate": Scenario(create_tenant, put_to_sleep, frozenset({"succeeded"})),
    "wake": Scenario(create_sleeping_tenant, wake, frozenset({"succeeded"})),
    "sweep": Scenario(create_dormant_tenant, sweep.sweep, frozenset({"succeeded"})),
    "cancel": Scenario(start_endless_signup, cancel, frozenset({"cancelled"})),
}
