"""Apply, wait and remove on a real API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import KubeconfigAccess
from shared.domain.instances import namespace_name
from shared.domain.tenants import Tenant
from shared.errors import NotFound, Permanent, Transient
from shared.settings import KubernetesSettings
from tests.support.builders import TENANT_SETTINGS
from tests.support.fresh_tenants import fresh_tenant


@pytest.fixture(scope="module")
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesApiCluster]:
    kubeconfig = control_plane.directory / "tests.kubeconfig"
    kubeconfig.write_text(json.dumps(control_plane.context(BERTH)))
    settings = KubernetesSettings(watch_timeout=5, kubeconfig=str(kubeconfig))
    client = await connect(KubeconfigAccess("local"), settings)
    held = KubernetesApiCluster(client, settings, SystemClock())
    yield held
    await held.close()


async def apply(cluster: KubernetesApiCluster, value: Tenant) -> str:
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS).render(value))
    return namespace_name(value.instance)


async def test_an_applied_tenant_is_ready_and_a_removed_one_is_gone(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    namespace = await apply(cluster, fresh_tenant())
    status = await cluster.wait_until_ready(namespace, timeout=20)
    assert (status.ready, status.message) == (True, "ready")
    await cluster.remove(namespace, timeout=20)
    assert namespace not in await kubectl(control_plane, "get", "namespaces", "-o", "name")
    volumes = json.loads(await kubectl(control_plane, "get", "pv", "-o", "json"))["items"]
    claimed = [each["spec"]["claimRef"]["namespace"] for each in volumes if each["status"]["phase"] == "Bound"]
    assert namespace not in claimed
    await cluster.remove(namespace, timeout=1)  # again, without effect


async def test_applying_again_changes_nothing(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = await apply(cluster, value)
    assert (await cluster.wait_until_ready(namespace, timeout=20)).ready
    before = await versions(control_plane, namespace)
    assert len(before) == 11
    await apply(cluster, value)
    assert await versions(control_plane, namespace) == before
    await cluster.remove(namespace, timeout=20)


async def versions(plane: ControlPlane, namespace: str) -> dict[str, str]:
    kinds = "sa,quota,limits,netpol,secret,cm,pvc,sts,svc,ingress"
    listed: list[Any] = json.loads(await kubectl(plane, "get", kinds, "-n", namespace, "-o", "json"))["items"]
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for each in listed
        if "berth.dev/slug" in each["metadata"].get("labels", {})
    }


async def test_each_failed_start_has_its_reason(cluster: KubernetesApiCluster) -> None:
    async def has_status(version: str, reason: str, *, permanent: bool) -> None:
        namespace = await apply(cluster, fresh_tenant(version))
        status = await cluster.wait_until_ready(namespace, timeout=10 if permanent else 3)
        assert (status.ready, status.permanent, status.reason) == (False, permanent, reason)
        await cluster.remove(namespace, timeout=30)

    await asyncio.gather(
        has_status("missing-1", "ErrImagePull", permanent=True),
        has_status("crash-1", "CrashLoopBackOff", permanent=True),
        has_status("never-ready-1", "ContainersNotReady", permanent=False),
        has_status("slow-1", "ContainerCreating", permanent=False),
    )


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
    await apply(cluster, value)
    data = json.loads(await kubectl(control_plane, "get", "cm", "tenant", "-n", namespace, "-o", "json"))["data"]
    assert (data["EXTRA"], data["TENANT"]) == ("theirs", value.slug)
    await cluster.remove(namespace, timeout=20)


async def test_fifty_waiters_share_one_watch(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    before = len(control_plane.audit_log.read_text().splitlines())
    waits = [cluster.wait_until_ready(f"tenant-nobody{number}", timeout=1.5) for number in range(50)]
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(each, NotFound) for each in ended)
    lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()[before:]]
    ours = [each for each in lines if each["user"]["username"] == BERTH]
    assert sum(each["verb"] == "watch" for each in ours) <= 2
    assert sum(each["requestURI"].startswith("/api/v1/pods") and each["verb"] == "list" for each in ours) <= 1


async def test_waiting_ends_when_somebody_deletes_the_namespace(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    namespace = await apply(cluster, fresh_tenant("never-ready-1"))
    await kubectl(control_plane, "delete", "namespace", namespace, "--wait=false")

    async def wait_repeatedly() -> None:  # because the pod still exists for a while
        async with asyncio.timeout(40):
            while True:
                await cluster.wait_until_ready(namespace, timeout=1)

    with pytest.raises(NotFound, match=namespace):
        await wait_repeatedly()


async def test_a_rejected_object_fails_at_once(cluster: KubernetesApiCluster) -> None:
    with pytest.raises(Permanent, match="does not apply the kinds Gadget"):
        await cluster.apply([{"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "x"}}])
    bad = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-bad", "labels": {"a": "b c"}}}
    with pytest.raises(Permanent, match="422"):
        await cluster.apply([bad])


async def test_a_removal_that_times_out_has_a_message(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    namespace = await apply(cluster, fresh_tenant())
    hold = '{"metadata":{"finalizers":["example.com/hold"]}}'
    await kubectl(control_plane, "patch", "cm", "tenant", "-n", namespace, "-p", hold)
    with pytest.raises(Transient, match="still being removed"):
        await cluster.remove(namespace, timeout=3)
    await kubectl(control_plane, "patch", "cm", "tenant", "-n", namespace, "-p", '{"metadata":{"finalizers":null}}')
    await cluster.remove(namespace, timeout=30)
