"""Why a tenant does not start or does not go, as a real control plane reports it elsewhere than on the pod."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.processes import StackError
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.instances import namespace_name
from shared.domain.pod_status import PodStatus
from shared.domain.tenants import Tenant
from shared.errors import Permanent, Transient
from tests.support.builders import PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import KubectlByHand
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until

SECONDS = 10.0  # within which the cause is told


async def told(cluster: KubernetesApiCluster, value: Tenant, text: str) -> PodStatus:
    """Return the first status whose message has a text."""
    async with asyncio.timeout(SECONDS):
        while True:
            status = await cluster.wait_until_ready(namespace_name(value.instance), PRODUCT, timeout=2)
            if text in status.message:
                return status


async def test_a_storage_class_that_does_not_exist_is_named(cluster: KubernetesApiCluster) -> None:
    value, plans = fresh_tenant(), {"trial": replace(PLANS["trial"], storage_class="nowhere")}
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, plans).render(value))
    status = await told(cluster, value, 'storageclass.storage.k8s.io "nowhere" not found')
    assert not status.ready
    await cluster.remove(namespace_name(value.instance), timeout=30)


async def test_what_forbids_the_pod_is_named(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value)
    await cluster.apply(objects[:1])
    await kubectl(control_plane, "create", "quota", "none", "-n", namespace, "--hard=pods=0")
    await cluster.apply(objects)
    status = await told(cluster, value, "exceeded quota: none")
    assert (status.ready, status.reason) == (False, "FailedCreate")
    await cluster.remove(namespace, timeout=30)


async def test_a_pod_that_does_not_stop_is_named(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value)[:1])
    await KubectlByHand(control_plane).create_pod(namespace, "1", nodeName="lost")  # which has no kubelet
    with pytest.raises(Transient, match="its pod other on lost has not stopped"):
        await cluster.remove(namespace, timeout=3)
    await kubectl(control_plane, "delete", "pod", "other", "-n", namespace, "--grace-period=0", "--force")
    await cluster.remove(namespace, timeout=30)


async def test_a_finalizer_that_holds_a_namespace_is_named(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value, by_hand = fresh_tenant("never-ready-1"), KubectlByHand(control_plane)
    namespace = namespace_name(value.instance)
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value))
    await by_hand.hold(namespace)
    with pytest.raises(Transient, match=r"example\.com/hold"):
        await cluster.remove(namespace, timeout=9)
    await by_hand.release(namespace)
    await cluster.remove(namespace, timeout=40)


async def test_a_removal_that_is_forbidden_destroys_nothing(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value))
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    policy = json.dumps({"apiVersion": "v1", "kind": "List", "items": keeping(namespace)})
    await kubectl(control_plane, "create", "-f", "-", stdin=policy)

    async def forbidden() -> bool:
        try:
            await kubectl(control_plane, "delete", "namespace", namespace, "--dry-run=server")
        except StackError as error:
            return "legal hold" in str(error)
        return False

    async def allowed() -> bool:
        return not await forbidden()

    await until(forbidden, seconds=SECONDS)  # the API server reads its policies from time to time
    with pytest.raises(Permanent, match="legal hold"):
        await cluster.remove(namespace, timeout=20)
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=1)).ready
    claim = await kubectl(control_plane, "get", "pvc", "data", "-n", namespace, "-o", "jsonpath={.status.phase}")
    assert claim == "Bound"
    await kubectl(control_plane, "delete", "-f", "-", stdin=policy)
    await until(allowed, seconds=SECONDS)
    await cluster.remove(namespace, timeout=30)


def keeping(namespace: str) -> list[dict[str, Any]]:
    """Return a policy that forbids the deletion of a namespace, and its binding."""
    api, name = "admissionregistration.k8s.io/v1", f"keep-{namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["namespaces"]}
    spec = {
        "matchConstraints": {"resourceRules": [{**rule, "resourceNames": [namespace]}]},
        "validations": [{"expression": "false", "message": "this namespace is under legal hold"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding},
    ]
