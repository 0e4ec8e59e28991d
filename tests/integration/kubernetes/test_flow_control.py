"""berth's own priority level, on an API server that has Kubernetes' own limits."""

import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from local.kubernetes.control_plane import BERTH, ControlPlane, Options, kubectl, start_control_plane
from local.kubernetes.objects import filled_in
from local.ports import Ports
from local.processes import Processes
from shared.settings import KubernetesSettings
from tests.support.polling import until

SCHEMA, LEVEL = "X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID"
WORKERS = 4  # that stay below the limit together


@dataclass
class Applied:
    """A control plane on which the file is applied, and the ids of its two objects."""

    plane: ControlPlane
    schema: str
    level: str


@pytest.fixture(scope="module")
async def applied() -> AsyncIterator[Applied]:
    ports, processes = Ports(), Processes()
    plane = await start_control_plane(processes, ports, "limited", Options(stock=True))
    await kubectl(
        plane, "apply", "--server-side", "-f", "-", stdin=filled_in("flow-control.yaml", {"OBJECT-ID": BERTH})
    )
    kinds = ("flowschema", "prioritylevelconfiguration")
    schema, level = [json.loads(await kubectl(plane, "get", kind, "berth", "-o", "json")) for kind in kinds]
    yield Applied(plane, schema["metadata"]["uid"], level["metadata"]["uid"])
    await processes.close()
    ports.release()


@asynccontextmanager
async def caller(plane: ControlPlane, user: str) -> AsyncGenerator[httpx.AsyncClient]:
    pair = plane.authority.client(user)
    context = ssl.create_default_context(cafile=str(plane.authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    async with httpx.AsyncClient(base_url=plane.server, verify=context, trust_env=False) as http:
        yield http


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/tenant-nobody"),
        ("GET", "/api/v1/namespaces/tenant-nobody/pods"),
        ("PATCH", "/apis/apps/v1/namespaces/tenant-nobody/statefulsets/product"),
        ("GET", "/api/v1/namespaces/kube-system"),
    ],
)
async def test_requests_of_berth_have_their_own_level(applied: Applied, method: str, path: str) -> None:
    async with caller(applied.plane, BERTH) as http:

        async def is_matched() -> bool:  # the API server reads a new schema after a moment
            headers = (await http.request(method, path)).headers
            return (headers[SCHEMA], headers[LEVEL]) == (applied.schema, applied.level)

        await until(is_matched)


async def test_requests_of_others_keep_their_level(applied: Applied) -> None:
    async with caller(applied.plane, "somebody") as http:
        headers = (await http.get("/version")).headers
    assert headers[SCHEMA] != applied.schema
    assert headers[LEVEL] != applied.level


async def test_four_workers_stay_below_berths_level(applied: Applied) -> None:
    async def seats(level: str) -> float:
        metrics = await kubectl(applied.plane, "get", "--raw", "/metrics")
        name = "apiserver_flowcontrol_nominal_limit_seats"
        found = re.search(rf'^{name}{{priority_level="{level}"}} (\S+)$', metrics, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def is_known() -> bool:
        return bool(await seats("berth"))

    await until(is_known)
    assert (await seats("berth"), await seats("global-default")) == (46, 46)  # 600 * 20 / 265
    assert WORKERS * KubernetesSettings().max_concurrent_requests <= 46
