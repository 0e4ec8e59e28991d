"""berth's own role: it allows what berth uses, and the API server denies the rest."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.kubernetes.control_plane import BERTH, ControlPlane, kubectl
from local.kubernetes.objects import ROLE
from local.processes import StackError
from shared.adapters.kubernetes.cluster import PATHS
from shared.adapters.kubernetes.routes import ROUTES

CLUSTER_WIDE = {"*", "escalate", "bind", "impersonate"}


def rules() -> list[dict[str, Any]]:
    return yaml.safe_load(Path(ROLE).read_text())["rules"]


def test_the_role_has_no_wildcard_and_no_escalation() -> None:
    for rule in rules():
        for name in ("apiGroups", "resources", "verbs"):
            assert not CLUSTER_WIDE & set(rule[name])


def test_the_role_allows_only_the_kinds_of_the_templates() -> None:
    created = {resource for rule in rules() if "create" in rule["verbs"] for resource in rule["resources"]}
    assert created == {path.rsplit("/", 1)[1] for path in (*PATHS.values(), ROUTES)}


@pytest.mark.parametrize(
    "denied",
    [
        *("list secrets", "get secrets", "delete secrets", "create pods", "create pods --subresource=exec"),
        *(
            "get nodes",
            "watch nodes",
            "patch nodes",
            "create clusterroles",
            "create rolebindings",
            "create persistentvolumes",
        ),
        *("delete persistentvolumes", "patch persistentvolumes", "deletecollection namespaces"),
        *(
            "create serviceaccounts --subresource=token",
            "delete statefulsets",
            "impersonate users",
            "create daemonsets",
        ),
        *("create jobs", "delete customresourcedefinitions", "update namespaces", "get configmaps"),
        *("watch httproutes", "deletecollection httproutes", "patch gateways", "patch httproutes --subresource=status"),
    ],
)
async def test_the_api_server_denies_everything_else(control_plane: ControlPlane, denied: str) -> None:
    with pytest.raises(StackError):  # kubectl exits with 1 for no
        await kubectl(control_plane, "auth", "can-i", *denied.split(), "--as", BERTH, "-A")


async def test_the_api_server_allows_what_is_used(control_plane: ControlPlane) -> None:
    used = [
        "create namespaces",
        "patch secrets",
        "watch pods",
        "deletecollection persistentvolumeclaims",
        "list persistentvolumeclaims",
        "list events",
        "delete httproutes",
        "get gateways",
        "list statefulsets",
        "list httproutes",
        "list namespaces",
        "list persistentvolumes",
        "get storageclasses",
    ]
    output = await asyncio.gather(
        *(kubectl(control_plane, "auth", "can-i", *each.split(), "--as", BERTH, "-A") for each in used)
    )
    assert {line.strip() for line in output} == {"yes"}
