"""Inventory: what there is of this berth on a cluster, read in pages for reconciliation."""

from datetime import datetime

from shared.adapters.kubernetes.client import KubernetesClient
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId
from shared.domain.reconciliation import FoundNamespace, LeftVolume
from shared.domain.slugs import Slug

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
LEFT_PHASES = ("Released", "Failed")


async def found_namespaces(client: KubernetesClient, owner: str) -> list[FoundNamespace]:
    """Return the namespaces with the label of an owner; only their metadata is read."""
    query = {"labelSelector": f"{OWNER}={owner},{INSTANCE}"}
    found: list[FoundNamespace] = []
    async for item in client.items("/api/v1/namespaces", query, accept=METADATA_ONLY):
        metadata = item["metadata"]
        instance = metadata["labels"][INSTANCE]
        if metadata["name"] == f"{NAMESPACE_PREFIX}{instance}":  # not one that only shares the labels
            slug, is_being_removed = metadata["labels"].get(SLUG, ""), bool(metadata.get("deletionTimestamp"))
            found.append(
                FoundNamespace(InstanceId(instance), Slug(slug), _time(metadata["creationTimestamp"]), is_being_removed)
            )
    return found


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
