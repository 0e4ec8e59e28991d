"""What waiting costs a worker on a cluster with many other tenants: `./berth bench watch --pods 20000`.

The pods of the others are made directly on a real API server, no node runs them, and nothing changes them any more.
Then a fresh process waits for some tenants that never become ready. Printed are the memory that its waiting takes, and
the requests and bytes, counted by a proxy. The memory is what Python has allocated (tracemalloc) since the process
opened the connections for its ordinary requests: what it holds after a while, and the most that it needed meanwhile.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import ssl
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field

from aiohttp import web

from local.kubernetes.control_plane import ADMIN, BERTH, ControlPlane, Options, start_control_plane
from local.ports import Ports
from local.processes import Processes
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.client import Json, KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.watch import PODS
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.settings import KubernetesSettings
from tests.bench.goals import Goal, judged
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.fresh_tenants import fresh_tenant

MEGABYTE = 1 << 20
LIMIT_MEGABYTES = 5.0
PODS_PER_NAMESPACE = 1000
AT_ONCE = 24
MERGE_PATCH = "application/merge-patch+json"


@dataclass
class Counted:
    """The requests of the waiting process by kind, and the bytes of all responses."""

    requests: Counter[str] = field(default_factory=Counter[str])

    async def count(self, exchange: Exchange) -> web.Response | None:
        kind = "watches" if exchange.is_watch else "lists" if "/pods" in exchange.path else "others"
        self.requests[kind] += 1
        return None


async def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="./berth bench watch", description=__doc__)
    parser.add_argument("--pods", type=int, default=20_000, help="pods of other tenants (20000)")
    parser.add_argument("--tenants", type=int, default=64, help="tenants that are waited for (64)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long they are waited for (15)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the goal is missed")
    options = parser.parse_args()
    async with _control_plane() as (plane, ports):
        began = time.monotonic()
        await _fill(plane, options.pods)
        print(f"{options.pods} pods of other tenants made in {time.monotonic() - began:.0f} s", flush=True)
        namespaces = await _start(plane, options.tenants)
        proxy, counted = _proxy(plane), Counted()
        server = await proxy.start(ports.take())
        kubeconfig = plane.directory / "waiting.kubeconfig"
        kubeconfig.write_text(json.dumps(plane.context(BERTH, server=server)))
        proxy.before = counted.count
        held, peak = await _in_new_process(str(kubeconfig), namespaces, options.seconds)
        rows = {
            "memory held": f"{held / MEGABYTE:.1f} MB",
            "memory at most": f"{peak / MEGABYTE:.1f} MB",
            "lists of pods": f"{counted.requests['lists']}",
            "watches opened": f"{counted.requests['watches']}",
            "received": f"{proxy.bytes / MEGABYTE:.2f} MB, compressed as sent",
        }
        await proxy.close()
    print(f"{options.tenants} tenants waited for, {options.seconds:g} s:")
    for name, value in rows.items():
        print(f"  {name:32}{value}")
    return judged([Goal("memory at most, in MB", peak / MEGABYTE, LIMIT_MEGABYTES)], check=options.check)


@asynccontextmanager
async def _control_plane() -> AsyncGenerator[tuple[ControlPlane, Ports]]:
    ports, processes = Ports(), Processes()
    try:
        yield await start_control_plane(processes, ports, "local", Options(ready_seconds=0.0)), ports
    finally:
        await processes.close()
        ports.release()


def _proxy(plane: ControlPlane) -> FaultProxy:
    server, pair = plane.authority.server(), plane.authority.client(BERTH)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(plane.authority.certificate))
    calling.load_cert_chain(pair.certificate, pair.key)
    return FaultProxy(plane.server, tls=serving, upstream_tls=calling)


async def _client(plane: ControlPlane, user: str, group: str = "") -> tuple[KubernetesClient, KubernetesSettings]:
    path = plane.directory / f"bench-{user}.kubeconfig"
    path.write_text(json.dumps(plane.context(user, group)))
    settings = KubernetesSettings(kubeconfig=str(path), attempt_timeout=60, total_timeout=120)
    return await connect(KubeconfigAccess(plane.name), settings), settings


async def _fill(plane: ControlPlane, pods: int) -> None:
    """Make that many running pods, with the labels, the spec and a status as berth's tenants have them."""
    client, _ = await _client(plane, ADMIN, "system:masters")
    [workload] = [each for each in _objects() if each["kind"] == "StatefulSet"]
    template: Json = workload["spec"]["template"]
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(number: int) -> None:
        async with slots:
            pod = deepcopy(template)
            pod["metadata"] |= {"name": f"product-{number}"}
            pod["metadata"]["labels"]["berth.dev/instance"] = f"other{number:05}"
            pod["spec"]["schedulerName"] = "nobody"
            path = PODS.format(f"others-{number // PODS_PER_NAMESPACE}")
            await client.request("POST", path, {"apiVersion": "v1", "kind": "Pod", **pod})
            status = {"status": _status(number)}
            await client.request("PATCH", f"{path}/product-{number}/status", status, media_type=MERGE_PATCH)

    for number in range(-(-pods // PODS_PER_NAMESPACE)):
        name = f"others-{number}"
        await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        await client.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "product"}})
    await asyncio.gather(*(make(number) for number in range(pods)))
    await client.close()


def _status(number: int) -> Json:
    """Return the status of a running pod, about as long as a kubelet writes it."""
    at = "2026-01-01T00:00:00Z"
    address = f"10.244.{number // 250 % 250}.{number % 250}"
    image = "registry.example.com/product"
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    container: Json = {
        "name": "product",
        "image": f"{image}:1.0.0",
        "imageID": f"{image}@sha256:{number:064x}",
        "containerID": f"containerd://{number:064x}",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "lastState": {},
        "state": {"running": {"startedAt": at}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "phase": "Running",
        "hostIP": "10.0.0.1",
        "hostIPs": [{"ip": "10.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": at,
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": at} for kind in kinds
        ],
        "containerStatuses": [container],
    }


def _objects() -> Sequence[Json]:
    templates = YamlTenantTemplates(TENANT_SETTINGS, PLANS)
    return [dict(each) for each in templates.render(fresh_tenant("never-ready-1"), LOCAL)]


async def _start(plane: ControlPlane, tenants: int) -> list[str]:
    """Apply tenants that never become ready, and return their namespaces."""
    client, settings = await _client(plane, BERTH)
    cluster = KubernetesApiCluster(client, settings, SystemClock(), TENANT_SETTINGS.owner)
    bundles = [_objects() for _ in range(tenants)]
    for bundle in bundles:
        await cluster.apply(bundle)
    await cluster.close()
    return [each["metadata"]["name"] for bundle in bundles for each in bundle if each["kind"] == "Namespace"]


async def _in_new_process(kubeconfig: str, namespaces: Sequence[str], seconds: float) -> tuple[int, int]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return await asyncio.wrap_future(pool.submit(_measure, kubeconfig, namespaces, seconds))


def _measure(kubeconfig: str, namespaces: Sequence[str], seconds: float) -> tuple[int, int]:
    """Wait for the tenants of these namespaces; return the bytes of memory that this takes in the end, and at most."""
    return asyncio.run(_wait(kubeconfig, namespaces, seconds))


async def _wait(kubeconfig: str, namespaces: Sequence[str], seconds: float) -> tuple[int, int]:
    settings = KubernetesSettings(kubeconfig=kubeconfig)
    cluster = KubernetesApiCluster(
        await connect(KubeconfigAccess("local"), settings), settings, SystemClock(), TENANT_SETTINGS.owner
    )
    await asyncio.gather(*(cluster.check() for _ in range(settings.max_concurrent_requests)))
    tracemalloc.start()
    waiting = [
        asyncio.create_task(cluster.wait_until_ready(each, PRODUCT, timeout=seconds + 60)) for each in namespaces
    ]
    await asyncio.sleep(seconds)
    gc.collect()
    memory = tracemalloc.get_traced_memory()
    assert not any(each.done() for each in waiting)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await cluster.close()
    return memory


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
