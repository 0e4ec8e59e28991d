"""A stack whose host reaches the API server and the tables through fault proxies, and what must hold on it."""

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

import httpx
from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json, ProblemError
from local.kubernetes.control_plane import BERTH, Options, kubectl
from local.stack import Stack
from local.table_server import ACCOUNT, connection_string
from tests.description import DescribedApi
from tests.fault_proxy import FaultProxy

OBJECTS = 12  # of one tenant, with its namespace
SETTINGS = {
    "BERTH_PROVISIONING_FAIL_AFTER": "12",
    "BERTH_PROVISIONING_RESUME_AFTER": "2",
    "BERTH_KUBERNETES_WATCH_SECONDS": "5",
    "REAPER_SCHEDULE": "*/2 * * * * *",
}


@dataclass
class Rig:
    """A running stack with its proxies and a caller of its API."""

    stack: Stack
    kubernetes: FaultProxy
    tables: FaultProxy
    api: Api
    operators: Api

    def reset(self) -> None:
        """Let both proxies pass everything on again."""
        self.kubernetes.reset()
        self.tables.reset()

    async def sign_up(self, slug: str = "", **members: str) -> Json:
        """Send a signup and return its operation."""
        return await self.api.call("POST", "tenants", signup(slug or new_slug(), **members))

    async def ended(self, operation: Json, *, seconds: float = 60.0) -> Json:
        """Return the operation once it has ended, however often the host is away meanwhile."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(httpx.HTTPError, ProblemError):
                    operation = await self.api.call("GET", f"operations/{operation['id']}")
                    if operation.get("finished_at"):
                        return operation
                await asyncio.sleep(0.25)

    async def at_rest(self, *, seconds: float = 20.0) -> None:
        """Wait until nothing is wrong: what follows from an operation's end may come a moment after it."""
        found = await self.unrest(seconds=seconds)
        assert not found, found

    async def unrest(self, *, seconds: float) -> list[str]:
        """Return what is still wrong after so many seconds, and as soon as nothing is."""
        found = ["nothing was looked at yet"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while found:
                    if await self.stack.host_ready():
                        found = await violations(self.stack, self.operators)
                    if found:
                        await asyncio.sleep(1)
        return found


@asynccontextmanager
async def rig(environment: Mapping[str, str] | None = None) -> AsyncGenerator[Rig]:
    """Run a stack with fault proxies, its host with more environment variables than the usual ones."""
    proxies: list[FaultProxy] = []

    async def put_proxies_in_front(stack: Stack) -> Mapping[str, str]:
        plane = stack.control_plane
        pair = plane.authority.client(BERTH)
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server = plane.authority.server()
        serving.load_cert_chain(server.certificate, server.key)
        calling = ssl.create_default_context(cafile=str(plane.authority.certificate))
        calling.load_cert_chain(pair.certificate, pair.key)
        kubernetes = FaultProxy(plane.server, tls=serving, upstream_tls=calling)
        tables = FaultProxy(f"http://127.0.0.1:{stack.azurite.port}")
        proxies.extend((kubernetes, tables))
        server_url = await kubernetes.start(stack.ports.take())
        tables_url = await tables.start(stack.ports.take())
        config = stack.processes.directory / "proxied.kubeconfig"
        config.write_text(json.dumps(plane.context(BERTH, server=server_url)))
        connection = connection_string(f"{tables_url}/{ACCOUNT}")
        return {"BERTH_KUBERNETES_KUBECONFIG": str(config), "BERTH_TABLES_CONNECTION": connection}

    stack = Stack(
        {**SETTINGS, **(environment or {})},
        options=Options(ready_seconds=0.3, slow_seconds=4),
        before_host=put_proxies_in_front,
    )
    try:
        async with (
            stack,
            DescribedApi(stack.api_url, stack.function_key) as api,
            DescribedApi(stack.api_url, stack.master_key) as operators,
        ):
            yield Rig(stack, proxies[0], proxies[1], api, operators)
    finally:
        for proxy in proxies:
            await proxy.close()


def new_slug() -> str:
    return "t" + token_hex(6)


def signup(slug: str, **members: str) -> Json:
    """Return the body of a good signup, with some members changed."""
    body = {"slug": slug, "plan": "trial", "region": "local", "email": "a@example.com", "display_name": "A"}
    return body | members


async def violations(stack: Stack, api: Api) -> list[str]:
    """Say everything about the tenants that have come to rest which should not be so; `api` is an operator's.

    Asks Kubernetes and the tables themselves: one tenant has one complete bundle and one place, or nothing at all.
    """
    kinds = "namespaces,sa,quota,limits,netpol,secrets,cm,pvc,sts,svc,ingress,pods"
    selector = ["-l", "app.kubernetes.io/managed-by=berth"]
    listed: Json = json.loads(await kubectl(stack.control_plane, "get", kinds, "-A", *selector, "-o", "json"))
    objects: Counter[str] = Counter()
    ready: set[str] = set()
    for each in listed["items"]:
        slug = each["metadata"]["labels"]["berth.dev/tenant"]
        if each["kind"] == "Pod":
            if any(
                word["type"] == "Ready" and word["status"] == "True" for word in each["status"].get("conditions", [])
            ):
                ready.add(slug)
        # What is going, and a claim without its volume, is no part of a complete bundle.
        elif "deletionTimestamp" not in each["metadata"] and (
            each["kind"] != "PersistentVolumeClaim" or "volumeName" in each["spec"]
        ):
            objects[slug] += 1
    async with TableServiceClient.from_connection_string(stack.tables_connection) as service:
        rows: list[Json] = [dict(row) async for row in service.get_table_client("clusters").list_entities()]
    places = {row["RowKey"].removeprefix("tenant:"): row for row in rows if "weight" in row}

    found: list[str] = []
    tenants = {each["slug"]: each for each in await api.all("tenants")}
    for slug, tenant in tenants.items():
        match tenant["state"]:
            case "active":
                if objects[slug] != OBJECTS:
                    found.append(f"{slug} is active with {objects[slug]} of {OBJECTS} objects")
                if slug not in ready:
                    found.append(f"{slug} is active without a pod that is ready")
                place = places.get(slug, {})
                if place.get("PartitionKey") != f"on:{tenant['cluster']}" or place["starting"]:
                    found.append(f"{slug} is active on {tenant['cluster']} with the place {place}")
            case "failed" | "deleted":
                if objects[slug] or slug in ready:
                    found.append(f"{slug} is {tenant['state']} and still has {objects[slug]} objects")
                if slug in places:
                    found.append(f"{slug} is {tenant['state']} and still has its place")
            case state:
                found.append(f"{slug} has not come to rest: it is {state}")
    found += [f"{slug} has objects but no record" for slug in objects.keys() - tenants.keys()]
    found += [f"{slug} has a place but no record" for slug in places.keys() - tenants.keys()]
    for sums in (row for row in rows if "allocated" in row):
        there = [place for place in places.values() if place["PartitionKey"] == sums["PartitionKey"]]
        weighed = (sum(place["weight"] for place in there), sum(place["starting"] for place in there))
        if (sums["allocated"], sums["starting"]) != weighed:
            found.append(f"{sums} does not add up: the places weigh and start {weighed}")
    for cluster in await api.all("clusters"):
        if cluster["allocated"] > cluster["capacity"]:
            found.append(f"{cluster['name']} is overbooked: {cluster}")
    return found
