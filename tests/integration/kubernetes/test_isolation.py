"""What a tenant must not be able to do, tested on a real API server in a tenant's namespace."""

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import pytest

from local.gateway.process import NAMESPACE
from local.kubernetes.control_plane import ControlPlane, kubectl
from local.processes import StackError
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.instances import namespace_name
from tests.support.builders import LOCAL, PLANS, TENANT_SETTINGS
from tests.support.fresh_tenants import fresh_tenant
from tests.support.network_policy import Peer, allows

type Json = dict[str, Any]


@pytest.fixture(scope="module")
async def home(control_plane: ControlPlane) -> AsyncIterator[tuple[str, Json]]:
    """A tenant's namespace, and a valid pod for it."""
    value = fresh_tenant()
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL)
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    await kubectl(control_plane, "apply", "--server-side", "-f", "-", stdin=stdin)
    [workload] = [each for each in objects if each["kind"] == "StatefulSet"]
    namespace = namespace_name(value.instance)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": deepcopy(workload["spec"]["template"]["spec"]),
    }
    yield namespace, pod
    await kubectl(control_plane, "delete", "namespace", namespace, "--wait=false")


async def dry_run(plane: ControlPlane, manifest: Json) -> str:
    return await kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))


async def test_the_pod_of_the_template_is_allowed(control_plane: ControlPlane, home: tuple[str, Json]) -> None:
    assert "created" in await dry_run(control_plane, home[1])


PODS: dict[str, tuple[Json, Json]] = {
    "privileged": ({}, {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}),
    "escalation": ({}, {"securityContext": {"allowPrivilegeEscalation": True}}),
    "capability": ({}, {"securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}),
    "root": ({"securityContext": {"runAsNonRoot": False, "runAsUser": 0}}, {}),
    "no seccomp": ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {}),
    "host network": ({"hostNetwork": True}, {}),
    "host processes": ({"hostPID": True}, {}),
    "host path": ({"volumes": [{"name": "data", "hostPath": {"path": "/"}}, {"name": "tmp", "emptyDir": {}}]}, {}),
    "host port": ({}, {"ports": [{"containerPort": 80, "hostPort": 80}]}),
    "beyond the disk quota": ({}, {"resources": {"limits": {"ephemeral-storage": "8Gi"}}}),
    "beyond the quota": ({}, {"resources": {"requests": {"cpu": "64"}, "limits": {"cpu": "64"}}}),
}


@pytest.mark.parametrize("case", PODS)
async def test_a_pod_with_more_rights_is_rejected(
    control_plane: ControlPlane, home: tuple[str, Json], case: str
) -> None:
    of_pod, of_container = PODS[case]
    pod = deepcopy(home[1])
    for spec, change in ((pod["spec"], of_pod), (pod["spec"]["containers"][0], of_container)):
        for name, value in change.items():
            both = isinstance(value, dict) and isinstance(spec.get(name), dict)
            spec[name] = {**spec[name], **value} if both else value
    with pytest.raises(StackError, match=r"violates PodSecurity|exceeded quota"):
        await dry_run(control_plane, pod)


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
async def test_a_service_with_an_external_port_is_rejected(
    control_plane: ControlPlane, home: tuple[str, Json], kind: str
) -> None:
    service: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "door", "namespace": home[0]},
        "spec": {"type": kind, "selector": {}, "ports": [{"port": 80}]},
    }
    with pytest.raises(StackError, match="exceeded quota"):
        await dry_run(control_plane, service)


async def test_the_tenants_service_account_has_no_rights(control_plane: ControlPlane, home: tuple[str, Json]) -> None:
    account = f"system:serviceaccount:{home[0]}:product"
    for namespace in (home[0], "kube-system", "default"):
        for request in ("get secrets", "list pods", "create pods", "get configmaps"):
            with pytest.raises(StackError):
                await kubectl(control_plane, "auth", "can-i", *request.split(), "--as", account, "-n", namespace)


async def test_the_pod_has_no_token(control_plane: ControlPlane, home: tuple[str, Json]) -> None:
    listed = json.loads(await kubectl(control_plane, "get", "pods", "-n", home[0], "-o", "json"))
    volumes = [volume for pod in listed["items"] for volume in pod["spec"]["volumes"]]
    assert volumes
    assert not [volume for volume in volumes if "projected" in volume or "secret" in volume]


DNS = ("169.254.20.10", "169.254.10.10", "169.254.10.11")  # NodeLocal DNSCache, AKS LocalDNS
SYSTEM = {"kubernetes.io/metadata.name": "kube-system"}
INGRESS = {"kubernetes.io/metadata.name": NAMESPACE}
OTHER = {"kubernetes.io/metadata.name": "tenant-other"}
PRODUCT_PORT = TENANT_SETTINGS.port
TRAFFIC: list[tuple[str, Peer, int, str, bool]] = [
    *(("Egress", Peer(address), 53, protocol, True) for address in DNS for protocol in ("UDP", "TCP")),
    *(("Egress", Peer(address), port, "TCP", False) for address in DNS for port in (80, 443, 10250)),
    *(
        ("Egress", Peer(pod={"k8s-app": app}, namespace=SYSTEM), 53, "UDP", True)
        for app in ("kube-dns", "node-local-dns")
    ),
    ("Egress", Peer(pod={"k8s-app": "kube-dns"}, namespace=SYSTEM), 9153, "TCP", False),
    ("Egress", Peer(pod={"k8s-app": "metrics-server"}, namespace=SYSTEM), 53, "TCP", False),
    ("Egress", Peer(pod={"k8s-app": "kube-dns"}, namespace=OTHER), 53, "UDP", False),
    *(
        ("Egress", Peer("168.63.129.16"), port, protocol, False)
        for port in (53, 80, 32526)
        for protocol in ("TCP", "UDP")
    ),
    *(("Egress", Peer(f"169.254.{rest}"), 80, "TCP", False) for rest in ("169.254", "10.10", "0.1")),
    *(("Egress", Peer(f"169.254.{rest}"), 53, "UDP", False) for rest in ("169.254", "10.12", "20.11")),
    *(
        ("Egress", Peer(address), 443, "TCP", False)
        for address in (
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "240.0.0.1",
        )
    ),
    *(("Egress", Peer(address), 443, "TCP", False) for address in ("2606:4700::1111", "fd00::1", "fe80::1")),
    *(
        ("Egress", Peer(address), 443, "TCP", True)
        for address in ("8.8.8.8", "172.32.0.1", "168.63.129.17", "100.128.0.1")
    ),
    ("Egress", Peer(pod={"berth.dev/slug": "other"}, namespace=OTHER), PRODUCT_PORT, "TCP", False),
    ("Ingress", Peer(pod={"app": "controller"}, namespace=INGRESS), PRODUCT_PORT, "TCP", True),
    ("Ingress", Peer(pod={"app": "controller"}, namespace=INGRESS), 22, "TCP", False),
    ("Ingress", Peer(pod={"berth.dev/slug": "other"}, namespace=OTHER), PRODUCT_PORT, "TCP", False),
    ("Ingress", Peer("8.8.8.8"), PRODUCT_PORT, "TCP", False),
]


async def test_only_the_named_traffic_is_allowed(control_plane: ControlPlane, home: tuple[str, Json]) -> None:
    listed = json.loads(await kubectl(control_plane, "get", "netpol", "-n", home[0], "-o", "json"))["items"]
    product = Peer(pod={"berth.dev/slug": "acme"}, namespace={"kubernetes.io/metadata.name": home[0]})
    wrong = [
        (direction, peer, port, protocol)
        for direction, peer, port, protocol, expected in TRAFFIC
        if allows(listed, direction, peer, port, protocol, home=product) is not expected
    ]
    assert not wrong
    [denied] = [each for each in listed if each["metadata"]["name"] == "default-deny"]
    assert not any(allows([denied], *each[:4], home=product) for each in TRAFFIC)  # should the other one be lost
