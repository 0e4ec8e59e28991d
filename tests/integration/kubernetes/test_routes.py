"""Routes on a real API server: how many requests they cost, in which order they go, and what a gateway lacks."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from local.gateway.process import CLASS
from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.kubernetes.objects import ROLE
from shared.adapters.kubernetes import client, routes
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.ownership import common_labels
from shared.adapters.kubernetes.routes import missing_for_routes
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.domain.tenants import Tenant
from shared.errors import Transient
from shared.settings import KubernetesSettings
from tests.support.builders import GATEWAY, LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import KubectlByHand
from tests.support.fresh_tenants import fresh_tenant

TEMPLATES = YamlTenantTemplates(TENANT_SETTINGS, PLANS)
LABELS = common_labels(TENANT_SETTINGS.owner)
NOT_SERVED = "/apis/gateway.networking.k8s.io/v9/namespaces/{}/"


class Audit:
    """berth's own requests since the last look."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.look()

    def look(self) -> list[str]:
        lines = [json.loads(line) for line in self._plane.audit_log.read_text().splitlines()]
        ours = [each for each in lines if each["user"]["username"] == BERTH]
        found = [f"{each['verb']} {each['objectRef']['resource']}" for each in ours if "objectRef" in each]
        new, self._seen = found[getattr(self, "_seen", 0) :], len(found)
        return new


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """berth's connections to the API server."""
    path = control_plane.directory / "routes.kubeconfig"
    path.write_text(json.dumps(control_plane.context(BERTH)))
    connected = await connect(KubeconfigAccess("local"), KubernetesSettings(kubeconfig=str(path)))
    yield connected
    await connected.close()


async def ready(cluster: KubernetesApiCluster) -> Tenant:
    value = fresh_tenant()
    await cluster.apply(TEMPLATES.render(value, LOCAL))
    assert (await cluster.wait_until_ready(namespace_name(value.instance), PRODUCT, timeout=20)).ready
    return value


async def test_a_route_costs_one_apply_and_a_look_or_two(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value = await ready(cluster)
    audit = Audit(control_plane)
    assert (await cluster.open_route(TEMPLATES.route(value, LOCAL), timeout=10)).serving
    first, *looks = audit.look()
    assert first == "patch httproutes"
    assert 1 <= len(looks) <= 4
    assert set(looks) == {"get httproutes"}
    page = await control_plane.gateway.fetch(f"https://{LOCAL.host(value.slug)}/")
    assert (page.status_code, namespace_name(value.instance) in page.text) == (200, True)
    assert (await cluster.open_route(TEMPLATES.route(value, LOCAL), timeout=10)).serving
    assert audit.look() == [*["patch httproutes"] * 3, "get httproutes"]  # it is looked at first


async def test_a_removal_takes_the_route_first(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = await ready(cluster)
    await cluster.open_route(TEMPLATES.route(value, LOCAL), timeout=10)
    audit = Audit(control_plane)
    await cluster.remove(namespace_name(value.instance), timeout=30)
    deletions = [each for each in audit.look() if each.startswith("delete")]
    assert deletions[0] == "delete namespaces"  # which only asks whether it is allowed
    assert deletions[1:3] == ["delete httproutes", "deletecollection statefulsets"]
    assert (await control_plane.gateway.fetch(f"https://{LOCAL.host(value.slug)}/")).status_code == 404


async def test_a_refusal_of_the_gateway_is_told(cluster: KubernetesApiCluster) -> None:
    value = await ready(cluster)
    elsewhere = TEMPLATES.route(value, replace(LOCAL, domain="example.com"))
    status = await cluster.open_route(elsewhere, timeout=1)
    assert (status.serving, status.refused, status.reason) == (False, True, "NoMatchingListenerHostname")


async def test_a_gateway_is_checked(api: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def missing(domain: str = LOCAL.domain, **changed: Any) -> list[str]:
        return list(await missing_for_routes(api, replace(GATEWAY, **changed), domain, LABELS))

    assert await missing() == []
    assert await missing(listener="https") == []
    assert await missing(name="nobody") == ["there is no gateway gateway/nobody"]
    [text] = await missing("example.com")
    assert text.endswith("which does not cover *.example.com")
    monkeypatch.setattr(routes, "GATEWAYS", f"{NOT_SERVED}gateways")
    assert await missing() == ["the cluster does not serve the Gateway API (gateway.networking.k8s.io/v1)"]


async def test_the_shipped_gateway_can_take_routes(api: KubernetesClient, control_plane: ControlPlane) -> None:
    shipped = (ROLE.parent / "gateway.yaml").read_text().replace("DOMAIN", "aks.example.com")
    local = shipped.replace("name: tenants", "name: shipped").replace("approuting-istio", CLASS)
    await kubectl(control_plane, "apply", "-f", "-", stdin=local)
    where = ("gateway/shipped", "-n", "gateway")
    await kubectl(control_plane, "wait", "--for=condition=Programmed", *where, "--timeout=20s")
    assert await missing_for_routes(api, replace(GATEWAY, name="shipped"), "aks.example.com", LABELS) == []
    await kubectl(control_plane, "delete", *where)


async def test_a_removal_needs_no_gateway_api(
    cluster: KubernetesApiCluster, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = fresh_tenant("never-ready-1")
    namespace = namespace_name(value.instance)
    await cluster.apply(TEMPLATES.render(value, LOCAL))
    monkeypatch.setattr(client, "RESPONSE_TIMEOUT", 0.3)
    monkeypatch.setattr(routes, "ROUTES", f"{NOT_SERVED}httproutes")
    with pytest.raises(Transient):
        await cluster.close_route(namespace)
    await cluster.remove(namespace, timeout=30)
    assert not await KubectlByHand(control_plane).exists(namespace)
