"""berth's own rights: what its role allows is what it uses, and the API server refuses the rest."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.kubernetes.control_plane import BERTH, ROLE, ControlPlane, kubectl
from local.processes import StackError
from shared.adapters.kubernetes.cluster import PATHS

CLUSTER_WIDE = {"*", "escalate", "bind", "impersonate"}


def rules() -> list[dict[str, Any]]:
    return yaml.safe_load(Path(ROLE).read_text())["rules"]


def test_the_role_has_no_wildcard_and_no_way_to_more_rights() -> None:
    for rule in rules():
        for member in ("apiGroups", "resources", "verbs"):
            assert not CLUSTER_WIDE & set(rule[member])


def test_the_role_allows_just_the_kinds_that_a_tenant_is_made_of() -> None:
    created = {resource for rule in rules() if "create" in rule["verbs"] for resource in rule["resources"]}
    assert created == {path.rsplit("/", 1)[1] for path in PATHS.values()}


@pytest.mark.parametrize(
    "refused",
    [
        *("list secrets", "get secrets", "delete secrets", "create pods", "create pods --subresource=exec"),
        *("list nodes", "patch nodes", "create clusterroles", "create rolebindings", "create persistentvolumes"),
        *(
            "create serviceaccounts --subresource=token",
            "delete statefulsets",
            "impersonate users",
            "create daemonsets",
        ),
        *("create jobs", "delete customresourcedefinitions", "update namespaces", "get configmaps"),
    ],
)
async def test_the_api_server_refuses_the_rest(control_plane: ControlPlane, refused: str) -> None:
    with pytest.raises(StackError):  # kubectl says no by its exit code
        await kubectl(control_plane, "auth", "can-i", *refused.split(), "--as", BERTH, "-A")


async def test_the_api_server_allows_what_is_used(control_plane: ControlPlane) -> None:
    used = [
        "create namespaces",
        "patch secrets",
        "watch pods",
        "deletecollection persistentvolumeclaims",
        "list events",
    ]
    said = await asyncio.gather(
        *(kubectl(control_plane, "auth", "can-i", *each.split(), "--as", BERTH, "-A") for each in used)
    )
    assert {word.strip() for word in said} == {"yes"}
