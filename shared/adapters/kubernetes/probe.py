"""What a cluster has and lacks, before the first tenant finds out."""

import asyncio
from collections.abc import Sequence

from shared.adapters.kubernetes.client import Forbidden, Json, KubernetesClient
from shared.adapters.kubernetes.cluster import KUBE_SYSTEM, uid_of
from shared.adapters.kubernetes.rights import missing_rights
from shared.domain.clusters import Probe
from shared.errors import NotFound

STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
# What the network policy of every tenant lets it reach for name resolution. Its pods, and not the Service, because the
# policy selects pods, and because berth lists pods anyway.
DNS_PODS = f"{KUBE_SYSTEM}/pods"
DNS_LABEL = "k8s-app=kube-dns"


async def probe(client: KubernetesClient, *, storage_class: str) -> Probe:
    """Return a cluster's uid, what it lacks, and what else is worth knowing. Nothing is retried or changed.

    Args:
        client: The connections to its API server.
        storage_class: The one that tenants' volumes get, or an empty string for the cluster's default.

    Raises:
        Unreachable: The API server does not respond.
        Transient, Permanent: It refuses berth's identity, or fails.
    """
    system = await _get(client, KUBE_SYSTEM)  # first and alone, for the clearest error
    rights, storage, warnings = await asyncio.gather(
        missing_rights(client), _missing_storage_class(client, storage_class), _dns_warnings(client)
    )
    uid = "" if system is None else uid_of(system)
    unread = [] if uid or rights else ["berth may not get the namespace kube-system, by which it recognises a cluster"]
    return Probe(uid, (*rights, *unread, *storage), tuple(warnings))


async def _missing_storage_class(client: KubernetesClient, name: str) -> Sequence[str]:
    if name:
        try:
            await _get(client, f"{STORAGE_CLASSES}/{name}")
        except NotFound:
            return [f"it has no storage class {name}: create it, or change BERTH_TENANTS_STORAGE_CLASS"]
        return []
    listed = await _get(client, STORAGE_CLASSES)
    annotations = [each["metadata"].get("annotations", {}) for each in listed["items"]] if listed else []
    if listed is None or any(each.get(IS_DEFAULT) == "true" for each in annotations):
        return []
    return ["none of its storage classes is the default: mark one, or set BERTH_TENANTS_STORAGE_CLASS"]


async def _dns_warnings(client: KubernetesClient) -> Sequence[str]:
    pods = await _get(client, f"{DNS_PODS}?labelSelector={DNS_LABEL}&limit=1")
    if pods is None or pods["items"]:
        return []
    return [f"tenants cannot resolve names: no pod in the namespace kube-system has the label {DNS_LABEL}"]


async def _get(client: KubernetesClient, path: str) -> Json | None:
    """Return the response, or None without the right, which `missing_rights` names."""
    try:
        return await client.request("GET", path, retry=False)
    except Forbidden:
        return None
