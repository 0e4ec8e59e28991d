"""What a probe says of an API server on which something is missing."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from secrets import token_hex

import pytest
import yaml

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.kubernetes.objects import ROLE
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.probe import DNS_LABEL, NO_SHARE, NOT_CONFINED, probe
from shared.adapters.kubernetes.rights import needed_rights
from shared.adapters.kubernetes.routes import NO_WAITING_ROOM
from shared.domain.clusters import GatewayRef, KubeconfigAccess, Probe
from shared.errors import Unreachable
from shared.settings import KubernetesSettings
from shared.telemetry import metrics, spans
from tests.support.builders import GATEWAY, LOCAL, PLANS, TENANT_SETTINGS
from tests.support.polling import until
from tests.support.recorded_telemetry import recorded_telemetry

type ProbeAs = Callable[..., Awaitable[Probe]]
NO_DNS = (f"tenants cannot resolve names: no pod in the namespace kube-system has the label {DNS_LABEL}",)
NO_ROOM = (f"{NO_WAITING_ROOM}: apply infra/kubernetes/waiting-room",)


@pytest.fixture
async def probe_as(control_plane: ControlPlane) -> AsyncIterator[ProbeAs]:
    async with AsyncExitStack() as clients:

        async def probe_as(user: str, *, server: str = "", gateway: GatewayRef = GATEWAY, **changed: str) -> Probe:
            path = control_plane.directory / f"{user}.kubeconfig"
            path.write_text(json.dumps(control_plane.context(user, server=server)))
            client = await connect(KubeconfigAccess("local"), KubernetesSettings(kubeconfig=str(path)))
            clients.push_async_callback(client.close)
            plans = {"trial": replace(PLANS["trial"], **changed)}
            return await probe(client, plans, gateway, LOCAL.domain, TENANT_SETTINGS.owner)

        yield probe_as


async def test_berths_own_role_lacks_nothing(probe_as: ProbeAs) -> None:
    async def is_confined() -> bool:  # an API server that has just started has not read the policy yet
        return NOT_CONFINED not in (await probe_as(BERTH)).warnings

    await until(is_confined)
    found = await probe_as(BERTH, storage_class="simulated")
    assert (found.missing, found.warnings) == ((), (*NO_DNS, *NO_ROOM))
    assert found.gateway_problems == ()
    assert found.uid


async def test_an_identity_that_no_policy_confines_is_named(control_plane: ControlPlane, probe_as: ProbeAs) -> None:
    user = "unconfined-" + token_hex(3)  # as if the policy had another OBJECT-ID
    await kubectl(control_plane, "create", "clusterrolebinding", user, "--clusterrole", BERTH, "--user", user)
    try:
        found = await probe_as(user)
    finally:
        await kubectl(control_plane, "delete", "clusterrolebinding", user)
    assert (found.missing, found.warnings) == ((), (*NO_DNS, NOT_CONFINED, NO_SHARE, *NO_ROOM))
    configmaps = await kubectl(control_plane, "get", "configmaps", "-n", "kube-system", "-o", "name")
    assert "configmap/berth-probe" not in configmaps.split()


async def test_an_unbound_identity_has_no_right(probe_as: ProbeAs) -> None:
    found = await probe_as("nobody-" + token_hex(3))
    assert found == Probe(
        "", ("berth's identity has no right there: apply infra/kubernetes/cluster-role.yaml, and bind it to that",)
    )


async def test_each_missing_right_is_named(control_plane: ControlPlane, probe_as: ProbeAs) -> None:
    user = "older-" + token_hex(3)
    role = yaml.safe_load(ROLE.read_text())
    role["metadata"]["name"] = user
    role["rules"] = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "patch"]}
        for rule in role["rules"]
        if rule["apiGroups"] not in (["storage.k8s.io"], ["scheduling.k8s.io"])
    ]
    await kubectl(control_plane, "create", "-f", "-", stdin=json.dumps(role))
    await kubectl(control_plane, "create", "clusterrolebinding", user, "--clusterrole", user, "--user", user)
    try:
        found = await probe_as(user)
    finally:
        await kubectl(control_plane, "delete", "clusterrolebinding,clusterrole", user)
    assert found.uid
    named = {each.removeprefix("berth may not ").partition(":")[0] for each in found.missing}
    assert named == {"get, list storageclasses.storage.k8s.io", "get priorityclasses.scheduling.k8s.io"} | {
        f"patch {right.resource}.{right.group}".rstrip(".") for right in needed_rights() if right.verb == "patch"
    }


async def test_a_missing_storage_class_is_named(control_plane: ControlPlane, probe_as: ProbeAs) -> None:
    found = await probe_as(BERTH, storage_class="premium")
    assert found.missing == ("it has no storage class premium: create it, or change shared/plans.yaml",)
    mark = ("annotate", "storageclass", "simulated", "--overwrite", "storageclass.kubernetes.io/is-default-class=")
    await kubectl(control_plane, *mark[:-1], mark[-1] + "false")
    try:
        found = await probe_as(BERTH, storage_class="")
    finally:
        await kubectl(control_plane, *mark[:-1], mark[-1] + "true")
    assert found.missing == ("none of its storage classes is the default: mark one, or name one in shared/plans.yaml",)


async def test_a_missing_priority_class_is_named(probe_as: ProbeAs) -> None:
    found = await probe_as(BERTH, priority="gold")
    assert found.missing == ("it has no priority class gold: create it, or change shared/plans.yaml",)


async def test_a_gateway_that_cannot_serve_tenants_is_named(probe_as: ProbeAs) -> None:
    found = await probe_as(BERTH, gateway=replace(GATEWAY, name="nobody"))
    assert (found.missing, found.gateway_problems) == ((), ("there is no gateway gateway/nobody",))


async def test_a_dns_pod_is_enough(control_plane: ControlPlane, probe_as: ProbeAs) -> None:
    name = "dns-" + token_hex(3)
    run = ("run", name, "-n", "kube-system", f"--labels={DNS_LABEL}", "--image=dns:1")
    await kubectl(control_plane, *run)
    try:
        assert (await probe_as(BERTH)).warnings == NO_ROOM
    finally:
        await kubectl(control_plane, "delete", "pod", name, "-n", "kube-system", "--wait=false")


async def test_a_dead_server_is_unreachable(probe_as: ProbeAs) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        await probe_as(BERTH, server="https://127.0.0.1:9")


async def test_a_refusal_that_was_asked_for_is_no_fault(probe_as: ProbeAs, caplog: pytest.LogCaptureFixture) -> None:
    await test_berths_own_role_lacks_nothing(probe_as)
    caplog.clear()
    caplog.set_level(logging.DEBUG, "shared")
    with recorded_telemetry() as telemetry, spans.work("register"):
        await probe_as(BERTH)
        await probe_as("nobody-" + token_hex(3))
    assert [each.getMessage() for each in caplog.records if "refused" in each.getMessage()] == []
    assert {each.attributes.get("error") for each in telemetry.spans} >= {"Permanent", "Forbidden"}
    assert [each for each in telemetry.spans if each.error] == []
    assert telemetry.values(metrics.CALL_DURATION, outcome="failed") == []
