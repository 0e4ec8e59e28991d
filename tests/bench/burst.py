"""Sends many signups at the same time and checks that each becomes a tenant: `./berth bench burst --signups 1000`.

The callers follow the API's rules: after a 429 or a 503 they retry the same request when Retry-After says so, they
poll their operation as often as Retry-After allows, and they repeat a request whose connection broke. Meanwhile it is
read how many are accepted at the same moment. At the end the invariants of cli/invariants.py are checked.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from statistics import quantiles

import httpx
import psutil
from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json
from cli.invariants import violations
from local.kubernetes.control_plane import BERTH, Options
from local.stack import Stack
from shared.settings import ProvisioningSettings
from tests.bench.goals import Goal, judged
from tests.support.builders import new_slug, signup_body

MEGABYTE = 1 << 20
WATCH_SECONDS = 0.25
COUNT_SECONDS = 3.0  # between two looks at the open operations, which are many rows
TIMEOUT_SECONDS = 1200.0
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Signup:
    """The result of one signup, the number of its 429 responses and polls, and the seconds from its first request.

    `unavailable` has the details of its 503 responses.
    """

    state: str
    reason: str
    rejections: int
    polls: int
    broken_connections: int
    unavailable: tuple[str, ...]
    seconds: float


@dataclass
class Accepted:
    """The most that was seen at one moment: reservations on the cluster with a slot, in its queue, and both together.

    Besides them the open operations: one stays open for a moment after its slot was given back.
    `requests` is how many table requests it took to see all this.
    """

    starting: int = 0
    waiting: int = 0
    together: int = 0
    operations: int = 0
    requests: int = 0

    async def watch(self, stack: Stack) -> None:
        """Read the sums of the cluster and the index rows again and again, until cancelled."""
        sums = f"PartitionKey eq 'on:{stack.control_plane.name}' and RowKey eq 'allocation'"
        async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
            tenants = await service.create_table_if_not_exists("tenants")
            for number in itertools.count():
                clusters = service.get_table_client("clusters")
                rows: list[Json] = [dict(row) async for row in clusters.query_entities(sums)]
                for row in rows:
                    starting, waiting = row["starting"], row["waiting"]
                    self.starting, self.waiting = max(self.starting, starting), max(self.waiting, waiting)
                    self.together = max(self.together, starting + waiting)
                self.requests += 1
                if number % round(COUNT_SECONDS / WATCH_SECONDS) == 0:
                    opened = tenants.query_entities("RowKey gt 'open:' and RowKey lt 'open;'", select=["RowKey"])
                    self.operations = max(self.operations, len([row async for row in opened]))
                    self.requests += 1
                await asyncio.sleep(WATCH_SECONDS)


@dataclass(frozen=True)
class Burst:
    """The results of all signups, how many were accepted at once, and what it took.

    Attributes:
        memory: The most memory of the host and its workers, in bytes.
        kubernetes: The requests of all workers to the API server.
        tables: The requests of all workers to the tables, those of their timers among them.
    """

    signups: list[Signup]
    seconds: float
    accepted: Accepted
    memory: int
    kubernetes: int
    tables: int
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
            await asyncio.sleep(WATCH_SECONDS)

    accepted = Accepted()
    watching = asyncio.gather(watch_memory(), accepted.watch(stack))
    kubernetes, tables = kubernetes_requests(stack), table_requests(stack)
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
    kubernetes = kubernetes_requests(stack) - kubernetes
    tables = table_requests(stack) - tables - accepted.requests
    async with Api(stack.api_url, stack.master_key) as api:
        broken = await violations(stack, api)
    return Burst(done, seconds, accepted, max_memory, kubernetes, tables, broken)


async def _sign_up(http: httpx.AsyncClient) -> Signup:
    began = time.monotonic()
    rejections = broken = polls = 0
    unavailable: list[str] = []
    body, key = signup_body(new_slug()), {"Idempotency-Key": token_hex(8)}

    async def send(method: str, path: str, content: Json | None = None) -> httpx.Response:
        nonlocal broken
        while True:
            try:
                response = await http.request(method, path, json=content, headers=key)
            except httpx.TransportError:
                broken += 1
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            if response.status_code != 503:
                return response
            unavailable.append(response.json()["detail"])
            await _wait(response.headers)

    while (response := await send("POST", "/api/tenants", body)).status_code == 429:
        rejections += 1
        await _wait(response.headers)
    address = response.raise_for_status().headers["Location"]
    while response.json()["finished_at"] is None:
        await _wait(response.headers)
        response = (await send("GET", address)).raise_for_status()
        polls += 1
    operation = response.json()
    seconds = time.monotonic() - began
    return Signup(operation["state"], operation["reason"], rejections, polls, broken, tuple(unavailable), seconds)


async def _wait(headers: Mapping[str, str]) -> None:
    await asyncio.sleep(int(headers["Retry-After"]))


def goals(result: Burst, limits: ProvisioningSettings) -> Sequence[Goal]:
    """Return what a burst has to hold on one cluster with these limits."""
    return [
        Goal("starting at once", result.accepted.starting, limits.signup_slots),
        Goal("queued at once", result.accepted.waiting, limits.max_queued),
        Goal("accepted at once", result.accepted.together, limits.signup_slots + limits.max_queued),
        Goal("failed", len(result.failed), 0),
        Goal("broken invariants", len(result.violations), 0),
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    parser = argparse.ArgumentParser(prog="./berth bench burst", description=__doc__)
    parser.add_argument("--signups", type=int, default=1000, help="number of signups (1000)")
    parser.add_argument("--workers", type=int, default=1, help="number of processes that run the app (1)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if options.signups < 2 or options.workers < 1:
        parser.error("--signups is at least 2, and --workers at least 1")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Run one burst, print the results, and return the exit code."""
    options = parse(arguments)
    async with Stack(options=Options(ready_seconds=0.0), workers=options.workers) as stack:
        print(f"{options.signups} signups at once, worker processes: {options.workers} …", flush=True)
        result = await burst(stack, options.signups)
    cuts = quantiles([each.seconds for each in result.signups], n=100, method="inclusive")
    rejected = [each.rejections for each in result.signups if each.rejections]
    accepted = result.accepted
    unavailable = Counter(detail for each in result.signups for detail in each.unavailable)
    rows = {
        "became tenants": f"{options.signups - len(result.failed)}",
        "accepted at once": f"{accepted.together}; starting {accepted.starting}, queued {accepted.waiting}, at most",
        "open operations at once": f"{accepted.operations}, those included that just gave their slot back",
        "rejected with 429": f"{len(rejected)}, at most {max(rejected, default=0)} times each",
        "responses 503": f"{unavailable.total()}",
        "broken connections": f"{sum(each.broken_connections for each in result.signups)}",
        "seconds until ready": f"p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f}",
        "tenants a second": f"{options.signups / result.seconds:.1f}",
        "Kubernetes requests a tenant": f"{result.kubernetes / options.signups:.1f}",
        "table requests a tenant": f"{result.tables / options.signups:.1f}, with polls, repeated signups and timers",
        "polls a tenant": f"{sum(each.polls for each in result.signups) / options.signups:.1f}",
        "memory of the Functions host": f"{result.memory / MEGABYTE:.0f} MB at most, with its workers",
    }
    for name, value in rows.items():
        print(f"  {name:32}{value}")
    for text in (
        *result.violations,
        *(each.reason for each in result.failed),
        *(f"503: {each}" for each in unavailable),
    ):
        print(f"  {text}")
    return judged(goals(result, ProvisioningSettings()), check=options.check)


def kubernetes_requests(stack: Stack) -> int:
    """Return how many requests of berth the API server has answered, by its audit log."""
    with stack.control_plane.audit_log.open() as log:
        return sum(json.loads(line)["user"]["username"] == BERTH for line in log)


def table_requests(stack: Stack) -> int:
    """Return how many requests the table server has answered, by its log; a transaction is one."""
    with stack.processes.log("azurite").open() as log:
        return sum('"' in line for line in log)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
