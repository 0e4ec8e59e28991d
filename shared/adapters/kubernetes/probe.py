"""What a cluster has and lacks, before the first tenant finds out."""

import asyncio
from collections.abc import Sequence

from shared.adapters.kubernetes.apply import FORCED
from shared.adapters.kubernetes.client import APPLY, Json, KubernetesClient
from shared.adapters.kubernetes.cluster import KUBE_SYSTEM, uid_of
from shared.adapters.kubernetes.ownership import common_labels
from shared.adapters.kubernetes.rights import missing_rights
from shared.adapters.kubernetes.routes import missing_for_routes, waiting_room_warnings
from shared.domain.clusters import GatewayRef, Probe
from shared.domain.plans import Plans
from shared.errors import BerthError, Forbidden, NotFound

STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
FLOW_SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"  # which every user may create
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
# What the network policy of every tenant lets it reach for name resolution. Its pods, and not the Service, because the
# policy selects pods, and because berth lists pods anyway.
DNS_PODS = f"{KUBE_SYSTEM}/pods"
DNS_LABEL = "k8s-app=kube-dns"
# An object outside berth's namespaces, which the admission policy has to refuse. It is only a dry run.
OUTSIDE: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "berth-probe", "namespace": "kube-system"},
}
NOT_CONFINED = (
    "berth may write outside its own namespaces: apply infra/kubernetes/admission-policy.yaml with this identity"
)


NO_SHARE = (
    "berth shares the API server's requests with all other users: apply infra/kubernetes/flow-control.yaml with this "
    "identity"
)


async def probe(client: KubernetesClient, plans: Plans, gateway: GatewayRef, domain: str, owner: str) -> Probe:
    """Return a cluster's uid, what it lacks, and what else is worth knowing. Nothing is retried or changed.

    Args:
        client: The connections to its API server.
        plans: Those whose tenants it would take: they name storage and priority classes.
        gateway: The gateway that their routes would join.
        domain: Under which they would have their addresses.
        owner: This berth's own id.

    Raises:
        Unreachable: The API server does not respond.
        Transient, Permanent: It refuses berth's identity, or fails.
    """
    system = await _get(client, KUBE_SYSTEM)  # first and alone, for the clearest error
    rights, storage, priorities, routes, dns, confinement, flow, waiting = await asyncio.gather(
        missing_rights(client),
        _missing_storage_classes(client, {plan.storage_class for plan in plans.values()}),
        _missing(client, "priority class", PRIORITY_CLASSES, {plan.priority for plan in plans.values()}),
        _missing_for_routes(client, gateway, domain, owner),
        _dns_warnings(client),
        _confinement_warnings(client),
        _flow_warnings(client),
        _waiting_room_warnings(client, gateway, domain),
    )
    uid = "" if system is None else uid_of(system)
    unread = [] if uid or rights else ["berth may not get the namespace kube-system, by which it recognises a cluster"]
    return Probe(uid, (*rights, *unread, *storage, *priorities), (*dns, *confinement, *flow, *waiting), tuple(routes))


async def _missing_storage_classes(client: KubernetesClient, names: set[str]) -> Sequence[str]:
    """Return which are missing; an empty name is the default one."""
    missing = await _missing(client, "storage class", STORAGE_CLASSES, names - {""})
    if "" in names:
        listed = await _get(client, STORAGE_CLASSES)
        annotations = [each["metadata"].get("annotations", {}) for each in listed["items"]] if listed else []
        if listed is not None and not any(each.get(IS_DEFAULT) == "true" for each in annotations):
            missing.append("none of its storage classes is the default: mark one, or name one in shared/plans.yaml")
    return missing


async def _missing(client: KubernetesClient, kind: str, path: str, names: set[str]) -> list[str]:
    missing: list[str] = []
    for name in sorted(names):
        try:
            await _get(client, f"{path}/{name}")
        except NotFound:
            missing.append(f"it has no {kind} {name}: create it, or change shared/plans.yaml")
    return missing


async def _missing_for_routes(client: KubernetesClient, gateway: GatewayRef, domain: str, owner: str) -> Sequence[str]:
    try:
        return await missing_for_routes(client, gateway, domain, common_labels(owner))
    except Forbidden:
        return []  # `missing_rights` names it


async def _waiting_room_warnings(client: KubernetesClient, gateway: GatewayRef, domain: str) -> Sequence[str]:
    try:
        return await waiting_room_warnings(client, gateway, domain)
    except Forbidden:
        return []  # `missing_rights` names it


async def _dns_warnings(client: KubernetesClient) -> Sequence[str]:
    pods = await _get(client, f"{DNS_PODS}?labelSelector={DNS_LABEL}&limit=1")
    if pods is None or pods["items"]:
        return []
    return [f"tenants cannot resolve names: no pod in the namespace kube-system has the label {DNS_LABEL}"]


async def _confinement_warnings(client: KubernetesClient) -> Sequence[str]:
    """Return a warning if berth could write in kube-system; none if that is refused, or cannot be found out."""
    path = f"{KUBE_SYSTEM}/configmaps/{OUTSIDE['metadata']['name']}"
    query = {**FORCED, "dryRun": "All"}
    try:
        await client.request("PATCH", path, OUTSIDE, media_type=APPLY, retry=False, may_be_refused=True, query=query)
    except BerthError:
        return []
    return [NOT_CONFINED]


async def _flow_warnings(client: KubernetesClient) -> Sequence[str]:
    """Return a warning unless a flow schema names berth's user."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = await _get(client, FLOW_SCHEMAS)
    if found is None:
        return []
    user = (await client.request("POST", WHO_AM_I, review, retry=False))["status"]["userInfo"]["username"]
    named = (
        subject.get("user", {}).get("name")
        for schema in found["items"]
        for rule in schema["spec"].get("rules", ())
        for subject in rule["subjects"]
    )
    return [] if user in named else [NO_SHARE]


async def _get(client: KubernetesClient, path: str) -> Json | None:
    """Return the response, or None without the right, which `missing_rights` names."""
    try:
        return await client.request("GET", path, retry=False, may_be_refused=True)
    except Forbidden:
        return None
