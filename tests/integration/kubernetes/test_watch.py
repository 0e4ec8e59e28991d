"""The shared watch, through whatever a network and an API server can do to it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.ports import Ports
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.domain.slugs import namespace_name
from shared.errors import NotFound
from shared.settings import KubernetesSettings
from tests.integration.kubernetes.test_cluster import new_tenant
from tests.support.builders import TENANT_SETTINGS
from tests.support.fault_proxy import Exchange, FaultProxy, never
from tests.support.polling import until


@dataclass
class Watched:
    """A cluster that is reached through a proxy, and how often each of its lists and watches was asked for."""

    cluster: KubernetesApiCluster
    proxy: FaultProxy
    watches: int = 0
    lists: int = 0

    async def count(self, exchange: Exchange) -> None:
        if exchange.path.startswith("/api/v1/pods?"):
            if exchange.is_watch:
                self.watches += 1
            else:
                self.lists += 1

    async def becomes_ready(self) -> None:
        """Let a tenant become ready, seen through the watch."""
        value = new_tenant()
        await self.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
        assert (await self.cluster.wait_until_ready(namespace_name(value.slug), timeout=20)).ready


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
    held = Watched(KubernetesApiCluster(client, settings, SystemClock()), proxy)
    held.proxy.before = held.count
    yield held
    await held.cluster.close()
    await proxy.close()


async def test_a_watch_that_ends_is_renewed_without_a_new_list(watched: Watched) -> None:
    await watched.becomes_ready()
    waiting = asyncio.create_task(watched.cluster.wait_until_ready("tenant-nobody", timeout=8))
    await until(lambda: _more_than(watched, 1), seconds=8)
    await watched.becomes_ready()
    with pytest.raises(NotFound):  # it kept the watch open, and nobody has such a namespace
        await waiting
    assert watched.lists == 1


async def test_a_dropped_watch_is_taken_up_again(watched: Watched) -> None:
    drops = 0

    async def drop_twice(exchange: Exchange) -> None:
        nonlocal drops
        await watched.count(exchange)
        if exchange.is_watch and drops < 2:
            drops += 1
            raise ConnectionError

    watched.proxy.before = drop_twice
    await watched.becomes_ready()
    assert drops == 2


async def test_a_silent_watch_is_given_up(watched: Watched) -> None:
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


async def test_a_position_that_is_gone_is_found_again_by_a_new_list(watched: Watched) -> None:
    gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old", "code": 410}
    told = 0

    async def tell_once(exchange: Exchange) -> web.Response | None:
        nonlocal told
        await watched.count(exchange)
        if exchange.is_watch and not told:
            told += 1
            return web.json_response(gone, status=410)
        return None

    watched.proxy.before = tell_once
    await watched.becomes_ready()
    assert (told, watched.lists) == (1, 2)


async def test_an_api_server_that_asks_for_patience_gets_it(watched: Watched) -> None:
    refused = 0

    async def refuse(exchange: Exchange) -> web.Response | None:
        nonlocal refused
        if exchange.number and refused < 5:
            refused += 1
            return web.json_response({"kind": "Status", "message": "busy"}, status=429, headers={"Retry-After": "1"})
        return None

    watched.proxy.before = refuse
    await watched.becomes_ready()
    assert refused == 5


async def test_a_removal_in_a_gap_of_the_watch_is_noticed(watched: Watched, control_plane: ControlPlane) -> None:
    value = new_tenant()
    namespace = namespace_name(value.slug)
    await watched.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
    assert (await watched.cluster.wait_until_ready(namespace, timeout=20)).ready

    async def cut(_: Exchange) -> None:
        raise ConnectionError

    watched.proxy.before = cut
    await kubectl(control_plane, "delete", "namespace", namespace, "--wait=false")
    await kubectl(control_plane, "delete", "sts,pvc,pod", "--all", "-n", namespace, "--now")
    watched.proxy.reset()
    await watched.cluster.remove(namespace, timeout=30)
    assert namespace not in await kubectl(control_plane, "get", "namespaces", "-o", "name")


async def _more_than(watched: Watched, number: int) -> bool:
    return watched.watches > number
