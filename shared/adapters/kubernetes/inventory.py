"""Inventory: what there is of this berth on a cluster, read in pages for reconciliation."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.adapters.kubernetes.client import METADATA_LIST, KubernetesClient
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG
from shared.domain.assets import Nodes
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId, namespace_name
from shared.domain.reconciliation import FoundNamespace, FoundWorkload, LeftVolume, RemovedNamespaces
from shared.domain.routes import ROUTE_NAME
from shared.domain.slugs import Slug
from shared.errors import Conflict, NotFound, Permanent
from shared.events import log_event

logger = logging.getLogger(__name__)

NAMESPACES = "/api/v1/namespaces"
NODES = "/api/v1/nodes"
MACHINE = "node.kubernetes.io/instance-type"  # the labels that AKS gives its nodes
PRIORITY = "kubernetes.azure.com/scalesetpriority"
WORKLOADS = "/apis/apps/v1/statefulsets"
ALL_ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes"
FOLLOW_SECONDS = 3  # the API server says where to continue two seconds before the end of a watch
LEFT_PHASES = ("Released", "Failed")


async def found_namespaces(client: KubernetesClient, owner: str) -> list[FoundNamespace]:
    """Return the namespaces with the label of an owner; only their metadata is read."""
    items = client.items(NAMESPACES, {"labelSelector": _selector(owner)}, accept=METADATA_LIST)
    return [each async for item in items if (each := _found(item)) is not None]


async def found_workloads(client: KubernetesClient, owner: str) -> list[FoundWorkload]:
    """Return the workloads with the label of an owner, in the namespaces of their instances.

    They are read whole, because no metadata has their replicas: 5 KB each, 2.5 MB a page, of which two numbers are
    kept. The printed columns of a table would be half of that, but are made for people and may change.
    """
    items = client.items(WORKLOADS, {"labelSelector": _selector(owner)})
    return [FoundWorkload(instance, item["spec"]["replicas"]) async for item in items if (instance := _instance(item))]


async def found_routes(client: KubernetesClient, owner: str) -> set[InstanceId]:
    """Return the instances with a route that has the label of an owner; only the routes' metadata is read."""
    items = client.items(ALL_ROUTES, {"labelSelector": _selector(owner)}, accept=METADATA_LIST)
    return {
        instance async for item in items if item["metadata"]["name"] == ROUTE_NAME and (instance := _instance(item))
    }


async def found_nodes(client: KubernetesClient) -> Sequence[Nodes]:
    """Return how many nodes there are of each machine; only the nodes' metadata is read."""
    counts: Counter[tuple[str, bool]] = Counter()
    async for item in client.items(NODES, {}, accept=METADATA_LIST):
        labels: Mapping[str, str] = item["metadata"].get("labels") or {}
        counts[labels.get(MACHINE, ""), labels.get(PRIORITY) == "spot"] += 1
    return [Nodes(machine, spot, count) for (machine, spot), count in sorted(counts.items())]


async def removed_namespaces(client: KubernetesClient, owner: str, position: str) -> RemovedNamespaces:
    """Return the namespaces of an owner that were removed, or began to be, since a position.

    The API server keeps the changes of the last minutes, so that this costs one request and a few changes, however
    many namespaces there are. A namespace that lost its labels is among them too.

    Args:
        client: The cluster.
        owner: Whose namespaces.
        position: Where the last call ended; empty for none. One that is too old, or not reached yet, counts as none.
    """
    followed: RemovedNamespaces | None = None
    if position:
        with contextlib.suppress(Conflict):  # 410: the position is too old
            followed = await _follow(client, owner, position)
            if followed.position != position:
                return followed
    query = {"labelSelector": _selector(owner), "limit": 1}
    page = await client.request("GET", NAMESPACES, query=query, accept=METADATA_LIST)
    latest = page["metadata"]["resourceVersion"]
    # A watch ends with a bookmark at least, usually. It has none, and no event, from a position that the API server has
    # not reached: the cluster was made anew, or its etcd restored from a backup.
    if followed is not None and int(latest) >= int(position):
        return followed
    return RemovedNamespaces((), latest, is_complete=False)


async def _follow(client: KubernetesClient, owner: str, position: str) -> RemovedNamespaces:
    query = {
        "labelSelector": _selector(owner),
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": position,
        "timeoutSeconds": FOLLOW_SECONDS,
    }
    removed: dict[InstanceId, FoundNamespace] = {}
    async with contextlib.aclosing(client.stream(NAMESPACES, read_timeout=2.0 * FOLLOW_SECONDS, query=query)) as events:
        async for event in events:
            item = event["object"]
            position = item["metadata"]["resourceVersion"]
            found = _found(item) if event["type"] != "BOOKMARK" else None
            if found is not None and (event["type"] == "DELETED" or found.is_being_removed):
                removed[found.instance] = found
    return RemovedNamespaces(tuple(removed.values()), position, is_complete=True)


def _selector(owner: str) -> str:
    return f"{OWNER}={owner},{INSTANCE}"


def _found(item: Mapping[str, Any]) -> FoundNamespace | None:
    """Return a namespace of an instance; None for one that only shares the labels."""
    metadata = item["metadata"]
    instance = metadata["labels"][INSTANCE]
    if metadata["name"] != f"{NAMESPACE_PREFIX}{instance}":
        return None
    return FoundNamespace(
        InstanceId(instance),
        Slug(metadata["labels"].get(SLUG, "")),
        _time(metadata["creationTimestamp"]),
        is_being_removed=bool(metadata.get("deletionTimestamp")),
    )


def _instance(item: Mapping[str, Any]) -> InstanceId | None:
    """Return whose an object is; None for one that is being deleted, or is in the namespace of another one."""
    metadata = item["metadata"]
    instance = InstanceId(metadata["labels"][INSTANCE])
    stays = "deletionTimestamp" not in metadata and metadata["namespace"] == namespace_name(instance)
    return instance if stays else None


async def kept_volumes(client: KubernetesClient, claims: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the claims' volumes that stay without them: those with the reclaim policy Retain."""
    names = [claim["spec"].get("volumeName") for claim in claims]
    return [name for name in names if name and await _is_retained(client, name)]


async def _is_retained(client: KubernetesClient, volume: str) -> bool:
    try:
        found = await client.request("GET", f"/api/v1/persistentvolumes/{volume}")
    except NotFound:
        return False
    except Permanent as error:  # only to be named to operators: a missing right must hold up no removal
        log_event(logger, "volume not read", level=logging.WARNING, volume=volume, cause=str(error))
        return False
    return found["spec"].get("persistentVolumeReclaimPolicy") == "Retain"


async def left_volumes(client: KubernetesClient) -> list[LeftVolume]:
    """Return the volumes whose claim was in an instance's namespace and is gone, and that are not deleted."""
    found: list[LeftVolume] = []
    async for item in client.items("/api/v1/persistentvolumes", {}):
        metadata, status = item["metadata"], item.get("status", {})
        namespace = item["spec"].get("claimRef", {}).get("namespace", "")
        if namespace.startswith(NAMESPACE_PREFIX) and status.get("phase") in LEFT_PHASES:
            since = _time(status.get("lastPhaseTransitionTime") or metadata["creationTimestamp"])
            instance = InstanceId(namespace.removeprefix(NAMESPACE_PREFIX))
            found.append(LeftVolume(metadata["name"], instance, status["phase"], since))
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
