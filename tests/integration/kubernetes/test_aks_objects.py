"""What is applied to each AKS cluster besides berth's rights, on a real API server, with what that refuses."""

from collections.abc import AsyncIterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.kubernetes.objects import INFRA
from local.processes import StackError
from shared.adapters.plans import load_plans

CLASSES, METRICS = INFRA / "storage-classes.yaml", INFRA / "gateway-metrics.yaml"


def objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / name).read_text()))


@pytest.fixture(scope="module")
async def applied(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """A cluster that has AKS's classes too; its own one of the same name, which simulates volumes, comes back."""
    own = await kubectl(control_plane, "get", "storageclass", "berth-disk", "-o", "yaml")
    await kubectl(control_plane, "delete", "storageclass", "berth-disk")
    for _ in range(2):  # again after an upgrade
        await kubectl(control_plane, "apply", "--server-side", "-f", str(CLASSES), "-f", str(METRICS))
    yield control_plane
    await kubectl(control_plane, "delete", "-f", str(CLASSES), "-f", str(METRICS))
    kept = yaml.safe_load(own)
    kept["metadata"] = {"name": kept["metadata"]["name"]}
    await kubectl(control_plane, "create", "-f", "-", stdin=yaml.safe_dump(kept))


@pytest.mark.parametrize("name", ["storage-classes.yaml", "gateway-metrics.yaml", "cluster-role-binding.yaml"])
def test_the_objects_are_valid(name: str) -> None:
    for each in objects(name):
        kubernetes_validate.validate(each, "1.37", strict=True)


async def test_the_plans_name_a_class_that_is_made(applied: ControlPlane) -> None:
    made = (await kubectl(applied, "get", "storageclass", "-o", "name")).split()
    for plan in load_plans().values():
        assert f"storageclass.storage.k8s.io/{plan.storage_class}" in made


def test_disks_are_cheap_and_made_where_the_tenant_starts() -> None:
    disk, files = objects("storage-classes.yaml")
    assert disk["parameters"] == {"skuName": "StandardSSD_LRS"}
    assert files["parameters"]["allowSharedKeyAccess"] == "false"
    for each in (disk, files):
        assert each["volumeBindingMode"] == "WaitForFirstConsumer"
        assert each["allowVolumeExpansion"]
        assert each["reclaimPolicy"] == "Delete"  # else the volumes of removed tenants stay


async def test_a_class_cannot_be_changed(applied: ControlPlane) -> None:
    changed = CLASSES.read_text().replace("StandardSSD_LRS", "Premium_LRS")
    with pytest.raises(StackError, match=r"parameters.*field is immutable"):
        await kubectl(applied, "apply", "--server-side", "-f", "-", stdin=changed)


async def test_a_misspelled_field_is_refused(applied: ControlPlane) -> None:
    wrong = CLASSES.read_text().replace("WaitForFirstConsumer", "WhenNeeded").replace("berth-", "other-")
    with pytest.raises(StackError, match="Unsupported value"):
        await kubectl(applied, "apply", "--server-side", "-f", "-", stdin=wrong)


@pytest.mark.parametrize(
    "denied", ["patch configmaps/ama-metrics-prometheus-config", "delete storageclasses/berth-disk"]
)
async def test_berth_may_not_change_them(applied: ControlPlane, denied: str) -> None:
    verb, what = denied.split()
    arguments = (verb, *what.split("/"), "--as", BERTH, "-n", "kube-system")
    with pytest.raises(StackError, match=r"forbidden|berth OWNER|not one of an instance"):
        await kubectl(applied, *arguments, *(["-p", '{"data":{"x":"y"}}'] if verb == "patch" else []))
