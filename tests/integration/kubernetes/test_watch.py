"""The shared watch, with the faults of a network and of an API server."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.ports import Ports
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.rate_limit import RateLimit
from shared.adapters.kubernetes.watch import PodWatch
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.errors import NotFound, Transient
from shared.events import log_context
from shared.settings import KubernetesSettings
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import KubectlByHand
from tests.support.fault_proxy import Exchange, FaultProxy, never
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until


@dataclass
class Watched:
    """A cluster behind a proxy, and the number of its list and watch requests for pods."""

    cluster: KubernetesApiCluster
    client: KubernetesClient
    settings: KubernetesSettings
    proxy: FaultProxy
    watches: int = 0
    lists: int = 0

    async def count(self, exchange: Exchange) -> None:
        self.watches += exchange.is_watch
        self.lists += exchange.method == "GET" and exchange.path.endswith("/pods")
        assert exchange.is_watch or not exchange.path.startswith("/api/v1/pods")  # no list over the whole cluster

    async def becomes_ready(self) -> None:
        """Apply a tenant and wait until the watch reports it as ready."""
        assert (await self.cluster.wait_until_ready(await self.apply(), PRODUCT, timeout=20)).ready

    async def apply(self, version: str = "1.0.0") -> str:
        """Apply a tenant and return its namespace."""
        value = fresh_tenant(version)
        await self.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
        return namespace_name(value.instance)


@pytest.fixture
async def watched(control_plane: ControlPlane, ports: Ports) -> AsyncIterator[Watched]:
    server, pair = control_plane.authority.server(), control_plane.authority.client(BERTH)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(control_plane.authority.certificate))
    calling.load_cert_chain(pair.certificate, pair.key)
    proxy = FaultProxy(control_plane.server, tls=serving, upstream_tls=calling)
    config = control_plane.directory / "watched.kubeconfig"
    config.write_text(json.dumps(control_plane.context(BERTH, server=await proxy.start(ports.take()))))
    settings = KubernetesSettings(kubeconfig=str(config), watch_timeout=5)
    client = await connect(KubeconfigAccess("local"), settings)
    held = Watched(
        KubernetesApiCluster(client, settings, SystemClock(), TENANT_SETTINGS.owner), client, settings, proxy
    )
    held.proxy.before = held.count
    yield held
    await held.cluster.close()
    await proxy.close()


async def test_a_watch_that_ends_is_renewed_without_a_new_list(watched: Watched) -> None:
    waiting = asyncio.create_task(watched.cluster.wait_until_ready("tenant-nobody", PRODUCT, timeout=12))
    await until(lambda: _more_than(watched, 1), seconds=8)
    assert watched.lists == 1
    await watched.becomes_ready()
    assert watched.lists == 2  # of its own namespace
    with pytest.raises(NotFound):  # it only kept the watch open; there is no such namespace
        await waiting


async def test_a_watch_names_the_instances_waited_for(watched: Watched) -> None:
    selectors: list[str] = []

    async def note(exchange: Exchange) -> None:
        if exchange.is_watch:
            [selector] = parse_qs(urlsplit(exchange.path).query)["labelSelector"]
            selectors.append(selector)

    watched.proxy.before = note
    first, second = [await watched.apply("never-ready-1") for _ in range(2)]
    waiting = [asyncio.create_task(watched.cluster.wait_until_ready(first, PRODUCT, timeout=5))]
    await until(lambda: _has(selectors, 1))
    waiting.append(asyncio.create_task(watched.cluster.wait_until_ready(second, PRODUCT, timeout=5)))
    await until(lambda: _has(selectors, 2))
    assert not [each for each in await asyncio.gather(*waiting) if each.ready]
    names = sorted(each.removeprefix("tenant-") for each in (first, second))
    assert selectors[:2] == [
        f"berth.dev/instance in ({first.removeprefix('tenant-')})",
        f"berth.dev/instance in ({','.join(names)})",
    ]


async def test_a_dropped_watch_is_reopened(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    drops = 0

    async def drop_twice(exchange: Exchange) -> None:
        nonlocal drops
        if exchange.is_watch and drops < 2:
            drops += 1
            raise ConnectionError

    watched.proxy.before = drop_twice
    namespace = await watched.apply("slow-1")  # a minute: the tenant of this test does not become ready
    with log_context(tenant="first"):
        waiting = asyncio.create_task(watched.cluster.wait_until_ready(namespace, PRODUCT, timeout=8))

    async def is_dropped() -> bool:
        return drops == 2

    await until(is_dropped, seconds=8)
    await watched.becomes_ready()
    assert not (await waiting).ready
    lines = [each for each in caplog.messages if each.startswith("watch interrupted")]
    assert lines
    assert not [each for each in lines if "tenant=" in each]  # the watch is everybody's


async def test_a_watch_without_events_times_out(watched: Watched) -> None:
    silent = 0

    async def swallow_once(exchange: Exchange) -> web.Response | None:
        nonlocal silent
        if exchange.is_watch and not silent:
            silent += 1
            return await never(exchange)
        return None

    watched.proxy.before = swallow_once
    await watched.becomes_ready()
    assert silent == 1


async def test_410_gone_leads_to_a_new_list(watched: Watched) -> None:
    sent = 0

    async def send_once(exchange: Exchange) -> web.Response | None:
        nonlocal sent
        await watched.count(exchange)
        if exchange.is_watch and not sent:
            sent += 1
            return gone()
        return None

    watched.proxy.before = send_once
    await watched.becomes_ready()
    assert (sent, watched.lists) == (1, 2)


async def test_429_of_the_api_server_is_retried(watched: Watched) -> None:
    refused = 0

    async def refuse(exchange: Exchange) -> web.Response | None:
        nonlocal refused
        if exchange.number and refused < 3:
            refused += 1
            return web.json_response({"kind": "Status", "message": "busy"}, status=429, headers={"Retry-After": "1"})
        return None

    watched.proxy.before = refuse
    await watched.becomes_ready()
    assert refused == 3


@pytest.mark.parametrize("is_gone", [False, True], ids=["position known", "410"])
async def test_a_deletion_between_two_watches_is_noticed(
    watched: Watched, control_plane: ControlPlane, *, is_gone: bool
) -> None:
    watch = PodWatch(
        watched.client, watched.settings, lambda each: each.removeprefix("tenant-"), lambda pod: pod, RateLimit()
    )
    namespace = await watched.apply()
    seen = asyncio.Event()

    def was_deleted(pods: Sequence[Mapping[str, Any]]) -> bool | None:
        if pods:
            seen.set()
        return True if seen.is_set() and not pods else None

    async def cut(_: Exchange) -> None:
        raise ConnectionError

    async def answer_gone(exchange: Exchange) -> web.Response | None:
        if not exchange.is_watch:
            return None
        watched.proxy.pass_everything()
        return gone()

    waiting = asyncio.create_task(watch.wait(namespace, was_deleted, timeout=40))
    await seen.wait()
    watched.proxy.before = cut
    watched.proxy.drop_watches()
    await kubectl(control_plane, "delete", "sts,pod", "--all", "-n", namespace, "--now")
    watched.proxy.reset()
    if is_gone:
        watched.proxy.before = answer_gone
    assert await waiting
    await watch.close()


async def test_a_waiting_tenant_costs_two_requests_a_second(watched: Watched) -> None:
    seconds = 5.0
    namespace = await watched.apply("never-ready-1")
    watched.proxy.reset()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds - 0.5):
            while True:  # with the shortest waits that settings allow
                assert not (await watched.cluster.wait_until_ready(namespace, PRODUCT, timeout=0.5)).ready
    assert 2 <= watched.proxy.requests <= 2 * seconds


async def test_a_removal_that_waits_polls_ever_less_often(watched: Watched, control_plane: ControlPlane) -> None:
    namespace = await watched.apply()
    assert (await watched.cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    by_hand = KubectlByHand(control_plane)
    await by_hand.hold(namespace)
    watched.proxy.reset()
    with pytest.raises(Transient, match="still being removed"):
        await watched.cluster.remove(namespace, timeout=6)
    deletions = 5 + 2  # and before them a read, and the question whether the deletion is allowed
    assert deletions < watched.proxy.requests <= deletions + 2 * 6
    await by_hand.release(namespace)
    await watched.cluster.remove(namespace, timeout=30)
    assert not await by_hand.exists(namespace)


def gone() -> web.Response:
    status = {"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old", "code": 410}
    return web.json_response(status, status=410)


async def _more_than(watched: Watched, number: int) -> bool:
    return watched.watches > number


async def _has(selectors: Sequence[str], number: int) -> bool:
    return len(selectors) >= number
