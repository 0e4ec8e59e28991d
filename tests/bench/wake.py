"""How long a wake takes, beside how many tenants that sleep, and what many wakes at once cost: `./berth bench wake`.

Measured in one run, in turn on a stack where nobody else sleeps and on one where many do, so that whatever else the
machine does slows both down:

- wake: from sending POST /tenants/{slug}/wake until the tenant's address answers with 200 through the gateway;
- floor: from setting the replicas of its StatefulSet to 1 by hand until a watch says that its pod is ready: the time
  that Kubernetes itself takes.

Then, on the second stack, many ask to wake one tenant at once, and last many tenants are woken at once. Those that
sleep beside it have a namespace and a StatefulSet of 0 pods on the API server, and all rows in the tables. Pods become
ready at once.
"""

import argparse
import asyncio
import itertools
import json
import math
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles

import httpx

from cli.api import Api, Json
from local.kubernetes.control_plane import ADMIN, BERTH, Options
from local.stack import Stack
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.apply import PATHS
from shared.adapters.kubernetes.client import MERGE, KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.watch import PODS
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.domain.tenants import Tenant
from shared.domain.workloads import KIND
from shared.settings import KubernetesSettings, ProvisioningSettings
from tests.bench.asleep import Asleep
from tests.bench.burst import kubernetes_requests, table_requests
from tests.bench.goals import Goal, growth, judged
from tests.bench.scale import tables_of
from tests.support.builders import PRODUCT, TENANT_SETTINGS

SIZES = (1000, 5000)
MEASURED = 4  # tenants, which are woken in turn
POLL_SECONDS = 0.02
SETTLE_SECONDS = 1.0  # in which an operation ends whose tenant is open
COSTS = 5  # wakes whose requests are counted
TIMEOUT_SECONDS = 300.0
SLOTS = ProvisioningSettings().max_concurrent
MAX_GROWTH = 10.0  # percent


@dataclass(frozen=True)
class Round:
    """The seconds of one wake, of its steps, and of the floor."""

    wake: float
    floor: float
    steps: Mapping[str, float]


@dataclass(frozen=True)
class Times:
    """The rounds beside so many tenants that sleep, and those beside none, each made right before."""

    asleep: int
    alone: Sequence[Round]
    beside: Sequence[Round]

    @property
    def growths(self) -> Sequence[float]:
        """By how many percent each wake took longer than the one right before it, beside nobody."""
        return [growth(before.wake, after.wake) for before, after in zip(self.alone, self.beside, strict=True)]


@dataclass(frozen=True)
class Same:
    """What many requests to wake one tenant at once led to; `refused` has the reasons of those that failed."""

    requests: int
    seconds: float
    operations: int
    tables: int
    refused: Counter[str]


@dataclass(frozen=True)
class Others:
    """What waking many tenants at once led to.

    Attributes:
        positions: What each was told first, of those that waited: its position in the queue.
        started: When each of these began, in the order of their positions.
        failed: How many did not succeed.
        silent: How many had neither begun nor a position: no more than there are slots.
    """

    requests: int
    seconds: float
    positions: Sequence[int]
    started: Sequence[datetime]
    failed: int
    silent: int

    @property
    def overtaken(self) -> int:
        """How many began after one that was further behind than there are slots: those of one moment begin together."""
        return sum(
            any(later < each for later in self.started[index + SLOTS :]) for index, each in enumerate(self.started)
        )


class Bench:
    """Wakes on a running stack."""

    def __init__(self, stack: Stack, api: Api, http: httpx.AsyncClient, admin: KubernetesClient) -> None:
        self._stack = stack
        self._api = api
        self._http = http
        self._admin = admin

    async def round(self, tenant: Tenant) -> Round:
        """Measure one wake and the floor; the tenant sleeps before and after."""
        floor = await self._floor(namespace_name(tenant.instance))
        began = time.perf_counter()
        operation = await self._api.call("POST", f"tenants/{tenant.slug}/wake")
        await self._opened(tenant)
        wake = time.perf_counter() - began
        operation = await self._ended(operation)
        await self._sleep(tenant)
        return Round(wake, floor, {each["name"]: each["seconds"] for each in operation["steps"]})

    async def cost(self, tenant: Tenant) -> tuple[int, int]:
        """Return how many requests to Kubernetes and to the tables one wake takes."""
        kubernetes, tables = kubernetes_requests(self._stack), table_requests(self._stack)
        await self._wake(tenant)
        await self._opened(tenant)
        await asyncio.sleep(SETTLE_SECONDS)
        kubernetes, tables = kubernetes_requests(self._stack) - kubernetes, table_requests(self._stack) - tables
        await self._sleep(tenant)
        return kubernetes, tables

    async def same(self, tenant: Tenant, count: int) -> Same:
        """Ask so many times at once to wake one tenant."""
        before, tables, began = await self._wakes(tenant), table_requests(self._stack), time.perf_counter()
        responses = await asyncio.gather(*(self._wake(tenant) for _ in range(count)))
        seconds = time.perf_counter() - began
        tables = table_requests(self._stack) - tables
        await self._opened(tenant)
        refused = Counter(each.json()["detail"] for each in responses if each.is_error)
        return Same(count, seconds, await self._wakes(tenant) - before, tables, refused)

    async def others(self, tenants: Sequence[Tenant]) -> Others:
        """Wake many tenants at once."""
        began = time.perf_counter()
        accepted = [each.raise_for_status().json() for each in await asyncio.gather(*map(self._wake, tenants))]
        told = await asyncio.gather(*(self._api.call("GET", f"operations/{each['id']}") for each in accepted))
        ended = await asyncio.gather(*(self._ended(each, every=2.0) for each in told))
        seconds = time.perf_counter() - began
        queued = sorted(
            (first["queue_position"], datetime.fromisoformat(last["started_at"]))
            for first, last in zip(told, ended, strict=True)
            if first["queue_position"]
        )
        return Others(
            len(tenants),
            seconds,
            [position for position, _ in queued],
            [at for _, at in queued],
            sum(each["state"] != "succeeded" for each in ended),
            sum(not each["queue_position"] and not each["started_at"] for each in told),
        )

    async def _wake(self, tenant: Tenant) -> httpx.Response:
        return await self._http.post(f"{self._stack.api_url}/api/tenants/{tenant.slug}/wake")

    async def _sleep(self, tenant: Tenant) -> None:
        await self._ended(await self._api.call("POST", f"tenants/{tenant.slug}/sleep"))

    async def _wakes(self, tenant: Tenant) -> int:
        """Return how many operations woke a tenant."""
        entries = await self._api.all(f"tenants/{tenant.slug}/audit")
        return len({each["operation"] for each in entries if each["action"] == "wake"})

    async def _ended(self, operation: Json, *, every: float = 0.1) -> Json:
        async for each in self._api.follow(operation, every=every):
            operation = each
        return operation

    async def _opened(self, tenant: Tenant) -> None:
        """Return when the tenant's address answers."""
        gateway = self._stack.control_plane.gateway
        host = f"{tenant.slug}.{gateway.domain}"
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                response = await self._http.get(
                    f"https://127.0.0.1:{gateway.https_port}",
                    headers={"Host": host},
                    extensions={"sni_hostname": host},
                )
                if response.status_code == 200:
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def _floor(self, namespace: str) -> float:
        """Start the pods of a tenant by hand, and stop them again."""
        began = time.perf_counter()
        scaled = await self._scale(namespace, 1)
        query = {"watch": "true", "resourceVersion": scaled["metadata"]["resourceVersion"]}
        events = self._admin.stream(PODS.format(namespace), read_timeout=TIMEOUT_SECONDS, query=query)
        async with aclosing(events):
            async for event in events:
                conditions = event["object"]["status"].get("conditions", [])
                if any((each["type"], each["status"]) == ("Ready", "True") for each in conditions):
                    break
        seconds = time.perf_counter() - began
        await self._scale(namespace, 0)
        while (await self._admin.request("GET", PODS.format(namespace)))["items"]:
            await asyncio.sleep(POLL_SECONDS)
        return seconds

    async def _scale(self, namespace: str, replicas: int) -> Json:
        path = f"{PATHS[KIND].format(namespace)}/{PRODUCT[0].name}"
        return await self._admin.request("PATCH", path, {"spec": {"replicas": replicas}}, media_type=MERGE)


@asynccontextmanager
async def _running(workers: int) -> AsyncGenerator[tuple[Bench, Asleep]]:
    options = Options(ready_seconds=0.0)
    async with Stack(options=options, workers=workers) as stack, Api(stack.api_url, stack.function_key) as api:
        plane, tables = stack.control_plane, tables_of(stack.azurite)
        trusted = ssl.create_default_context(cafile=str(plane.gateway.authority))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        settings = KubernetesSettings(attempt_timeout=60, total_timeout=300)
        berth, admin = await _client(stack, BERTH, settings), await _client(stack, ADMIN, settings, "system:masters")
        cluster = KubernetesApiCluster(berth, settings, SystemClock(), TENANT_SETTINGS.owner)
        headers = {"x-functions-key": stack.function_key}
        async with httpx.AsyncClient(
            headers=headers, verify=trusted, limits=limits, timeout=None, trust_env=False
        ) as http:
            yield Bench(stack, api, http, admin), Asleep(stack, tables, cluster)
        await cluster.close()
        await admin.close()
        await tables.close()


async def _client(stack: Stack, user: str, settings: KubernetesSettings, group: str = "") -> KubernetesClient:
    plane = stack.control_plane
    path = stack.processes.directory / f"bench-{user}.kubeconfig"
    path.write_text(json.dumps(plane.context(user, group)))
    return await connect(KubeconfigAccess(plane.name), settings.model_copy(update={"kubeconfig": str(path)}))


type Measured = tuple[Bench, Sequence[Tenant]]
"""A stack, and the tenants that are woken there in turn."""


async def measure(alone: Measured, beside: Measured, asleep: int, rounds: int) -> Times:
    """Return so many rounds on each stack in turn, after one with each tenant that does not count."""
    done: list[list[Round]] = []
    for number in range(-MEASURED, rounds):
        done.append([await bench.round(tenants[number % MEASURED]) for bench, tenants in (alone, beside)])
    before, after = zip(*done[MEASURED:], strict=True)
    return Times(asleep, before, after)


def middle(values: Sequence[float]) -> tuple[float, float]:
    """Return between which of the values the median of all is, with a confidence of about 95 % (order statistics)."""
    ordered, half = sorted(values), len(values) / 2
    reach = math.sqrt(len(values))  # 1.96 standard deviations of a fair coin's tosses, which are half of this each
    return ordered[max(0, math.floor(half - reach))], ordered[min(len(values) - 1, math.ceil(half + reach) - 1)]


def goals(times: Sequence[Times], same: Same, others: Others) -> Sequence[Goal]:
    """Return what wakes have to hold."""
    return [
        *(Goal(f"growth beside {each.asleep}, percent", median(each.growths), MAX_GROWTH) for each in times),
        Goal("operations for one tenant, beside 1", abs(same.operations - 1), 0),
        Goal("wakes of one tenant that were refused", same.refused.total(), 0),
        Goal("wakes of others that failed", others.failed, 0),
        Goal("wakes of others that overtook others", others.overtaken, 0),
        Goal("wakes of others without a slot or a position", max(0, others.silent - SLOTS), 0),
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    parser = argparse.ArgumentParser(prog="./berth bench wake", description=__doc__)
    parser.add_argument("--asleep", type=int, nargs="+", default=SIZES, help=f"tenants that sleep beside it {SIZES}")
    parser.add_argument("--rounds", type=int, default=40, help="wakes beside each number of them (40)")
    parser.add_argument("--same", type=int, default=1000, help="requests at once to wake one tenant (1000)")
    parser.add_argument("--others", type=int, default=200, help="tenants that are woken at once (200)")
    parser.add_argument("--workers", type=int, default=1, help="number of processes that run the app (1)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.same, options.others, options.workers) < 1 or min(options.asleep) < 1:
        parser.error("all numbers are at least 1")
    if list(options.asleep) != sorted(options.asleep):
        parser.error("the numbers of --asleep do not fall")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = parse(arguments)
    times: list[Times] = []
    async with _running(options.workers) as (empty, nobody), _running(options.workers) as (bench, asleep):
        alone = empty, await nobody.add(MEASURED, complete=True)
        tenants = await asleep.add(MEASURED, complete=True)
        costs = [await bench.cost(tenants[0]) for _ in range(COSTS)]
        kubernetes, tables = (median(each) for each in zip(*costs, strict=True))
        print(f"a wake takes {kubernetes:g} requests to Kubernetes and {tables:g} table requests\n")
        print(f"{'asleep':>8}{'':8}{'p50 s':>9}{'95 % of p50':>16}{'p95 s':>9}{'p99 s':>9}{'max s':>9}", flush=True)
        for before, size in itertools.pairwise((0, *options.asleep)):
            await asleep.add(size - before, complete=False)
            times.append(await measure(alone, (bench, tenants), size, options.rounds))
            _print(times[-1])
        same = await bench.same(tenants[0], options.same)
        print(
            f"\n{same.requests} wakes of one tenant: {same.operations} operation, {same.refused.total()} refused; "
            f"{same.tables / same.requests:.1f} table requests each, {same.seconds:.1f} s until the last response",
            flush=True,
        )
        for reason, count in same.refused.items():
            print(f"  {count} refused: {reason}")
        others = await bench.others(await asleep.add(options.others, complete=True))
        print(
            f"{others.requests} tenants woken at once: {len(others.positions)} waited, each told its position; "
            f"all open after {others.seconds:.0f} s, {others.requests / others.seconds:.1f} a second",
            flush=True,
        )
    return judged(goals(times, same, others), check=options.check)


def _print(times: Times) -> None:
    for asleep, rounds in ((0, times.alone), (times.asleep, times.beside)):
        for name, values in (("wake", [each.wake for each in rounds]), ("floor", [each.floor for each in rounds])):
            cuts = quantiles(values, n=100, method="inclusive")
            low, high = middle(values)
            rest = "".join(f"{each:9.3f}" for each in (cuts[94], cuts[98], max(values)))
            print(f"{asleep:>8}{name:>8}{cuts[49]:9.3f}{f'{low:.3f}-{high:.3f}':>16}{rest}")
    steps = {name: median(each.steps[name] for each in times.beside) for name in times.beside[0].steps}
    print("        its steps, p50 s: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in steps.items()))
    low, high = middle(times.growths)
    print(
        f"        its growth, p50: {median(times.growths):.0f} %, 95 % of p50: {low:.0f} to {high:.0f} %\n", flush=True
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
