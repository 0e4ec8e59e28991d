"""Why a tenant does not start or does not go, as a real control plane reports it elsewhere than on the pod."""

import asyncio
import base64
import json
import ssl
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.processes import StackError
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.templates import YamlTenantTemplates
from shared.domain.instances import namespace_name
from shared.domain.pod_status import PodStatus
from shared.domain.tenants import Tenant
from shared.errors import Forbidden, Transient
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import KubectlByHand
from tests.support.fake_api_server import FakeApiServer
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
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, plans).render(value, LOCAL))
    status = await told(cluster, value, 'storageclass.storage.k8s.io "nowhere" not found')
    assert not status.ready
    await cluster.remove(namespace_name(value.instance), timeout=30)


async def test_what_forbids_the_pod_is_named(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL)
    await cluster.apply(objects[:1])
    await kubectl(control_plane, "create", "quota", "none", "-n", namespace, "--hard=pods=0")
    await cluster.apply(objects)
    status = await told(cluster, value, "exceeded quota: none")
    assert (status.ready, status.reason) == (False, "FailedCreate")
    await cluster.remove(namespace, timeout=30)


async def test_a_pod_that_does_not_stop_is_named(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL)[:1])
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
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
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
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
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
    async with asyncio.timeout(5):
        with pytest.raises(Forbidden, match="legal hold"):
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
        "validations": [
            {"expression": "false", "message": "this namespace is under legal hold", "reason": "Forbidden"}
        ],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding},
    ]


async def test_a_slow_webhook_is_awaited_and_a_silent_one_named(
    cluster: KubernetesApiCluster, control_plane: ControlPlane
) -> None:
    async def review(request: web.Request) -> web.Response:
        uid = (await request.json())["request"]["uid"]
        await asyncio.sleep({"/quick": 0, "/slow": 4, "/silent": 3600}[request.path])
        response = {"uid": uid, "allowed": True}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    slow, silent = fresh_tenant(), fresh_tenant()
    server, pair = FakeApiServer(review), control_plane.authority.server()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    namespaces = [namespace_name(each.instance) for each in (slow, silent)]
    webhooks = f"webhooks-{slow.instance}"

    async def are_called() -> bool:
        for namespace in namespaces:
            await kubectl(control_plane, "create", "sa", "probe", "--dry-run=server", "-n", namespace)
        return server.requests.count("POST /quick") >= len(namespaces)

    async def is_awaited() -> None:
        await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(slow, LOCAL))
        assert (await cluster.wait_until_ready(namespaces[0], PRODUCT, timeout=10)).ready

    async def is_named() -> None:
        async with asyncio.timeout(SECONDS):
            with pytest.raises(Transient, match=r"failed calling webhook .*deadline exceeded"):
                await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(silent, LOCAL))

    async with server.serving(tls):
        for value in (slow, silent):
            await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL)[:1])
        made = [
            webhook(server.url, "/quick", "serviceaccounts", namespaces, control_plane),
            webhook(server.url, "/slow", "configmaps", namespaces[:1], control_plane),
            webhook(server.url, "/silent", "configmaps", namespaces[1:], control_plane),
        ]
        api = "admissionregistration.k8s.io/v1"
        config = {"apiVersion": api, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": webhooks}}
        await kubectl(control_plane, "create", "-f", "-", stdin=json.dumps({**config, "webhooks": made}))
        try:
            await until(are_called, seconds=SECONDS)
            await asyncio.gather(is_awaited(), is_named())
        finally:
            await kubectl(control_plane, "delete", "validatingwebhookconfiguration", webhooks)
    await kubectl(control_plane, "delete", "namespace", *namespaces, "--wait=false")


def webhook(url: str, path: str, resource: str, namespaces: list[str], plane: ControlPlane) -> dict[str, Any]:
    """Return a webhook that is asked about one resource in some namespaces."""
    bundle = base64.b64encode(plane.authority.certificate.read_bytes()).decode()
    label = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    return {
        "name": f"{path[1:]}.example.com",
        "clientConfig": {"url": f"{url}{path}", "caBundle": bundle},
        "rules": [rule],
        "namespaceSelector": {"matchExpressions": [label]},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
    }
