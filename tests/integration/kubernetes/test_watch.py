"""The shared watch, with the faults of a network and of an API server."""

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
from shared.domain.instances import namespace_name
from shared.errors import NotFound
from shared.settings import KubernetesSettings
from tests.support.builders import TENANT_SETTINGS
from tests.support.fault_proxy import Exchange, FaultProxy, never
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until


@dataclass
class Watched:
    """A cluster behind a proxy, and the number of its list and watch requests."""

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
        """Apply a tenant and wait until the watch reports it as ready."""
        value = fresh_tenant()
        await self.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
        assert (await self.cluster.wait_until_ready(namespace_name(value.instance), timeout=20)).ready


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
    with pytest.raises(NotFound):  # it only kept the watch open; there is no such namespace
        await waiting
    assert watched.lists == 1


async def test_a_dropped_watch_is_reopened(watched: Watched) -> None:
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
    gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old", "code": 410}
    sent = 0

    async def send_once(exchange: Exchange) -> web.Response | None:
        nonlocal sent
        await watched.count(exchange)
        if exchange.is_watch and not sent:
            sent += 1
            return web.json_response(gone, status=410)
        return None

    watched.proxy.before = send_once
    await watched.becomes_ready()
    assert (sent, watched.lists) == (1, 2)


async def test_429_of_the_api_server_is_retried(watched: Watched) -> None:
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


async def test_a_deletion_between_two_watches_is_noticed(watched: Watched, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
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
