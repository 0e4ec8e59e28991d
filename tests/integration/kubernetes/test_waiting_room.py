"""The waiting room's objects, as an operator applies them, on a real API server."""

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from local.gateway.process import NAMESPACE
from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.kubernetes.objects import WAITING_ROOM_FILES
from local.waiting_room import OBJECTS, apply_waiting_room
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.apply import FORCED
from shared.adapters.kubernetes.client import APPLY, KubernetesClient
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.routes import NO_WAITING_ROOM, ROUTES, waiting_room_warnings
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import NAMESPACE_PREFIX
from shared.errors import Permanent
from shared.settings import KubernetesSettings
from tests.support.builders import GATEWAY, LOCAL
from tests.support.network_policy import Peer, allows
from tests.support.polling import until

GATEWAY_POD = Peer(namespace={"kubernetes.io/metadata.name": NAMESPACE})
DNS_POD = Peer(pod={"k8s-app": "kube-dns"}, namespace={"kubernetes.io/metadata.name": "kube-system"})
OTHER_POD = Peer(pod={"app": "x"}, namespace={"kubernetes.io/metadata.name": "tenant-x"})
INTERNET = Peer(address="203.0.113.7")


async def built(plane: ControlPlane, directory: Path = WAITING_ROOM_FILES) -> dict[str, Any]:
    """Return the objects by kind, and the two ConfigMaps by the beginning of their names."""
    objects: list[dict[str, Any]] = [*yaml.safe_load_all(await kubectl(plane, "kustomize", str(directory)))]
    named = {
        each["metadata"]["name"].partition("-")[0] if each["kind"] == "ConfigMap" else each["kind"]: each
        for each in objects
    }
    assert len(named) == len(objects)
    return named


@pytest.fixture(scope="module")
async def plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """A cluster on which the waiting room was applied twice, as after an upgrade."""
    for _ in range(2):
        await apply_waiting_room(control_plane, "127.0.0.1:9", port=9)
    yield control_plane
    # Its route would take the requests of other tests.
    await kubectl(control_plane, "delete", "namespace", OBJECTS)


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """berth's connections to the API server."""
    path = control_plane.directory / "waiting-room.kubeconfig"
    path.write_text(json.dumps(control_plane.context(BERTH)))
    connected = await connect(KubeconfigAccess("local"), KubernetesSettings(kubeconfig=str(path)))
    yield connected
    await connected.close()


async def test_every_object_fits_the_schema(control_plane: ControlPlane) -> None:
    objects = await built(control_plane)
    del objects["HTTPRoute"]  # which the API server of the other tests knows
    for each in objects.values():
        kubernetes_validate.validate(each, "1.37", strict=True)


async def test_what_an_operator_fills_in_reaches_all_places(control_plane: ControlPlane, tmp_path: Path) -> None:
    shutil.copytree(WAITING_ROOM_FILES, tmp_path, dirs_exist_ok=True)
    values = {
        "DOMAIN": "weu-1.example.com",
        "GATEWAY_NAMESPACE": "edge",
        "GATEWAY": "public",
        "LISTENER": "tenants-https",
        "GATEWAY_PODS_NAMESPACE": "edge-pods",
        "APP_HOST": "berth.azurewebsites.net",
    }
    names = [
        line.partition("=")[0]
        for line in (WAITING_ROOM_FILES / "parameters.env").read_text().splitlines()
        if line[0] != "#"
    ]
    assert names == list(values)
    (tmp_path / "parameters.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    objects = await built(control_plane, tmp_path)
    assert objects["HTTPRoute"]["spec"]["hostnames"] == ["*.weu-1.example.com"]
    [parent] = objects["HTTPRoute"]["spec"]["parentRefs"]
    assert parent == {"namespace": "edge", "name": "public", "sectionName": "tenants-https"}
    [rule] = objects["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge-pods"}}}]
    assert objects["parameters"]["data"] == values
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": objects["parameters"]["metadata"]["name"]}}]


async def test_a_changed_page_rolls_the_servers_out(control_plane: ControlPlane, tmp_path: Path) -> None:
    def pod(objects: dict[str, Any]) -> dict[str, Any]:
        return objects["Deployment"]["spec"]["template"]

    shutil.copytree(WAITING_ROOM_FILES, tmp_path, dirs_exist_ok=True)
    before = pod(await built(control_plane, tmp_path))
    for name in ("Caddyfile", "pages/waiting.html", "parameters.env"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n" if name == "Caddyfile" else "\nCHANGED=1\n")
        after = pod(await built(control_plane, tmp_path))
        assert after != before
        before = after


async def test_two_servers_start_under_pod_security_restricted(plane: ControlPlane) -> None:
    await kubectl(plane, "wait", "--for=condition=Available", "deployment", OBJECTS, "-n", OBJECTS, "--timeout=30s")
    pods = json.loads(await kubectl(plane, "get", "pods", "-n", OBJECTS, "-o", "json"))["items"]
    assert len(pods) == 2
    assert len({each["spec"]["nodeName"] for each in pods}) == 2
    namespace = json.loads(await kubectl(plane, "get", "namespace", OBJECTS, "-o", "json"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    budget = json.loads(await kubectl(plane, "get", "poddisruptionbudget", OBJECTS, "-n", OBJECTS, "-o", "json"))
    assert budget["spec"]["maxUnavailable"] == 1


async def test_berth_neither_takes_it_for_an_instance_nor_changes_it(
    plane: ControlPlane, cluster: KubernetesApiCluster, api: KubernetesClient
) -> None:
    labels = json.loads(await kubectl(plane, "get", "namespace", OBJECTS, "-o", "json"))["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "berth"
    assert not any(name.startswith("berth.dev/") for name in labels)  # by which reconciliation finds its own
    assert OBJECTS not in {f"{NAMESPACE_PREFIX}{each.instance}" for each in await cluster.tenant_namespaces()}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": OBJECTS}}

    async def is_refused() -> bool:  # an API server that has just started has not read the policy yet
        path = f"{ROUTES.format(OBJECTS)}/{OBJECTS}"
        try:
            await api.request("PATCH", path, route, media_type=APPLY, retry=False, query={**FORCED, "dryRun": "All"})
        except Permanent as error:
            return "is not one of an instance of the berth" in str(error)
        return False

    await until(is_refused)


async def test_only_the_gateway_comes_in_and_only_https_goes_out(control_plane: ControlPlane) -> None:
    objects = await built(control_plane)
    home = Peer(pod=objects["Deployment"]["spec"]["template"]["metadata"]["labels"])
    policies = [objects["NetworkPolicy"]]
    service = objects["Service"]["spec"]
    assert service["selector"].items() <= home.pod.items()
    ports = {each["name"]: each["containerPort"] for each in _container(objects)["ports"]}
    expected = [
        ("Ingress", GATEWAY_POD, ports[service["ports"][0]["targetPort"]], "TCP", True),
        ("Ingress", GATEWAY_POD, ports["health"], "TCP", False),
        ("Ingress", OTHER_POD, 8080, "TCP", False),
        ("Ingress", INTERNET, 8080, "TCP", False),
        ("Egress", DNS_POD, 53, "UDP", True),
        ("Egress", OTHER_POD, 53, "UDP", False),
        ("Egress", Peer(address="169.254.20.10"), 53, "UDP", True),
        ("Egress", INTERNET, 53, "UDP", False),
        ("Egress", INTERNET, 443, "TCP", True),
        ("Egress", Peer(address="169.254.169.254"), 80, "TCP", False),
        ("Egress", Peer(address="168.63.129.16"), 80, "TCP", False),
    ]
    for direction, peer, port, protocol, is_allowed in expected:
        assert allows(policies, direction, peer, port, protocol, home=home) is is_allowed, (direction, peer, port)


def _container(objects: dict[str, Any]) -> dict[str, Any]:
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


async def test_a_registration_warns_unless_its_route_is_served(plane: ControlPlane, api: KubernetesClient) -> None:
    async def is_served() -> bool:
        return not await waiting_room_warnings(api, GATEWAY, LOCAL.domain)

    await until(is_served)
    route = f"{NO_WAITING_ROOM}: the route waiting-room/waiting-room"
    assert await waiting_room_warnings(api, GATEWAY, "other.example.com") == [f"{route} is not for *.other.example.com"]
    other = replace(GATEWAY, name="other")
    assert await waiting_room_warnings(api, other, LOCAL.domain) == [
        f"{route} does not name the gateway {NAMESPACE}/other"
    ]
    allow = ("label", "namespace", OBJECTS, "--overwrite")
    await kubectl(plane, *allow, "app.kubernetes.io/managed-by=nobody")
    try:

        async def is_refused() -> bool:
            said = await waiting_room_warnings(api, GATEWAY, LOCAL.domain)
            return said == [f"{route} is refused by the gateway: NotAllowedByListeners"]

        await until(is_refused)
    finally:
        await kubectl(plane, *allow, "app.kubernetes.io/managed-by=berth")
    await kubectl(plane, "delete", "httproute", OBJECTS, "-n", OBJECTS)
    assert await waiting_room_warnings(api, GATEWAY, LOCAL.domain) == [
        f"{NO_WAITING_ROOM}: apply infra/kubernetes/waiting-room"
    ]
