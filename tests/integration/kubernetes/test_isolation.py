"""What a tenant must not be able to do, tested on a real API server in a tenant's namespace."""

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import pytest

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.processes import StackError
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.instances import namespace_name
from tests.support.builders import PLANS, TENANT_SETTINGS
from tests.support.fresh_tenants import fresh_tenant

type Json = dict[str, Any]


@pytest.fixture(scope="module")
async def home(control_plane: ControlPlane) -> AsyncIterator[tuple[str, Json]]:
    """A tenant's namespace, and a valid pod for it."""
    value = fresh_tenant()
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value)
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


async def test_all_other_traffic_is_denied(control_plane: ControlPlane, home: tuple[str, Json]) -> None:
    listed = json.loads(await kubectl(control_plane, "get", "netpol", "-n", home[0], "-o", "json"))
    policies = {each["metadata"]["name"]: each["spec"] for each in listed["items"]}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    allowed = policies["allowances"]
    assert len(allowed["ingress"]) == 1
    [internet] = [to["ipBlock"] for rule in allowed["egress"] for to in rule["to"] if "ipBlock" in to]
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(internet["except"])
