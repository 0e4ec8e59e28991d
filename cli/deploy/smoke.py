"""Signs up a tenant, puts it to sleep, wakes it and deletes it: whether a region works, how fast, and for how much."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import token_hex

from cli.api import Api, Json, ProblemError
from shared.adapters.assets import load_assets
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.domain.clusters import ClusterName
from shared.domain.costs import OwnCost, Pricing, price_region
from shared.domain.rates import rates
from shared.domain.uses import Span, Use

PLAN = "trial"
EMAIL = "smoke@example.com"  # berth sends no mail; the domain is reserved for examples
POLL_SECONDS = 0.5
PRICE_REGION = "westeurope"  # whose prices hold where the book has none, as infra/functions.bicep sets it
A_MONTH = timedelta(hours=730)


class SmokeError(Exception):
    """A step did not end as it should."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """What a smoke tenant took.

    Attributes:
        seconds: By step.
        cost: What it cost itself, by the price book.
        awake: What it would cost in a month, awake.
        asleep: And asleep.
        currency: Of these.
    """

    seconds: Mapping[str, float]
    cost: Decimal
    awake: Decimal
    asleep: Decimal
    currency: str


async def smoke(api: Api, region: str, say: Callable[[str], None]) -> Smoke:
    """Run all steps in a region. The tenant is deleted even if one fails.

    Raises:
        SmokeError: A step failed.
        ProblemError: A request was refused.
    """
    slug = f"smoke-{token_hex(4)}"
    seconds: dict[str, float] = {}
    moments = [datetime.now(UTC)]

    async def step(name: str, method: str, path: str, body: Json | None = None) -> None:
        began = time.monotonic()
        operation = await api.call(method, path, body)
        async for each in api.follow(operation, every=POLL_SECONDS):
            operation = each
        if operation["state"] != "succeeded":
            raise SmokeError(f"the smoke tenant {slug}: {name} has {operation['state']}: {operation['reason']}")
        seconds[name] = time.monotonic() - began
        moments.append(datetime.now(UTC))
        say(f"smoke tenant {slug}: {name} took {seconds[name]:.1f} s")

    body = {"slug": slug, "plan": PLAN, "region": region, "email": EMAIL, "display_name": "Smoke test"}
    try:
        await step("signup", "POST", "tenants", body)
        await step("sleep", "POST", f"tenants/{slug}/sleep")
        await step("wake", "POST", f"tenants/{slug}/wake")
    finally:
        try:
            await step("delete", "DELETE", f"tenants/{slug}")
        except ProblemError as error:
            if error.status != 404:  # the signup itself was refused
                raise
    return _priced(region, seconds, moments)


def _priced(region: str, seconds: Mapping[str, float], moments: list[datetime]) -> Smoke:
    _, up, asleep, woken, gone = moments
    # Awake until the sleep is done, as the ledger counts it.
    used = [(True, up, asleep), (False, asleep, woken), (True, woken, gone)]
    month = (gone, gone + A_MONTH)
    return Smoke(
        seconds,
        cost=_cost(region, used).total,
        awake=_cost(region, [(True, *month)]).total,
        asleep=_cost(region, [(False, *month)]).total,
        currency=load_prices().book.currency,
    )


def _cost(region: str, used: list[tuple[bool, datetime, datetime]]) -> OwnCost:
    """Return what a tenant of the plan costs itself, on nodes of the reference machine."""
    book, assets, size = load_prices().book, load_assets(), load_plans()[PLAN].size
    priced = price_region(book, region, PRICE_REGION)
    known = rates((), assets, book, priced, used[0][1], used[-1][2])
    spans = [Span(start, end, Use(awake, ClusterName(""), region, PLAN, "", size)) for awake, start, end in used]
    return Pricing(assets, book, lambda cluster, region: known, lambda region: priced).own_cost(spans)
