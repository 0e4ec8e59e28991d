"""Sends many signups at the same time and checks that each becomes a tenant: `./berth bench burst --signups 1000`.

The callers follow the API's rules: after a 429 they retry the same request when Retry-After says so, they poll their
operation as often as Retry-After allows, and they repeat a request whose connection broke. At the end the invariants of
cli/invariants.py are checked.
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
TIMEOUT_SECONDS = 1200.0
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Signup:
    """The result of one signup, the number of its 429 responses, and the seconds from the first request to the end."""

    state: str
    reason: str
    rejections: int
    broken_connections: int
    seconds: float


@dataclass(frozen=True)
class Burst:
    """The results of all signups, and the most memory of the Functions host, in bytes."""

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
    max_memory = 0

    async def watch_memory() -> None:
        nonlocal max_memory
        while True:
            max_memory = max(
                max_memory, sum(each.memory_info().rss for each in (host, *host.children()))
            )  # with its worker
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch_memory())
    began = time.monotonic()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"x-functions-key": stack.function_key}
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
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
        broken = await violations(stack, api)
    return Burst(done, seconds, max_memory, broken)


async def _sign_up(http: httpx.AsyncClient) -> Signup:
    began = time.monotonic()
    rejections = broken = 0
    body, key = signup_body(new_slug()), {"Idempotency-Key": token_hex(8)}

    async def send(method: str, path: str, content: Json | None = None) -> httpx.Response:
        nonlocal broken
        while True:
            try:
                return await http.request(method, path, json=content, headers=key)
            except httpx.TransportError:
                broken += 1
                await asyncio.sleep(RECONNECT_SECONDS)

    while (response := await send("POST", "/api/tenants", body)).status_code == 429:
        rejections += 1
        await _wait(response.headers)
    address = response.raise_for_status().headers["Location"]
    while response.json()["finished_at"] is None:
        await _wait(response.headers)
        response = (await send("GET", address)).raise_for_status()
    operation = response.json()
    return Signup(operation["state"], operation["reason"], rejections, broken, time.monotonic() - began)


async def _wait(headers: Mapping[str, str]) -> None:
    await asyncio.sleep(int(headers["Retry-After"]))


async def main() -> int:
    """Run one burst, print the results, and return the exit code: 0 only if every signup became a tenant."""
    parser = argparse.ArgumentParser(prog="./berth bench burst", description=__doc__)
    parser.add_argument("--signups", type=int, default=1000, help="number of signups (1000)")
    options = parser.parse_args()
    async with Stack(options=Options(ready_seconds=0.0)) as stack:
        print(f"{options.signups} signups at once …", flush=True)
        result = await burst(stack, options.signups)
    cuts = quantiles([each.seconds for each in result.signups], n=100, method="inclusive")
    rejected = [each.rejections for each in result.signups if each.rejections]
    rows = {
        "became tenants": f"{options.signups - len(result.failed)}",
        "failed": f"{len(result.failed)}",
        "broken invariants": f"{len(result.violations)}",
        "rejected with 429": f"{len(rejected)}, at most {max(rejected, default=0)} times each",
        "broken connections": f"{sum(each.broken_connections for each in result.signups)}",
        "seconds until ready": f"p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f}",
        "tenants a second": f"{options.signups / result.seconds:.1f}",
        "memory of the Functions host": f"{result.memory / MEGABYTE:.0f} MB at most",
    }
    for name, value in rows.items():
        print(f"  {name:32}{value}")
    for text in (*result.violations, *(each.reason for each in result.failed)):
        print(f"  {text}")
    return 1 if result.failed or result.violations else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
