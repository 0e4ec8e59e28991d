"""What calls cost and how long they take, whatever the API server does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import web

from shared.adapters.kubernetes import client
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import LAST_SECONDS, KubernetesApiCluster
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.domain.clusters import KubeconfigAccess
from shared.errors import BerthError, Forbidden, Transient, Unreachable
from shared.settings import KubernetesSettings
from shared.time_budget import time_budget
from tests.support.builders import PRODUCT, TENANT_SETTINGS
from tests.support.fake_api_server import FakeApiServer, Respond, fake_cluster, kubeconfig, status
from tests.support.polling import until

NAMESPACE = "tenant-one"
LABELS = {OWNER: TENANT_SETTINGS.owner, INSTANCE: "one"}


def metadata(name: str) -> dict[str, Any]:
    """Return the metadata of an object of the tenant."""
    return {"name": name, "namespace": NAMESPACE, "uid": "1", "labels": LABELS}


FOUND: dict[str, Any] = {"kind": "Namespace", "metadata": {"name": NAMESPACE, "uid": "1", "labels": LABELS}}
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": LABELS}},
    *({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(f"c{each}")} for each in range(9)),
    {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("product"),
        "spec": {"selector": {"matchLabels": {INSTANCE: "one"}}},
    },
]


class Clusters(Protocol):
    """Makes clusters whose API server responds as a test says."""

    def __call__(
        self, respond: Respond, **settings: Any
    ) -> AbstractAsyncContextManager[tuple[KubernetesApiCluster, FakeApiServer]]: ...


@pytest.fixture
def clusters(tmp_path: Path) -> Clusters:
    def fake(respond: Respond, **settings: Any) -> AbstractAsyncContextManager[Any]:
        return fake_cluster(respond, tmp_path, **settings)

    return fake


def pod(*, ready: bool, version: int = 100) -> dict[str, Any]:
    owner = {"kind": "StatefulSet", "name": "product", "controller": True}
    metadata = {
        "name": "product-0",
        "namespace": NAMESPACE,
        "resourceVersion": str(version),
        "ownerReferences": [owner],
    }
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}


def listed(*items: dict[str, Any]) -> web.Response:
    return web.json_response({"items": items, "metadata": {"resourceVersion": "100"}})


def whole(request: web.Request) -> web.Response:
    """Respond as if all were there, and nobody else's."""
    if request.path.endswith(NAMESPACE) or request.method == "PATCH":
        return web.json_response(FOUND)
    return listed()


async def never() -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


@contextlib.asynccontextmanager
async def streaming(request: web.Request) -> AsyncGenerator[Callable[[str, dict[str, Any]], Awaitable[None]]]:
    stream = web.StreamResponse()
    await stream.prepare(request)

    async def send(change: str, item: dict[str, Any]) -> None:
        await stream.write(json.dumps({"type": change, "object": item}).encode() + b"\n")

    yield send


async def misbehave(fault: str, request: web.Request) -> web.StreamResponse:
    """Respond as a cluster whose tenant never becomes ready, with one fault."""
    is_watch = "watch" in request.query
    match fault:
        case "resets":
            raise ConnectionError
        case "all 500":
            return status(500, "etcdserver: leader changed")
        case "410" if is_watch:
            return status(410, "too old resource version")
        case "410 in the stream" if is_watch:
            async with streaming(request) as send:
                await send("ERROR", {"code": 410, "message": "too old resource version"})
            return web.Response()
        case "late 410" if is_watch:
            await asyncio.sleep(3.05)  # just long enough to look healthy
            return status(410, "too old resource version")
        case "watch ends" if is_watch:
            return web.Response(body=b"")
        case "flapping" if is_watch:
            async with streaming(request) as send:
                for number in count():
                    await send("DELETED" if number % 2 else "ADDED", pod(ready=False, version=number))
                    await asyncio.sleep(0.01)
        case "watch alone says ready" | "neither confirms" if is_watch:
            async with streaming(request) as send:
                await send("MODIFIED", pod(ready=True))
                await asyncio.sleep(3600)
        case "list alone says ready" if request.path.endswith("/pods") and not is_watch:
            return listed(pod(ready=True))
        case "events" if request.path.endswith("/events"):
            return status(500, "etcdserver: request timed out")
        case "neither confirms" | "list alone says ready" if request.path.endswith(NAMESPACE):
            return status(500, "etcdserver: request timed out")
        case _:
            pass
    if is_watch:
        return await never()
    if request.path.endswith("/pods"):
        return listed(pod(ready=False)) if fault == "events" else listed()
    return web.json_response(FOUND if request.path.endswith(NAMESPACE) else {"items": []})


FAULTS = [
    *("resets", "all 500", "410", "410 in the stream", "late 410", "watch ends", "flapping", "watch alone says ready"),
    *("neither confirms", "list alone says ready", "events", "none"),
]


async def test_a_waiting_tenant_costs_two_requests_a_second(clusters: Clusters) -> None:
    seconds = 6.0

    async def requests(fault: str) -> int:
        async with clusters(lambda request: misbehave(fault, request)) as (cluster, server):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:  # without any pause, which is worse than what the activities do
                        with contextlib.suppress(BerthError):
                            await cluster.wait_until_ready(NAMESPACE, PRODUCT, timeout=0.5)
            return len(server.requests)

    found = dict(zip(FAULTS, await asyncio.gather(*map(requests, FAULTS)), strict=True))
    assert {fault: number for fault, number in found.items() if not 2 <= number <= 2 * seconds} == {}


async def timed(call: Awaitable[object]) -> tuple[BerthError | None, float]:
    """Return the error of a call and the seconds that it took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        await call
    except BerthError as error:
        return error, clock() - began
    return None, clock() - began


async def slowly(request: web.Request, seconds: float) -> web.StreamResponse:
    """Respond late, with pages that never end."""
    await asyncio.sleep(seconds)
    return web.json_response({"items": [], "metadata": {**FOUND["metadata"], "continue": "more"}})


async def test_a_call_ends_within_its_total_timeout(clusters: Clusters) -> None:
    responses: list[Respond] = [
        lambda request: slowly(request, 0.5),
        lambda request: slowly(request, 60),
        lambda request: misbehave("resets", request),
        lambda request: misbehave("all 500", request),
    ]
    calls: list[Callable[[KubernetesApiCluster], Awaitable[object]]] = [
        lambda cluster: cluster.apply(OBJECTS),
        lambda cluster: cluster.remove(NAMESPACE, timeout=60),
        lambda cluster: cluster.tenant_namespaces(),
        lambda cluster: cluster.tenant_routes(),
        lambda cluster: cluster.left_volumes(),
    ]

    async def one(respond: Respond, call: Callable[[KubernetesApiCluster], Awaitable[object]]) -> None:
        async with clusters(respond, total_timeout=1, attempt_timeout=0.7) as (cluster, _):
            error, seconds = await timed(call(cluster))
        assert isinstance(error, Transient)
        assert seconds < 3  # a second, and what a busy machine needs to notice it

    for respond in responses:  # one after the other: all at once would keep a small machine too busy to measure
        await asyncio.gather(*(one(respond, call) for call in calls))


async def test_calls_share_the_budget_around_them(clusters: Clusters) -> None:
    async with clusters(lambda request: slowly(request, 0.2), attempt_timeout=5) as (cluster, _):

        async def both() -> None:
            with time_budget(1):
                await timed(cluster.apply(OBJECTS))  # as an activity, which undoes it then
                await cluster.remove(NAMESPACE, timeout=60)

        error, seconds = await timed(both())
    assert isinstance(error, Transient)
    assert seconds < 2


async def test_waiting_for_pods_to_stop_leaves_time_to_say_so(clusters: Clusters) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response({"items": [{**pod(ready=True), "spec": {}}]})

    async with clusters(respond) as (cluster, _):
        with time_budget(LAST_SECONDS + 0.3):
            assert "product-0 has not stopped" in await cluster.wait_until_stopped(NAMESPACE, timeout=60)


async def test_a_refusal_that_repeats_is_shown_in_time(clusters: Clusters) -> None:
    async def refuse(code: int, request: web.Request) -> web.StreamResponse:
        is_dry = "dryRun" in request.query or "dryRun" in await request.text()
        if request.method in ("PATCH", "DELETE") and not is_dry:
            return status(code, "the policy says no")
        return whole(request)

    async def is_shown(code: int) -> None:
        async with clusters(lambda request: refuse(code, request)) as (cluster, _):
            calls = [timed(cluster.apply(OBJECTS)), timed(cluster.remove(NAMESPACE, timeout=9))]
            for error, seconds in await asyncio.gather(*calls):
                assert isinstance(error, Forbidden if code == 403 else Transient)
                assert str(error) == f"the API server responded {code}: the policy says no"
                assert seconds < 5

    await asyncio.gather(*map(is_shown, (403, 409, 500)))


async def test_what_is_refused_for_a_moment_is_retried(clusters: Clusters) -> None:
    requests = count()

    async def refuse(_: web.Request) -> web.StreamResponse:
        return status(403, "no such role yet") if next(requests) < 2 else web.json_response(FOUND)

    async with clusters(refuse) as (cluster, server):
        await cluster.apply(OBJECTS)
    assert len(server.requests) == 2 + len(OBJECTS)


async def test_an_attempt_gets_longer_after_a_time_out(clusters: Clusters) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)  # a webhook that is slower than the limit, but not than twice of it
        return web.json_response(FOUND)

    async with clusters(late, attempt_timeout=0.3) as (cluster, server):
        await cluster.apply(OBJECTS)
    assert len(server.requests) == 1 + len(OBJECTS)  # all but the first have the longer limit from the start


class Existing:
    """Responds as an API server with a slow webhook on all objects, which are there after they were applied.

    Args:
        seconds: How long the webhook takes, also before a conflict is found.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.paths: set[str] = set()
        self.uid = "1"
        self.refused = ""  # the end of the path of an object that cannot be applied now
        self.has_side_effects = False

    async def respond(self, request: web.Request) -> web.StreamResponse:
        found = {**FOUND, "metadata": {**FOUND["metadata"], "uid": self.uid}}
        is_there = request.path in self.paths
        if request.method == "PATCH":
            body = json.loads(await request.text())
            await asyncio.sleep(self.seconds)
            if "dryRun" in request.query and self.has_side_effects:
                return status(400, 'admission webhook "w.example.com" does not support dry run')
            if self.refused and request.path.endswith(self.refused):
                return status(500, "failed calling webhook")
            if is_there and body.get("metadata", {}).get("resourceVersion") == "1":
                return status(409, "the object has been modified")
            if body:
                self.paths.add(request.path)
                return web.json_response(found)
        return web.json_response(found) if is_there else status(404, "not found")


@pytest.mark.parametrize("seconds", [0.65, 0.9])
async def test_a_slow_webhook_never_keeps_a_tenant_out(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(client, "MAX_ATTEMPT_TIMEOUT", 1.5)  # a tenth of what it is, as all times here
    monkeypatch.setattr(client, "RESPONSE_TIMEOUT", 0.4)
    server = Existing(seconds)
    async with clusters(server.respond, attempt_timeout=0.5) as (cluster, _):
        error: BerthError | None = None
        for _ in range(5):
            with time_budget(2.5):
                error, _ = await timed(cluster.apply(OBJECTS))
            if error is None:
                break
            assert isinstance(error, Transient)
    assert error is None
    assert len(server.paths) == len(OBJECTS)


@pytest.mark.parametrize(("home", "requests"), [("kept", 0), ("gone", 1), ("made anew by others", 2)])
async def test_a_call_continues_where_the_last_one_ended(clusters: Clusters, home: str, requests: int) -> None:
    server = Existing()
    server.refused = "statefulsets/product"
    async with clusters(server.respond, total_timeout=1) as (cluster, fake):
        with pytest.raises(Transient, match="failed calling webhook"):
            await cluster.apply(OBJECTS)
        fake.requests.clear()
        server.refused = ""
        if home != "kept":
            server.paths, server.uid = set(), "2"
        if home == "made anew by others":
            server.paths.add("/api/v1/namespaces/tenant-one")
        await cluster.apply(OBJECTS)
        maps = [each for each in fake.requests if "/configmaps/" in each]
        assert len(maps) == 9 * requests
        assert len(server.paths) == len(OBJECTS)


async def test_a_webhook_with_side_effects_is_asked_in_earnest(clusters: Clusters) -> None:
    server = Existing()
    server.has_side_effects = True
    async with clusters(server.respond) as (cluster, fake):
        await cluster.apply(OBJECTS)
        fake.requests.clear()
        await cluster.apply(OBJECTS)
        assert fake.requests.count("PATCH /api/v1/namespaces/tenant-one/configmaps/c0") == 3


async def test_a_check_has_a_connection_beside_all_others(tmp_path: Path) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.json_response(FOUND) if request.path == "/check" else await never()

    server = FakeApiServer(respond)
    async with server.serving():
        config = tmp_path / "kubeconfig"
        config.write_text(json.dumps(kubeconfig(server.url, {})))
        settings = KubernetesSettings(kubeconfig=str(config), max_concurrent_requests=2)
        connected = await connect(KubeconfigAccess("fake"), settings)
        # Two watches of pods, because one is opened before the one that it replaces is closed, and one of namespaces.
        streams = [connected.stream(f"/watch{each}", read_timeout=60, query={}) for each in range(3)]
        others = [asyncio.create_task(connected.request("GET", f"/list{each}")) for each in range(2)]
        others += [asyncio.create_task(anext(each)) for each in streams]

        async def are_open() -> bool:
            return len(server.requests) == len(others)

        try:
            await until(are_open, seconds=2)
            async with asyncio.timeout(2):
                assert await connected.request_at_once("/check") == FOUND
        finally:
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await connected.close()


async def test_the_error_tells_connecting_from_responding(clusters: Clusters) -> None:
    async with clusters(lambda _: never(), attempt_timeout=0.1, total_timeout=0.5) as (cluster, _):
        with pytest.raises(Unreachable, match=r"no response within 0\.[12] s.*BERTH_KUBERNETES_ATTEMPT_TIMEOUT"):
            await cluster.apply(OBJECTS)
        with pytest.raises(Unreachable, match=r"no response within 0\.1 s"):
            await cluster.check()
    async with clusters(lambda _: never(), total_timeout=0.5) as (cluster, server):
        await server.stop()
        with pytest.raises(Unreachable, match="cannot be reached: ClientConnectorError"):
            await cluster.apply(OBJECTS)
