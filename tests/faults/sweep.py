"""A sweep as a scenario: a tenant that nobody has used for weeks is put to sleep by it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from azure.core.credentials import AzureNamedKeyCredential

from cli.api import Json
from local.table_server import ACCOUNT, KEY
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.tenants import TableTenantRepository
from shared.domain.slugs import Slug
from tests.faults.requests import TIMEOUT_SECONDS, send_until_accepted
from tests.support.stack import ProxiedStack

SOURCE = "gateway"
SETTINGS = {"BERTH_ACTIVITY_REQUIRED_SOURCES": SOURCE, "BERTH_SWEEP_MAX_SHARE": "1"}
WEEKS = timedelta(days=40)
JOIN_SECONDS = 5.0  # after which a sweep is asked for again: that starts one again whose orchestration is lost
MAX_SWEEPS = 3  # a sweep leaves a tenant that could not be read to the next one


async def let_weeks_pass(stack: ProxiedStack, slug: str) -> None:
    """Make a tenant look as if it had become active weeks ago, and report that nobody has used any since."""
    now = datetime.now(UTC)
    azurite = stack.stack.azurite  # without a fault
    tables = AzureTableStorage(
        azurite.endpoint, AzureNamedKeyCredential(ACCOUNT, KEY), policy=RetryPolicy(total_timeout=10), attempt_timeout=5
    )
    try:
        repository = TableTenantRepository(tables)
        stored = await repository.get(Slug(slug))
        then = stored.value.state_since - WEEKS
        await repository.save(stored.with_value(replace(stored.value, active_since=then, state_since=then)))
    finally:
        await tables.close()
    watched = {"since": (now - 2 * WEEKS).isoformat(), "until": now.isoformat()}
    await send_until_accepted(stack, "POST", "activity", {"source": SOURCE, "watched": watched})


async def sweep(stack: ProxiedStack, slug: str) -> Json:
    """Sweep until a tenant has been put to sleep, and return its operation."""
    for _ in range(MAX_SWEEPS):
        ended = await _swept(stack)
        decisions = await _decisions(stack, ended["id"], slug)
        if len(decisions) > 1:
            raise AssertionError(f"{slug} was decided on twice: {decisions}")
        if decisions and decisions[0]["operation"]:
            return await stack.ended({"id": decisions[0]["operation"]}, seconds=TIMEOUT_SECONDS)
    raise AssertionError(f"{slug} was not put to sleep by {MAX_SWEEPS} sweeps")


async def _swept(stack: ProxiedStack) -> Json:
    """Start or join a sweep, and return it at its end."""
    begun: Json | None = None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            found = await send_until_accepted(stack, "POST", "sweeps", {"dry_run": False}, operator=True)
            begun = begun or found
            for _ in range(round(JOIN_SECONDS / 0.25)):
                known = await send_until_accepted(stack, "GET", f"sweeps/{begun['id']}", operator=True)
                if known["ended_at"] is not None:
                    return known
                await asyncio.sleep(0.25)


async def _decisions(stack: ProxiedStack, sweep_id: str, slug: str) -> list[Json]:
    found: list[Json] = []
    after = ""
    while True:
        page = await send_until_accepted(stack, "GET", f"sweeps/{sweep_id}/decisions", operator=True, after=after)
        found += [each for each in page["items"] if each["tenant"] == slug]
        after = page["next"]
        if not after:
            return found
