"""How long a signup takes and what it costs, compared with kubectl and with Kubernetes alone. `./berth bench`.

Measured in one run, on one API server, with the same twelve objects:

- berth: from sending POST /tenants to the time at which its operation says that it succeeded;
- kubectl: `kubectl apply --server-side` and `kubectl wait`, as a script would do it, with no record or limit;
- floor: one keep-alive client that applies the same objects and watches the pod: the time that Kubernetes itself takes.

Pods become ready at once, so that only the work of the control plane is measured: no image is pulled and no disk made.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

import psutil

from cli.api import Api
from local.kubernetes.control_plane import BERTH, Options, kubectl
from local.stack import Stack
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.application.ports.clusters import Manifest
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.domain.tenants import Tenant
from shared.settings import KubernetesSettings
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS, new_slug, new_tenant, signup_body
from tests.support.stack import proxied_stack

type Provision = Callable[[int], Awaitable[float]]
"""Provisions one tenant while that many are in flight, and returns its seconds."""

READY_SECONDS = 0.0
WARM_UP = 3


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=30, help="tenants for each row (30)")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--stock", action="store_true", help="keep Kubernetes' own limits on requests")
    options = parser.parse_args()
    await _latency(options.samples, options.in_flight, stock=options.stock)
    await _cost(options.samples)


async def _latency(samples: int, in_flight: Sequence[int], *, stock: bool) -> None:
    print(f"{'':10}{'in flight':>10}{'p50 s':>9}{'p95 s':>9}{'p99 s':>9}{'max s':>9}{'tenants/s':>11}")
    kubernetes = Options(ready_seconds=READY_SECONDS, stock=stock)
    async with Stack(options=kubernetes) as stack, Api(stack.api_url, stack.function_key) as api:
        cluster = await _cluster(stack)
        contenders: dict[str, Provision] = {
            "berth": lambda in_flight: _berth(api, in_flight),
            "kubectl": lambda _: _kubectl(stack),
            "floor": lambda _: _floor(cluster),
        }
        for width in in_flight:
            for name, provision in contenders.items():
                for _ in range(WARM_UP):
                    await provision(1)
                seconds, total = await _run(provision, max(samples, width), width)
                cuts = quantiles(seconds, n=100, method="inclusive")
                cells = "".join(f"{value:9.3f}" for value in (cuts[49], cuts[94], cuts[98], max(seconds)))
                print(f"{name:10}{width:10}{cells}{len(seconds) / total:11.2f}", flush=True)
        await cluster.close()


async def _run(provision: Provision, samples: int, width: int) -> tuple[list[float], float]:
    """Return the seconds of each provisioning, `width` of them concurrently, and the total seconds."""
    slots = asyncio.Semaphore(width)

    async def one() -> float:
        async with slots:
            return await provision(width)

    began = time.perf_counter()
    seconds = await asyncio.gather(*(one() for _ in range(samples)))
    return list(seconds), time.perf_counter() - began


async def _berth(api: Api, in_flight: int) -> float:
    began = time.time()
    operation = await api.call("POST", "tenants", signup_body(new_slug()))
    # Fifty callers that poll every 50 ms would slow berth down: all of them together poll 20 times a second.
    async for each in api.follow(operation, every=0.05 * in_flight):
        operation = each
    assert operation["state"] == "succeeded", operation["reason"]
    return datetime.fromisoformat(operation["finished_at"]).timestamp() - began


async def _kubectl(stack: Stack) -> float:
    began = time.time()
    plane = stack.control_plane
    tenant, objects, route = _bundle()
    namespace = namespace_name(tenant.instance)
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, route]})
    await kubectl(plane, "apply", "--server-side", "-f", "-", stdin=stdin)
    for state, what in (
        ("{.status.readyReplicas}=1", "sts/product"),
        ('{.status.parents[0].conditions[?(@.type=="Accepted")].status}=True', "httproute/product"),
    ):
        await kubectl(plane, "wait", "-n", namespace, f"--for=jsonpath={state}", what, "--timeout=60s")
    return time.time() - began


async def _floor(cluster: KubernetesApiCluster) -> float:
    began = time.time()
    tenant, objects, route = _bundle()
    await cluster.apply(objects)
    status = await cluster.wait_until_ready(namespace_name(tenant.instance), PRODUCT, timeout=60)
    assert status.ready, status.message
    served = await cluster.open_route(route, timeout=60)
    assert served.serving, served.message
    return time.time() - began


async def _cluster(stack: Stack) -> KubernetesApiCluster:
    plane = stack.control_plane
    path = stack.processes.directory / "bench.kubeconfig"
    path.write_text(json.dumps(plane.context(BERTH)))
    settings = KubernetesSettings(kubeconfig=str(path))
    return KubernetesApiCluster(
        await connect(KubeconfigAccess(plane.name), settings), settings, SystemClock(), TENANT_SETTINGS.owner
    )


def _bundle() -> tuple[Tenant, list[Manifest], Manifest]:
    tenant = new_tenant(new_slug(), created_at=datetime.now(UTC))
    templates = YamlTenantTemplates(TENANT_SETTINGS, PLANS)
    return tenant, list(templates.render(tenant, LOCAL)), templates.route(tenant, LOCAL)


async def _cost(samples: int) -> None:
    """Print what one tenant costs, counted by the API server's audit log and by a proxy before the tables."""
    quiet = {"BERTH_RECOVERY_SCHEDULE": "0 0 0 1 1 *"}  # recovery's queries are not part of a tenant
    async with proxied_stack(quiet) as held:
        for _ in range(WARM_UP):
            await held.ended(await held.sign_up())
        plane = held.stack.control_plane
        held.reset()
        audited, logged = _lines(plane.audit_log), _lines(held.stack.processes.log("host"))
        parts = {name: psutil.Process(pid) for name, pid in held.stack.processes.pids().items()}
        before = {name: _cpu_seconds(part) for name, part in parts.items()}
        # One after another. The queries of the polls are subtracted.
        polls = 0
        for _ in range(samples):
            operation = await held.sign_up()
            while operation["finished_at"] is None:
                await asyncio.sleep(0.05)
                operation = await held.api.call("GET", f"operations/{operation['id']}")
                polls += 1
            assert operation["state"] == "succeeded", operation["reason"]
        cpu = {name: _cpu_seconds(part) - before[name] for name, part in parts.items()}
        requests = [json.loads(line) for line in plane.audit_log.read_text().splitlines()[audited:]]
        by_user = Counter(
            "berth" if each["user"]["username"] == BERTH else "controllers"
            for each in requests
            if each["user"]["username"] == BERTH or each["verb"] not in ("get", "list", "watch")
        )
        log = held.stack.processes.log("host").read_text().splitlines()[logged:]
        activities = sum("durable  activity " in line for line in log)
        print(f"\nper tenant, {samples} tenants one after another:")
        rows = {
            "Kubernetes requests of berth": by_user["berth"] / samples,
            "Kubernetes writes of the controllers": by_user["controllers"] / samples,
            "table transactions": (held.tables.requests - polls) / samples,
            "activities": activities / samples,
            "CPU seconds of the host and its worker": cpu["host"] / samples,
            "CPU seconds of the task hub": cpu["task-hub"] / samples,
            "CPU seconds of the API server": cpu["local-apiserver"] / samples,
        }
        for name, value in rows.items():
            print(f"  {name:40}{value:8.2f}")


def _cpu_seconds(part: psutil.Process) -> float:
    """Return what a process and its children have used; the host's one is the worker."""
    return sum(sum(each.cpu_times()[:2]) for each in (part, *part.children()))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


if __name__ == "__main__":
    asyncio.run(main())
