"""A burst of signups at once: does each become a tenant? Run it with `./berth bench burst --signups 1000`.

Each caller does as the API tells it: one that is answered 429 comes back after Retry-After with the same request, one
that was accepted looks at its operation as often as it is asked to. One whose connection breaks sends the same again.
In the end Kubernetes and the tables are asked what is there.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from statistics import quantiles

import httpx
import psutil

from cli.api import Api, Json
from cli.invariants import violations
from local.kubernetes.control_plane import Options
from local.stack import Stack
from tests.support.builders import new_slug, signup_body

MEGABYTE = 1 << 20
PATIENCE_SECONDS = 1200.0
BREAK_SECONDS = 1.0


@dataclass(frozen=True)
class Signup:
    """What came of one: its end, how often it was told to come back, and the seconds from asking to the end."""

    state: str
    reason: str
    refusals: int
    breaks: int
    """Of connections."""
    seconds: float


@dataclass(frozen=True)
class Burst:
    """What came of all of them, and the most memory that the Functions host held, in bytes."""

    signups: list[Signup]
    seconds: float
    memory: int
    violations: list[str]

    @property
    def failed(self) -> list[Signup]:
        return [each for each in self.signups if each.state != "succeeded"]


async def burst(stack: Stack, signups: int) -> Burst:
    """Send that many signups at once and follow them to their end; raises TimeoutError after 20 minutes."""
    host = psutil.Process(stack.processes.pids()["host"])
    most = 0

    async def watch_memory() -> None:
        nonlocal most
        while True:
            most = max(most, sum(each.memory_info().rss for each in (host, *host.children())))  # with its worker
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch_memory())
    began = time.monotonic()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"x-functions-key": stack.function_key}
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        httpx.AsyncClient(
            base_url=stack.api_url, headers=headers, limits=limits, timeout=None, trust_env=False
        ) as http,
    ):
        done = await asyncio.gather(*(_sign_up(http) for _ in range(signups)))
    seconds = time.monotonic() - began
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching  # raises NoSuchProcess if the host died meanwhile
    async with Api(stack.api_url, stack.master_key) as api:
        wrong = await violations(stack, api)
    return Burst(done, seconds, most, wrong)


async def _sign_up(http: httpx.AsyncClient) -> Signup:
    began = time.monotonic()
    refusals = breaks = 0
    body, key = signup_body(new_slug()), {"Idempotency-Key": token_hex(8)}

    async def send(method: str, path: str, content: Json | None = None) -> httpx.Response:
        nonlocal breaks
        while True:
            try:
                return await http.request(method, path, json=content, headers=key)
            except httpx.TransportError:
                breaks += 1
                await asyncio.sleep(BREAK_SECONDS)

    while (answer := await send("POST", "/api/tenants", body)).status_code == 429:
        refusals += 1
        await _come_back(answer.headers)
    address = answer.raise_for_status().headers["Location"]
    while answer.json()["finished_at"] is None:
        await _come_back(answer.headers)
        answer = (await send("GET", address)).raise_for_status()
    operation = answer.json()
    return Signup(operation["state"], operation["reason"], refusals, breaks, time.monotonic() - began)


async def _come_back(headers: Mapping[str, str]) -> None:
    await asyncio.sleep(int(headers["Retry-After"]))


async def main() -> int:
    """Run one burst, print what came of it, and return the exit code: 0 only if every signup became a tenant."""
    parser = argparse.ArgumentParser(prog="./berth bench burst", description=__doc__)
    parser.add_argument("--signups", type=int, default=1000, help="at once (1000)")
    options = parser.parse_args()
    async with Stack(options=Options(ready_seconds=0.0)) as stack:
        print(f"{options.signups} signups at once …", flush=True)
        result = await burst(stack, options.signups)
    cuts = quantiles([each.seconds for each in result.signups], n=100, method="inclusive")
    told = [each.refusals for each in result.signups if each.refusals]
    rows = {
        "became tenants": f"{options.signups - len(result.failed)}",
        "failed": f"{len(result.failed)}",
        "half-made or otherwise wrong": f"{len(result.violations)}",
        "told to come back": f"{len(told)}, at most {max(told, default=0)} times each",
        "broken connections": f"{sum(each.breaks for each in result.signups)}",
        "seconds until ready": f"p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f}",
        "tenants a second": f"{options.signups / result.seconds:.1f}",
        "memory of the Functions host": f"{result.memory / MEGABYTE:.0f} MB at most",
    }
    for name, value in rows.items():
        print(f"  {name:32}{value}")
    for wrong in (*result.violations, *(each.reason for each in result.failed)):
        print(f"  {wrong}")
    return 1 if result.failed or result.violations else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
