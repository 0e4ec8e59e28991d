"""Bearer tokens on a real API server, which issues them itself in place of Microsoft Entra."""

import asyncio
import logging
import ssl
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.ports import Ports
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes import tokens
from shared.adapters.kubernetes.access import AKS_SCOPE, RENEW_AHEAD_SECONDS, connect
from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.connections import ClusterConnectionPool
from shared.adapters.kubernetes.probe import probe
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import AzureAccess, ClusterName
from shared.domain.instances import namespace_name
from shared.errors import Permanent, Transient, Unauthenticated, WrongRegistration
from shared.settings import KubernetesSettings
from tests.support.builders import GATEWAY, LOCAL, PLANS, PRODUCT, TENANT_SETTINGS, new_cluster
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until
from tests.support.repositories import clusters_on, register

PODS = "/api/v1/pods"
GOOD_SECONDS = 600.0


@dataclass
class ServiceAccount:
    """A credential with the interface of azure-identity, for a service account with berth's role."""

    plane: ControlPlane
    name: str = field(default_factory=lambda: "berth-" + token_hex(4))
    requested: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    given: list[str] = field(default_factory=list[str])
    seconds: float = GOOD_SECONDS  # the validity of a token, as azure-identity reports it
    invalid: int = 0  # the number of next tokens that are invalid
    error: AzureError | None = None
    responds: asyncio.Event = field(default_factory=asyncio.Event)

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.requested.append(scopes)
        await self.responds.wait()
        if self.error is not None:
            raise self.error
        token = await self.issue()
        if self.invalid:
            self.invalid -= 1
            token += "invalid"
        self.given.append(token)
        return AccessToken(token, int(time.time() + self.seconds))

    async def issue(self) -> str:
        return (await kubectl(self.plane, "create", "token", self.name, "--duration=10m")).strip()

    async def recreate(self) -> None:
        """Replace it by a new account of the same name, which makes all earlier tokens invalid."""
        await kubectl(self.plane, "delete", "serviceaccount", self.name, "--ignore-not-found")
        await kubectl(self.plane, "create", "serviceaccount", self.name)

    async def close(self) -> None:
        """It holds nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


@dataclass
class Connected:
    """A connection with that account, through a proxy that counts the requests."""

    account: ServiceAccount
    proxy: FaultProxy
    client: KubernetesClient
    cluster: KubernetesApiCluster

    async def pods(self, times: int = 1) -> None:
        """List the pods that many times concurrently."""
        await asyncio.gather(*(self.client.request("GET", PODS, retry=False) for _ in range(times)))

    async def last_token_is_rejected(self) -> bool:
        """Whether the API server rejects the last token; it caches valid ones for ten seconds."""
        config = ["--kubeconfig", "/dev/null", "--server", self.account.plane.server]
        authority = ["--certificate-authority", str(self.account.plane.authority.certificate)]
        command = [self.account.plane.kubectl[0], *config, *authority, "--token", self.account.given[-1], "version"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        return bool(await process.wait())


@pytest.fixture
async def account(control_plane: ControlPlane) -> AsyncIterator[ServiceAccount]:
    held = ServiceAccount(control_plane)
    held.responds.set()
    await held.recreate()
    binding = ["clusterrolebinding", held.name]
    subject = f"--serviceaccount=default:{held.name}"
    await kubectl(control_plane, "create", *binding, "--clusterrole=berth", subject)
    yield held
    await kubectl(control_plane, "delete", *binding)
    await kubectl(control_plane, "delete", "serviceaccount", held.name)


@pytest.fixture
async def connected(control_plane: ControlPlane, ports: Ports, account: ServiceAccount) -> AsyncIterator[Connected]:
    server = control_plane.authority.server()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(control_plane.authority.certificate))
    proxy = FaultProxy(control_plane.server, tls=serving, upstream_tls=calling)
    address = (await proxy.start(ports.take())).replace("127.0.0.1", "localhost")
    access_by_token = AzureAccess(address, control_plane.authority.certificate.read_text())
    settings = KubernetesSettings(
        watch_timeout=5, attempt_timeout=30, max_concurrent_requests=50, aks_domains="localhost"
    )
    client = await connect(access_by_token, settings, account)
    held = Connected(
        account, proxy, client, KubernetesApiCluster(client, settings, SystemClock(), TENANT_SETTINGS.owner)
    )
    yield held
    await held.cluster.close()
    await proxy.close()


async def test_apply_and_remove_use_tokens_for_the_aks_server(
    connected: Connected, control_plane: ControlPlane
) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    await connected.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
    assert (await connected.cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    await connected.cluster.remove(namespace, timeout=30)
    assert connected.account.requested == [("6dae42f8-4368-4678-94ff-3960e28e3630/.default",)] == [(AKS_SCOPE,)]
    lines = control_plane.audit_log.read_text().splitlines()
    assert any(f"system:serviceaccount:default:{connected.account.name}" in each for each in lines)
    with pytest.raises(Permanent, match="403"):
        await connected.client.request("GET", "/api/v1/secrets")


async def test_a_token_is_not_renewed_early(connected: Connected) -> None:
    connected.account.seconds = RENEW_AHEAD_SECONDS + 60
    await connected.pods(50)
    for _ in range(10):
        await connected.pods()
    assert len(connected.account.requested) == 1


async def test_concurrent_requests_renew_an_old_token_once(connected: Connected) -> None:
    connected.account.seconds = RENEW_AHEAD_SECONDS - 1
    await connected.pods()
    connected.account.seconds = GOOD_SECONDS
    await connected.pods(50)
    await connected.pods()
    assert len(connected.account.requested) == 2
    assert connected.proxy.requests == 52  # none was rejected


async def test_concurrent_requests_renew_a_revoked_token_once(connected: Connected) -> None:
    await connected.pods()
    await connected.account.recreate()
    await until(connected.last_token_is_rejected)
    await connected.pods(50)
    assert len(connected.account.requested) == 2
    assert connected.proxy.requests <= 1 + 50 + 50


async def test_an_invalid_token_costs_one_more_request(connected: Connected) -> None:
    connected.account.invalid = 1
    await connected.pods()
    assert (len(connected.account.requested), connected.proxy.requests) == (2, 2)


async def test_invalid_tokens_fail_after_two_requests_unlogged(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connected.account.invalid = 1_000
    refused = r"the API server does not accept berth's token \(401\)"
    with pytest.raises(Transient, match=refused) as raised:
        await connected.client.request("GET", PODS)
    assert (len(connected.account.requested), connected.proxy.requests) == (2, 2)
    ends = await asyncio.gather(
        *(connected.client.request("GET", PODS, retry=False) for _ in range(50)), return_exceptions=True
    )
    assert {type(each) for each in ends} == {Unauthenticated}
    assert connected.proxy.requests == 2 + 2 * 50
    with pytest.raises(Transient, match=f"cannot be watched: {refused}") as unwatched:
        await connected.cluster.wait_until_ready("tenant-nobody", PRODUCT, timeout=1)
    errors = traceback.format_exception(raised.value) + traceback.format_exception(unwatched.value)
    output = caplog.text + "".join(errors)
    assert "does not accept berth's token (401)" in output
    assert not [each for each in connected.account.given if each in output]


@pytest.mark.parametrize(
    "kind", [ClientAuthenticationError, CredentialUnavailableError, HttpResponseError, ServiceRequestError]
)
async def test_a_missing_token_is_transient_and_requested_once(connected: Connected, kind: type[AzureError]) -> None:
    connected.account.error = kind(message="eyJ-what-entra-said")
    connected.account.responds.clear()
    asking = asyncio.gather(
        *(connected.client.request("GET", PODS, retry=False) for _ in range(40)), return_exceptions=True
    )
    await until(lambda: _has_requested(connected.account))
    connected.account.responds.set()
    errors = await asking
    assert {(type(each), str(each)) for each in errors} == {
        (Unauthenticated, f"no token for the cluster: {kind.__name__}")
    }
    assert (len(connected.account.requested), connected.proxy.requests) == (1, 0)
    connected.account.error = None
    await connected.pods()


async def test_a_short_identity_error_is_retried(connected: Connected) -> None:
    connected.account.error = ServiceRequestError(message="no route")

    async def fix() -> None:
        await until(lambda: _has_requested(connected.account, 2))
        connected.account.error = None

    await asyncio.gather(fix(), connected.client.request("GET", PODS))


async def test_a_slow_renewal_times_out_and_helps_the_next_request(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RENEWAL_TIMEOUT", 0.2)
    connected.account.responds.clear()
    with pytest.raises(Transient, match="no token for the cluster: TimeoutError"):
        await connected.pods()
    monkeypatch.undo()
    connected.account.responds.set()
    await connected.pods()
    assert len(connected.account.requested) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(connected: Connected, status: int) -> None:
    async def redirect(_: Exchange) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{connected.account.plane.server}{PODS}"})

    connected.proxy.before = redirect
    with pytest.raises(Transient, match=f"responded {status}: berth follows no redirect"):
        await connected.client.request("GET", PODS, retry=False)
    with pytest.raises(Transient, match=f"responded {status}"):
        await connected.client.request("POST", PODS, {}, retry=False)
    assert connected.proxy.requests == 2
    connected.proxy.pass_everything()
    await connected.pods()


async def test_a_page_of_a_proxy_is_no_cluster(connected: Connected) -> None:
    async def welcome(_: Exchange) -> web.Response:
        return web.Response(text="Welcome!")

    connected.proxy.before = welcome
    for call in (connected.cluster.uid, connected.cluster.check):
        with pytest.raises(Transient, match="is no API server"):
            await call()


async def test_a_probe_without_the_uid_is_not_complete(connected: Connected) -> None:
    async def refuse(exchange: Exchange) -> web.Response | None:
        return web.Response(status=403) if exchange.path.endswith("/kube-system") else None

    connected.proxy.before = refuse  # although the API server says that berth has the right
    found = await probe(connected.client, PLANS, GATEWAY, LOCAL.domain, TENANT_SETTINGS.owner)
    assert found.uid == ""
    assert found.missing == ("berth may not get the namespace kube-system, by which it recognises a cluster",)


@pytest.mark.parametrize("domains", ["azmk8s.io", "localhost.example.com"])
async def test_no_token_is_requested_for_other_servers(account: ServiceAccount, domains: str) -> None:
    server = account.plane.server.replace("127.0.0.1", "localhost")
    access_by_token = AzureAccess(server, account.plane.authority.certificate.read_text())
    with pytest.raises(WrongRegistration, match="is not an API server of AKS"):
        await connect(access_by_token, KubernetesSettings(aks_domains=domains), account)
    assert not account.requested


async def test_a_watch_continues_with_a_new_token(connected: Connected) -> None:
    lists, watches = 0, 0

    async def count(exchange: Exchange) -> None:
        nonlocal lists, watches
        watches += "watch=" in exchange.path
        lists += exchange.path.endswith("/pods")

    connected.proxy.before = count
    connected.account.seconds = RENEW_AHEAD_SECONDS + 3  # so that the second watch requests another one
    value = fresh_tenant()
    waiting = asyncio.create_task(
        connected.cluster.wait_until_ready(namespace_name(value.instance), PRODUCT, timeout=30)
    )

    async def watched(times: int) -> bool:
        return watches == times

    await until(lambda: watched(1))
    connected.account.seconds, connected.account.invalid = GOOD_SECONDS, 1
    await until(lambda: _has_requested(connected.account, 3))  # the second is refused
    assert lists == 1
    await connected.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
    assert (await waiting).ready
    assert (lists, len(connected.account.requested)) == (1, 3)


async def test_all_clusters_of_a_pool_use_the_same_identity(account: ServiceAccount, tables: AzureTableStorage) -> None:
    clusters = clusters_on(tables)
    server = account.plane.server.replace("127.0.0.1", "localhost")
    access_by_token = AzureAccess(server, account.plane.authority.certificate.read_text())
    uid = await kubectl(account.plane, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    names = [ClusterName("c" + token_hex(4)) for _ in range(2)]
    for name in names:
        await register(clusters, new_cluster(name, access=access_by_token, uid=uid))
    pool = ClusterConnectionPool(
        clusters,
        KubernetesSettings(aks_domains="localhost"),
        SystemClock(),
        owner=TENANT_SETTINGS.owner,
        plans=PLANS,
        identity=account,
    )
    for name in names:
        await (await pool.connect(name)).check()
    await pool.close()
    assert account.requested == [(AKS_SCOPE,)] * 2


async def _has_requested(account: ServiceAccount, times: int = 1) -> bool:
    return len(account.requested) >= times
