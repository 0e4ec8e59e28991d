"""The hooks of azd against the embedded stack: what they apply to a real API server, and the app as it runs."""

from typing import Any, override

import pytest

from cli.api import Json, ProblemError
from cli.deploy.commands import CommandError
from cli.deploy.run import bring_into_service, prepare
from cli.deploy.smoke import smoke
from local.kubernetes.control_plane import kubectl
from local.kubernetes.objects import INFRA, PRIORITIES
from local.processes import StackError
from tests.support.deployed_stack import IDENTITY, Deployed
from tests.support.described_api import DescribedApi


def test_all_files_are_applied(deployed: Deployed) -> None:
    named = "\n".join(deployed.lines)
    for path in [*INFRA.glob("*.yaml"), INFRA / "waiting-room"]:
        assert path.name in named
    assert f"the gateway serves *.{deployed.cluster.domain}" in named


def test_the_second_run_changes_nothing(deployed: Deployed) -> None:
    first, second = deployed.versions
    assert {"ClusterRole/berth", "Gateway/tenants", "HTTPRoute/waiting-room", "FlowSchema/berth"} <= set(first)
    assert second == first


def test_the_seed_is_made_once_and_never_shown(deployed: Deployed) -> None:
    [seed] = deployed.commands.secrets.values()
    assert len(seed) == 64
    sent = [each for each in deployed.commands.lines if "set" in each]
    assert len(sent) == 1
    shown = "\n".join(deployed.lines) + str(deployed.commands.lines)
    assert seed not in shown
    assert deployed.stack.master_key not in shown


def test_a_certificate_that_nobody_trusts_is_made_and_named(deployed: Deployed) -> None:
    [policy] = deployed.commands.policies
    names = policy["x509CertificateProperties"]["subjectAlternativeNames"]["dnsNames"]
    assert names == [f"*.{deployed.cluster.domain}"]
    assert any("no browser trusts its certificate" in each for each in deployed.lines)


def test_nodes_may_pull_from_the_registry(deployed: Deployed) -> None:
    assert deployed.commands.pulls == [deployed.cluster.kubelet_principal_id]


@pytest.mark.parametrize("denied", ["get secrets", "create pods", "create clusterroles", "delete nodes"])
async def test_the_identity_has_no_right_beyond_the_role(deployed: Deployed, denied: str) -> None:
    with pytest.raises(StackError):  # can-i says no with its exit code; the registration needs all that the role has
        await kubectl(deployed.stack.control_plane, "auth", "can-i", *denied.split(), "-A", "--as", IDENTITY)


@pytest.mark.parametrize("namespace", ["kube-system", "gateway", "waiting-room", "default"])
async def test_the_identity_is_confined(deployed: Deployed, namespace: str) -> None:
    write = ("create", "configmap", "berths", "-n", namespace, "--dry-run=server", "--as", IDENTITY)
    with pytest.raises(StackError, match=f"the namespace {namespace} is not one of an instance of the berth"):
        await kubectl(deployed.stack.control_plane, *write)


async def test_what_somebody_else_has_set_is_not_overwritten(deployed: Deployed) -> None:
    plane = deployed.stack.control_plane
    theirs = PRIORITIES.read_text().replace("Tenants of berth on trial", "ours")
    by = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await kubectl(plane, *by, "--field-manager=somebody", stdin=theirs)
    try:
        with pytest.raises(CommandError, match=r'conflict with "somebody".*description'):
            await prepare(deployed.commands, deployed.azure, deployed.deployment, deployed.waiting)
    finally:
        await kubectl(plane, *by, stdin=PRIORITIES.read_text())


async def test_the_app_is_brought_into_service(deployed: Deployed) -> None:
    api, cluster = deployed.operators, deployed.cluster
    await deployed.register()
    await api.call("PATCH", f"clusters/{cluster.name}", {"max_instances": 77})
    tried = await bring_into_service(api, deployed.commands, deployed.azure, deployed.deployment, deployed.waiting)
    took = tried[cluster.region]
    assert list(took.seconds) == ["signup", "sleep", "wake", "delete"]
    assert 0 < took.cost < took.asleep < took.awake
    for name, seconds in took.seconds.items():
        assert any(f"{name} took {seconds:.1f} s" in each for each in deployed.lines)
    assert any(f"{cluster.region}: that cost 0.000" in each for each in deployed.lines)
    [registered] = await api.all("clusters")
    assert (registered["region"], registered["capacity"], registered["max_instances"]) == (cluster.region, 100, 77)
    assert {each["state"] for each in await api.all("tenants")} <= {"deleted"}


async def test_a_cordoned_region_is_not_tried(deployed: Deployed) -> None:
    api, cluster = deployed.operators, deployed.cluster
    await deployed.register()
    await api.call("PATCH", f"clusters/{cluster.name}", {"state": "cordoned"})
    tried = await bring_into_service(api, deployed.commands, deployed.azure, deployed.deployment, deployed.waiting)
    assert tried == {}
    assert any(each.startswith(f"{cluster.region}: not tried, because every cluster is cor") for each in deployed.lines)
    await api.call("PATCH", f"clusters/{cluster.name}", {"state": "open"})


class WakesNobody(DescribedApi):
    """A caller whose wakes become requests that the API refuses, because a tenant that sleeps cannot be retried."""

    @override
    async def call(self, method: str, path: str, *arguments: Any, **query: Any) -> Json:
        """Send a request, or another one in its place."""
        return await super().call(method, path.replace("/wake", "/retry"), *arguments, **query)


async def test_a_smoke_tenant_is_deleted_when_a_step_fails(deployed: Deployed) -> None:
    lines: list[str] = []
    async with WakesNobody(deployed.stack.api_url, deployed.stack.master_key) as api:
        with pytest.raises(ProblemError, match="409"):
            await smoke(api, deployed.cluster.region, lines.append)
    assert [each.split()[3] for each in lines] == ["signup", "sleep", "delete"]
    assert {each["state"] for each in await deployed.operators.all("tenants")} <= {"deleted"}


async def test_a_region_without_a_cluster_is_named(deployed: Deployed) -> None:
    with pytest.raises(ProblemError, match="there is no such region"):
        await smoke(deployed.operators, "nowhere", deployed.lines.append)
