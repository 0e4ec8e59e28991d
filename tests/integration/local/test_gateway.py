"""The simulated gateway on a real API server, reached over HTTPS as by a browser."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from local.gateway.process import NAME, NAMESPACE
from local.kubernetes.control_plane import ControlPlane, kubectl
from tests.support.gateway_objects import apply, namespace, pod, responds, route, service
from tests.support.polling import until

OURS = "gateway-test"
ROOM = "gateway-test-room"
STRANGER = "gateway-test-stranger"


async def reasons(plane: ControlPlane, where: str) -> list[str]:
    """Return the reasons of a route's conditions, once they are of its present generation."""
    found = json.loads(await kubectl(plane, "get", "httproute", "product", "-n", where, "-o", "json"))
    parents = found.get("status", {}).get("parents", [])
    conditions = [each for parent in parents for each in parent["conditions"]]
    current = all(each["observedGeneration"] == found["metadata"]["generation"] for each in conditions)
    return [each["reason"] for each in conditions] if current else []


async def become(plane: ControlPlane, where: str, *expected: str) -> None:
    async def are_so() -> bool:
        return await reasons(plane, where) == list(expected)

    await until(are_so)


async def attached(plane: ControlPlane) -> int:
    """Return how many routes the gateway says it has."""
    path = "jsonpath={.status.listeners[*].attachedRoutes}"
    return int(await kubectl(plane, "get", "gateway", NAME, "-n", NAMESPACE, "-o", path))


async def counted(plane: ControlPlane, where: str, status: int) -> float:
    """Return how many requests with a status the gateway has counted for a namespace."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(plane.gateway.metrics_url)).text
    lines = [line for line in text.splitlines() if line.startswith("istio_requests_total{")]
    labelled = [(dict(re.findall(r'(\w+)="([^"]*)"', line)), float(line.rpartition(" ")[2])) for line in lines]
    wanted = {"reporter": "source", "destination_service_namespace": where, "response_code": str(status)}
    return sum(value for labels, value in labelled if labels.items() >= wanted.items())


@pytest.fixture(scope="module")
async def plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    ours = {"app.kubernetes.io/managed-by": "berth"}
    await apply(control_plane, namespace(OURS, **ours), namespace(ROOM, **ours), namespace(STRANGER))
    yield control_plane
    await kubectl(control_plane, "delete", "namespace", OURS, ROOM, STRANGER, "--wait=false")


async def test_a_route_over_a_ready_pod_is_served_and_counted(plane: ControlPlane) -> None:
    host, before = f"one.{plane.gateway.domain}", await attached(plane)
    assert (await plane.gateway.fetch(f"https://{host}/")).status_code == 404
    await apply(plane, route(OURS, host))
    await become(plane, OURS, "Accepted", "BackendNotFound")
    assert (await plane.gateway.fetch(f"https://{host}/")).status_code == 500
    await apply(plane, service(OURS))
    await become(plane, OURS, "Accepted", "ResolvedRefs")
    assert (await plane.gateway.fetch(f"https://{host}/")).status_code == 503
    await apply(plane, pod(OURS))
    page = await responds(plane, host, 200)
    assert host in page.text
    assert OURS in page.text
    assert await counted(plane, OURS, 200) == 1
    assert await counted(plane, OURS, 503) >= 1
    assert await counted(plane, "unknown", 404) >= 1

    async def is_attached() -> bool:
        return await attached(plane) == before + 1

    await until(is_attached)

    await kubectl(plane, "delete", "pod", "product", "-n", OURS)
    await responds(plane, host, 503)
    await kubectl(plane, "delete", "httproute", "product", "-n", OURS)
    await responds(plane, host, 404)


async def test_a_strangers_route_or_host_is_refused(plane: ControlPlane) -> None:
    await apply(plane, service(STRANGER), route(STRANGER, f"stolen.{plane.gateway.domain}"))
    await become(plane, STRANGER, "NotAllowedByListeners", "ResolvedRefs")
    assert (await plane.gateway.fetch(f"https://stolen.{plane.gateway.domain}/")).status_code == 404
    await apply(plane, service(ROOM), route(ROOM, "acme.example.org"))
    await become(plane, ROOM, "NoMatchingListenerHostname", "ResolvedRefs")


async def test_a_tenants_route_goes_before_the_wildcards_server(plane: ControlPlane) -> None:
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 503 Waiting\r\nRetry-After: 5\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwait")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        await apply(
            plane, service(ROOM, address=f"{host}:{port}"), route(ROOM, f"*.{plane.gateway.domain}"), service(OURS)
        )
        await become(plane, ROOM, "Accepted", "ResolvedRefs")
        name = f"two.{plane.gateway.domain}"
        page = await plane.gateway.fetch(f"https://{name}/a%20b?c=d")
        assert (page.status_code, page.text, page.headers["retry-after"]) == (503, "wait", "5")
        assert seen[0].startswith("GET /a%20b?c=d HTTP/1.1\r\n")
        assert f"host: {name}\r\n" in seen[0].lower()
        await apply(plane, pod(OURS), route(OURS, name))
        await responds(plane, name, 200)
        await kubectl(plane, "delete", "httproute", "product", "-n", OURS)
        assert (await responds(plane, name, 503)).text == "wait"


async def test_plain_http_leads_to_https(plane: ControlPlane) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{plane.gateway.http_port}/a?b=c"
        response = await http.get(url, headers={"Host": f"one.{plane.gateway.domain}:80"})
    assert response.status_code == 301
    assert response.headers["location"] == f"https://one.{plane.gateway.domain}:{plane.gateway.https_port}/a?b=c"
