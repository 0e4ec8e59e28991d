"""What happens before azd down, on the embedded stack: nothing without a yes, and tenants' data first."""

import asyncio
import json
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence

import pytest

from cli.api import Api, Json
from cli.confirming import NotConfirmedError
from cli.deploy import run as deploy
from cli.deploy.removal import confirm, remove, tenants_of
from cli.doctor import run as doctor
from local.kubernetes.control_plane import kubectl
from tests.support.builders import new_slug, signup_body
from tests.support.deployed_stack import Deployed

DISK = "/subscriptions/s/resourceGroups/{}/providers/Microsoft.Compute/disks/{}"


async def ended(api: Api, operation: Json) -> Json:
    async for each in api.follow(operation, every=0.1):
        operation = each
    return operation


@pytest.fixture
async def tenants(deployed: Deployed) -> AsyncIterator[Sequence[str]]:
    """Three tenants, one of which sleeps, and a cluster that takes new ones before and after."""
    api, slugs = deployed.operators, [new_slug() for _ in range(3)]
    await deployed.register()
    region = deployed.cluster.region
    begun = [await api.call("POST", "tenants", signup_body(each, region=region)) for each in slugs]
    assert {(await ended(api, each))["state"] for each in begun} == {"succeeded"}
    await ended(api, await api.call("POST", f"tenants/{slugs[0]}/sleep"))
    yield slugs
    await api.call("PATCH", f"clusters/{deployed.cluster.name}", {"state": "open"})


async def test_tenants_go_first_and_only_after_a_yes(deployed: Deployed, tenants: Sequence[str]) -> None:
    found, fake, plane = deployed.deployment, deployed.commands, deployed.stack.control_plane
    listed = await tenants_of(deployed.operators)
    assert listed is not None
    asked: Sequence[str] = []

    def no(text: str) -> str:
        asked.append(text)
        return "no"

    with pytest.raises(NotConfirmedError, match="nothing was done"):
        confirm(found, listed, no)
    assert all(each in asked[0] for each in (*tenants, "3 tenants", deployed.cluster.name, "Type prod to confirm"))
    confirm(found, listed, lambda _: "prod")
    volumes = [volume("theirs", "rg-theirs"), volume("nodes", f"{deployed.cluster.resource_group}-nodes")]
    await kubectl(plane, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": volumes}))
    try:
        await remove(deployed.operators, listed, fake, deployed.azure, found, deployed.waiting)
    finally:
        await kubectl(plane, "delete", "persistentvolume", "theirs", "nodes", "--wait=false")
    assert await tenants_of(deployed.operators) == []
    assert "namespace/tenant-" not in await kubectl(plane, "get", "namespaces", "-o", "name")
    [stays] = [each for each in deployed.lines if "it stays and costs money" in each]
    assert stays.endswith(DISK.format("rg-theirs", "theirs"))
    assert (fake.pulls, fake.associations, fake.budgets) == ([], set(), ["another"])
    [cluster] = await deployed.operators.all("clusters")
    assert cluster["state"] == "cordoned"
    await asyncio.gather(*(assert_deleted(deployed.operators, each) for each in tenants))


async def test_the_commands_find_the_deployment(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    fake = deployed.commands
    assert await doctor.run(Namespace(azure=True, wait=0.0, strict=False, json=False), fake) == 0
    assert "cluster local: certificate" in capsys.readouterr().out
    # Nobody is asked, because there is no tenant.
    assert await deploy.run(Namespace(action="down", yes=False, wait=10.0), fake) == 0
    await deployed.operators.call("PATCH", f"clusters/{deployed.cluster.name}", {"state": "open"})


async def assert_deleted(api: Api, slug: str) -> None:
    assert (await api.call("GET", f"tenants/{slug}"))["state"] == "deleted"


def volume(name: str, group: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "8Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": "disk.csi.azure.com", "volumeHandle": DISK.format(group, name)},
        },
    }
