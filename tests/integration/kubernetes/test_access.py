"""Bearer tokens on a real API server, which itself issues them here: that is where Microsoft Entra would stand."""

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
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.ports import Ports
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes import access
from shared.adapters.kubernetes.access import AKS_SCOPE, RENEW_AHEAD_SECONDS, connect
from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.connections import ClusterConnectionPool
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import AzureAccess, Cluster, ClusterName, ClusterState
from shared.domain.slugs import namespace_name
from shared.errors import Permanent, Transient
from shared.settings import KubernetesSettings
from tests.integration.kubernetes.test_cluster import new_tenant
from tests.support.builders import TENANT_SETTINGS
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.polling import until

PODS = "/api/v1/pods"
GOOD_SECONDS = 600.0


@dataclass
class ServiceAccount:
    """A credential as azure-identity has them, for a service account that may do what berth may."""

    plane: ControlPlane
    name: str = field(default_factory=lambda: "berth-" + token_hex(4))
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    given: list[str] = field(default_factory=list[str])
    seconds: float = GOOD_SECONDS  # for which a token is said to be valid
    broken: int = 0  # tokens from now on that are worth nothing
    error: AzureError | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked.append(scopes)
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        token = await self.issue()
        if self.broken:
            self.broken -= 1
            token += "broken"
        self.given.append(token)
        return AccessToken(token, int(time.time() + self.seconds))

    async def issue(self) -> str:
        return (await kubectl(self.plane, "create", "token", self.name, "--duration=10m")).strip()

    async def make_anew(self) -> None:
        """Put another account of that name in its place, for which no earlier token is valid."""
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
class Entered:
    """A cluster as that account reaches it, through a proxy that counts the requests."""

    account: ServiceAccount
    proxy: FaultProxy
    client: KubernetesClient
    cluster: KubernetesApiCluster

    async def pods(self, times: int = 1) -> None:
        """List the pods so many times at once."""
        await asyncio.gather(*(self.client.request("GET", PODS, retry=False) for _ in range(times)))

    async def refused(self) -> bool:
        """Whether the API server refuses the token that was given last; it remembers good ones for ten seconds."""
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
    held.answers.set()
    await held.make_anew()
    binding = ["clusterrolebinding", held.name]
    subject = f"--serviceaccount=default:{held.name}"
    await kubectl(control_plane, "create", *binding, "--clusterrole=berth", subject)
    yield held
    await kubectl(control_plane, "delete", *binding)
    await kubectl(control_plane, "delete", "serviceaccount", held.name)


@pytest.fixture
async def entered(control_plane: ControlPlane, ports: Ports, account: ServiceAccount) -> AsyncIterator[Entered]:
    server = control_plane.authority.server()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(control_plane.authority.certificate))
    proxy = FaultProxy(control_plane.server, tls=serving, upstream_tls=calling)
    way_in = AzureAccess(await proxy.start(ports.take()), control_plane.authority.certificate.read_text())
    settings = KubernetesSettings(watch_timeout=5, total_timeout=1, attempt_timeout=30)
    client = await connect(way_in, settings, account)
    held = Entered(account, proxy, client, KubernetesApiCluster(client, settings, SystemClock()))
    yield held
    await held.cluster.close()
    await proxy.close()


async def test_a_tenant_is_made_and_removed_with_tokens_for_the_aks_server_application(
    entered: Entered, control_plane: ControlPlane
) -> None:
    value = new_tenant()
    namespace = namespace_name(value.slug)
    await entered.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
    assert (await entered.cluster.wait_until_ready(namespace, timeout=20)).ready
    await entered.cluster.remove(namespace, timeout=30)
    assert entered.account.asked == [("6dae42f8-4368-4678-94ff-3960e28e3630/.default",)] == [(AKS_SCOPE,)]
    lines = control_plane.audit_log.read_text().splitlines()
    assert any(f"system:serviceaccount:default:{entered.account.name}" in each for each in lines)
    with pytest.raises(Permanent, match="403"):
        await entered.client.request("GET", "/api/v1/secrets")


async def test_a_token_is_renewed_once_ahead_of_its_end_and_not_before(entered: Entered) -> None:
    entered.account.seconds = RENEW_AHEAD_SECONDS + 60
    await entered.pods(50)
    for _ in range(10):
        await entered.pods()
    assert len(entered.account.asked) == 1


async def test_a_token_near_its_end_is_renewed_by_one_of_many(entered: Entered) -> None:
    entered.account.seconds = RENEW_AHEAD_SECONDS - 1
    await entered.pods()
    entered.account.seconds = GOOD_SECONDS
    await entered.pods(50)
    await entered.pods()
    assert len(entered.account.asked) == 2
    assert entered.proxy.requests == 52  # none was refused


async def test_a_revoked_token_is_renewed_once_for_all_whom_it_failed(entered: Entered) -> None:
    await entered.pods()
    await entered.account.make_anew()
    await until(entered.refused)
    await entered.pods(50)
    assert len(entered.account.asked) == 2
    assert entered.proxy.requests <= 1 + 50 + 50


async def test_a_broken_token_costs_one_more_request(entered: Entered) -> None:
    entered.account.broken = 1
    await entered.pods()
    assert (len(entered.account.asked), entered.proxy.requests) == (2, 2)


async def test_bad_tokens_end_after_two_requests_and_are_told_to_nobody(
    entered: Entered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    entered.account.broken = 1_000
    with pytest.raises(Permanent, match="401: Unauthorized") as raised:
        await entered.client.request("GET", PODS)
    assert (len(entered.account.asked), entered.proxy.requests) == (2, 2)
    ends = await asyncio.gather(*(entered.client.request("GET", PODS) for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in ends} == {Permanent}
    assert entered.proxy.requests == 2 + 2 * 50
    with pytest.raises(Transient, match="cannot be watched: the API server answered 401") as unwatched:
        await entered.cluster.wait_until_ready("tenant-nobody", timeout=1)
    errors = traceback.format_exception(raised.value) + traceback.format_exception(unwatched.value)
    told = caplog.text + "".join(errors)
    assert "watch /api/v1/pods: the API server answered 401" in told
    assert not [each for each in entered.account.given if each in told]


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError, ServiceRequestError])
async def test_no_token_is_transient_and_asked_for_once_by_all(entered: Entered, kind: type[AzureError]) -> None:
    entered.account.error = kind(message="eyJ-what-entra-said")
    entered.account.answers.clear()
    asking = asyncio.gather(
        *(entered.client.request("GET", PODS, retry=False) for _ in range(40)), return_exceptions=True
    )
    await until(lambda: _asked(entered.account))
    entered.account.answers.set()
    errors = await asking
    assert {(type(each), str(each)) for each in errors} == {(Transient, f"no token for the cluster: {kind.__name__}")}
    assert (len(entered.account.asked), entered.proxy.requests) == (1, 0)
    entered.account.error = None
    await entered.pods()


async def test_a_passing_error_is_passed_over(entered: Entered) -> None:
    entered.account.error = ServiceRequestError(message="no route")

    async def mend() -> None:
        await until(lambda: _asked(entered.account, 2))
        entered.account.error = None

    await asyncio.gather(mend(), entered.client.request("GET", PODS))


async def test_nobody_waits_long_for_a_token_and_its_coming_late_helps_the_next(
    entered: Entered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "RENEWAL_TIMEOUT", 0.2)
    entered.account.answers.clear()
    with pytest.raises(Transient, match="no token for the cluster: TimeoutError"):
        await entered.pods()
    monkeypatch.undo()
    entered.account.answers.set()
    await entered.pods()
    assert len(entered.account.asked) == 1


async def test_a_watch_goes_on_with_another_token_when_it_is_refused(entered: Entered) -> None:
    lists, watches = 0, 0

    async def count(exchange: Exchange) -> None:
        nonlocal lists, watches
        watches += "watch=" in exchange.path
        lists += "limit=" in exchange.path

    entered.proxy.before = count
    entered.account.seconds = RENEW_AHEAD_SECONDS + 3  # so that the watch after the first asks for another one
    value = new_tenant()
    waiting = asyncio.create_task(entered.cluster.wait_until_ready(namespace_name(value.slug), timeout=30))

    async def watched(times: int) -> bool:
        return watches == times

    await until(lambda: watched(1))
    entered.account.seconds, entered.account.broken = GOOD_SECONDS, 1
    await until(lambda: watched(3))
    assert (lists, len(entered.account.asked)) == (1, 3)
    await entered.cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
    assert (await waiting).ready
    assert (lists, len(entered.account.asked)) == (1, 3)


async def test_all_clusters_of_a_pool_ask_the_same_identity(account: ServiceAccount, tables: AzureTableStorage) -> None:
    records = TableClusterRepository(tables, SystemClock())
    way_in = AzureAccess(account.plane.server, account.plane.authority.certificate.read_text())
    names = [ClusterName("c" + token_hex(4)) for _ in range(2)]
    for name in names:
        await records.register(Cluster(name, "westeurope", 10, ClusterState.CORDONED, way_in))
    pool = ClusterConnectionPool(records, KubernetesSettings(), SystemClock(), account)
    for name in names:
        await (await pool.connect(name)).check()
    await pool.close()
    assert account.asked == [(AKS_SCOPE,)] * 2


async def _asked(account: ServiceAccount, times: int = 1) -> bool:
    return len(account.asked) >= times
