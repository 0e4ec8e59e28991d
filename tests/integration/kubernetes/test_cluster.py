"""What only a real API server shows of apply, wait and remove; the contract tests have the rest."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from shared.adapters.kubernetes import client
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.kubernetes.inventory import ALL_ROUTES, NAMESPACES, WORKLOADS
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.instances import namespace_name, new_instance_id
from shared.domain.tenants import Tenant
from shared.errors import NotFound, Permanent
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import RESTRICTED, RESTRICTED_POD, KubectlByHand
from tests.support.fresh_tenants import fresh_tenant

ENFORCED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


def is_berths(line: dict[str, Any], verb: str) -> bool:
    """Whether a line of the audit log is a request of berth with that verb."""
    return (line["user"]["username"], line["verb"]) == (BERTH, verb)


async def apply(cluster: KubernetesApiCluster, value: Tenant) -> str:
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
    return namespace_name(value.instance)


async def test_a_removed_tenant_leaves_no_volume(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    async def claimed() -> set[str]:
        volumes = json.loads(await kubectl(control_plane, "get", "pv", "-o", "json"))["items"]
        return {each["spec"]["claimRef"]["namespace"] for each in volumes if each["status"]["phase"] == "Bound"}

    namespace = await apply(cluster, fresh_tenant())
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    assert namespace in await claimed()
    before = len(control_plane.audit_log.read_text().splitlines())
    await cluster.remove(namespace, timeout=20)
    assert namespace not in await claimed()
    lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()[before:]]
    uris = [each["requestURI"] for each in lines if is_berths(each, "deletecollection")]
    assert len(uris) == 3
    ours = namespace.removeprefix("tenant-")
    assert [uri for uri in uris if f"?labelSelector=berth.dev/instance%3D{ours}" not in uri] == []


async def test_fields_of_another_field_manager_are_kept(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value = fresh_tenant()
    namespace = await apply(cluster, value)
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tenant", "namespace": namespace},
        "data": {"EXTRA": "theirs", "TENANT": "stolen"},
    }
    command = ["apply", "--server-side", "--force-conflicts", "--field-manager=someone", "-f", "-"]
    await kubectl(control_plane, *command, stdin=json.dumps(theirs))
    for labelled in (("namespace", namespace), ("secret", "tenant", "-n", namespace)):
        await kubectl(control_plane, "label", *labelled, "example.com/team=a")
    await apply(cluster, value)
    data = json.loads(await kubectl(control_plane, "get", "cm", "tenant", "-n", namespace, "-o", "json"))["data"]
    assert (data["EXTRA"], data["TENANT"]) == ("theirs", value.slug)
    kept = await kubectl(control_plane, "get", "namespace,secret", "-A", "-l", "example.com/team", "-o", "name")
    assert kept.split() == [f"namespace/{namespace}", "secret/tenant"]
    await cluster.remove(namespace, timeout=20)


async def test_fifty_waiters_share_one_watch(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    before = len(control_plane.audit_log.read_text().splitlines())
    waits = [cluster.wait_until_ready(f"tenant-nobody{number}", PRODUCT, timeout=1.5) for number in range(50)]
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(each, NotFound) for each in ended)
    lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()[before:]]
    ours = [each for each in lines if each["user"]["username"] == BERTH]
    assert sum(each["verb"] == "watch" for each in ours) <= 6  # four a second at most
    assert not [each for each in ours if each["requestURI"].startswith("/api/v1/pods") and each["verb"] == "list"]


async def test_a_rejected_object_fails_at_once(cluster: KubernetesApiCluster) -> None:
    labels = {OWNER: TENANT_SETTINGS.owner, INSTANCE: "bad", **ENFORCED, "a": "b c"}
    bad = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-bad", "labels": labels}}
    with pytest.raises(Permanent, match="422"):
        await cluster.apply([bad])


async def test_a_node_that_is_being_added_is_told(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    namespace = namespace_name(new_instance_id())
    labels = {
        "app.kubernetes.io/managed-by": "berth",
        OWNER: TENANT_SETTINGS.owner,
        INSTANCE: namespace.removeprefix("tenant-"),
    }
    home = {"name": namespace, "labels": labels | ENFORCED}
    resources = {"requests": {"cpu": "999999"}}
    huge = {"name": "product", "image": "product:1", "resources": resources, "securityContext": RESTRICTED}
    pod = {"containers": [huge], "securityContext": RESTRICTED_POD}
    spec = {
        "serviceName": "product",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    named = {"name": "product", "namespace": namespace}
    await cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": home},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {**named, "labels": labels}, "spec": spec},
        ]
    )
    status = await cluster.wait_until_ready(namespace, PRODUCT, timeout=3)
    assert (status.reason, status.adding_node) == ("Unschedulable", False)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "product-0.scale-up", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "name": "product-0", "namespace": namespace},
        "reason": "TriggeredScaleUp",
        "message": "pod triggered scale-up: [{aks-user-1234 3->4 (max: 10)}]",
        "type": "Normal",
    }
    await kubectl(control_plane, "create", "-f", "-", stdin=json.dumps(event))
    status = await cluster.wait_until_ready(namespace, PRODUCT, timeout=3)
    assert (status.ready, status.permanent, status.adding_node) == (False, False, True)
    assert "adding a node for it: pod triggered scale-up: [{aks-user-1234 3->4" in status.message
    await cluster.remove(namespace, timeout=30)


async def test_what_there_is_is_read_in_pages(
    cluster: KubernetesApiCluster, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    templates = YamlTenantTemplates(TENANT_SETTINGS, PLANS)
    values = [fresh_tenant("never-ready-1") for _ in range(5)]
    await asyncio.gather(*(apply(cluster, value) for value in values))
    await asyncio.gather(*(cluster.open_route(templates.route(value, LOCAL), timeout=1) for value in values))
    before = len(control_plane.audit_log.read_text().splitlines())
    instances = {value.instance for value in values}
    assert instances <= {each.instance for each in await cluster.tenant_namespaces()}
    assert instances <= {each.instance for each in await cluster.tenant_workloads()}
    assert instances <= await cluster.tenant_routes()
    lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()[before:]]
    uris = [each["requestURI"] for each in lines if is_berths(each, "list")]
    for path in (NAMESPACES, WORKLOADS, ALL_ROUTES):
        assert len([uri for uri in uris if uri.startswith(f"{path}?")]) >= 3
    await asyncio.gather(*(cluster.remove(namespace_name(value.instance), timeout=30) for value in values))


async def test_a_namespace_that_is_being_removed_is_marked(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value, by_hand = fresh_tenant(), KubectlByHand(control_plane)
    namespace = await apply(cluster, value)
    await by_hand.hold(namespace)
    await by_hand.delete(namespace)
    [found] = [each for each in await cluster.tenant_namespaces() if each.instance == value.instance]
    assert found.is_being_removed
    await by_hand.release(namespace)
    await cluster.remove(namespace, timeout=30)


async def test_a_volume_that_is_left_is_found(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    instance = fresh_tenant().instance
    claim = {"namespace": namespace_name(instance), "name": "data", "uid": str(uuid4())}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": "/nowhere"},
        "claimRef": claim,
    }
    name = f"left-{instance}"
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    await kubectl(control_plane, "create", "-f", "-", stdin=json.dumps(volume))
    async with asyncio.timeout(30):
        while not (found := [each for each in await cluster.left_volumes() if each.instance == instance]):
            await asyncio.sleep(0.2)
    assert [(each.name, each.phase) for each in found] == [(name, "Released")]
    await kubectl(control_plane, "delete", "pv", name, "--wait=false")


async def test_ownership_costs_a_new_tenant_no_request(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value = fresh_tenant("never-ready-1")

    async def verbs() -> list[str]:
        before = len(control_plane.audit_log.read_text().splitlines())
        await apply(cluster, value)
        lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()[before:]]
        ours = [each for each in lines if each["user"]["username"] == BERTH]
        return sorted(each["verb"] for each in ours if each["verb"] not in ("list", "watch"))

    assert await verbs() == ["patch"] * 11
    assert await verbs() == ["get", *["patch"] * 22]  # again, as after a lost response: each is looked at first
    await cluster.remove(namespace_name(value.instance), timeout=30)
