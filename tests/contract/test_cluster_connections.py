"""The connections to clusters: what a probe finds, and that a registered cluster is recognised."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from azure.identity.aio import DefaultAzureCredential

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.connections import ClusterConnectionPool
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.templates import YamlTenantTemplates
from shared.application.ports.clusters import ClusterConnections
from shared.domain.clusters import AzureAccess, Cluster, ClusterName, KubeconfigAccess
from shared.domain.instances import new_instance_id
from shared.errors import NotFound, WrongRegistration
from shared.settings import KubernetesSettings
from tests.support.builders import GATEWAY, LOCAL, PLANS, TENANT_SETTINGS, new_cluster
from tests.support.clock import FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_connections import FakeConnections
from tests.support.faults import Faults
from tests.support.fresh_tenants import fresh_tenant
from tests.support.memory_tables import MemoryTables
from tests.support.repositories import clusters_on, register

ACCESS = KubeconfigAccess("local")


@dataclass
class Connected:
    """One worker's connections, with the cluster `local` under a new name in the registrations."""

    connections: ClusterConnections
    clusters: TableClusterRepository
    uid: str
    cluster: Cluster = field(default_factory=lambda: new_cluster("c" + new_instance_id(), access=ACCESS))


@pytest.fixture
async def pooled(control_plane: ControlPlane) -> AsyncIterator[Connected]:
    """The connections of a worker to a real API server."""
    kubeconfig = control_plane.directory / "connections.kubeconfig"
    await asyncio.to_thread(kubeconfig.write_text, json.dumps(control_plane.context(BERTH)))
    clusters, identity = clusters_on(MemoryTables()), DefaultAzureCredential()
    pool = ClusterConnectionPool(
        clusters,
        KubernetesSettings(kubeconfig=str(kubeconfig)),
        SystemClock(),
        owner=TENANT_SETTINGS.owner,
        plans=PLANS,
        identity=identity,
    )
    uid = await kubectl(control_plane, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    yield Connected(pool, clusters, uid)
    await pool.close()
    await identity.close()


@pytest.fixture(params=["memory", "api-server"])
def connected(request: pytest.FixtureRequest) -> Connected:
    """A worker's connections to the fake, and to a real API server."""
    if request.param == "api-server":
        return request.getfixturevalue("pooled")
    clusters, fake = clusters_on(MemoryTables()), FakeCluster(FakeClock())
    return Connected(FakeConnections(clusters, {ClusterName("local"): fake}, Faults()), clusters, fake.identity)


async def test_a_probe_finds_a_cluster_that_lacks_nothing(connected: Connected) -> None:
    probe = await connected.connections.probe(ACCESS, GATEWAY, LOCAL.domain)
    assert (probe.uid, probe.missing, probe.gateway_problems) == (connected.uid, (), ())


async def test_a_probe_looks_for_the_gateway(connected: Connected) -> None:
    probe = await connected.connections.probe(ACCESS, replace(GATEWAY, name="nobody"), LOCAL.domain)
    assert (probe.uid, probe.missing) == (connected.uid, ())
    assert probe.gateway_problems == ("there is no gateway gateway/nobody",)


@pytest.mark.parametrize(
    "access", [KubeconfigAccess("nowhere"), AzureAccess("https://nowhere.example.com", "")], ids=["context", "server"]
)
async def test_a_wrong_address_is_no_cluster(connected: Connected, access: KubeconfigAccess | AzureAccess) -> None:
    with pytest.raises(WrongRegistration):
        await connected.connections.probe(access, GATEWAY, LOCAL.domain)
    await register(connected.clusters, replace(connected.cluster, access=access))
    cluster = await connected.connections.connect(connected.cluster.name)
    with pytest.raises(WrongRegistration, match=f"the registration of cluster {connected.cluster.name} is wrong"):
        await cluster.check()


async def test_an_unregistered_cluster_is_not_found(connected: Connected) -> None:
    with pytest.raises(NotFound, match=f"no cluster {connected.cluster.name} is registered"):
        await connected.connections.connect(connected.cluster.name)


async def test_a_registered_cluster_is_recognised(connected: Connected) -> None:
    await register(connected.clusters, replace(connected.cluster, uid=connected.uid))
    cluster = await connected.connections.connect(connected.cluster.name)
    assert await connected.connections.connect(connected.cluster.name) is cluster
    assert await cluster.uid() == await cluster.check() == connected.uid
    assert await cluster.left_volumes() == []


async def test_nothing_is_applied_to_another_cluster(connected: Connected) -> None:
    await register(connected.clusters, replace(connected.cluster, uid="another"))
    tenant = fresh_tenant()
    cluster = await connected.connections.connect(connected.cluster.name)
    with pytest.raises(WrongRegistration, match=f"the uid {connected.uid}, not another"):
        await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(tenant, new_cluster()))
    await register(connected.clusters, replace(connected.cluster, uid=connected.uid))
    namespaces = await (await connected.connections.connect(connected.cluster.name)).tenant_namespaces()
    assert tenant.instance not in {each.instance for each in namespaces}
