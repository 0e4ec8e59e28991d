"""The rights that berth needs on a cluster: those of its ClusterRole, asked of the API server one by one."""

import asyncio
import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from shared.adapters.kubernetes.client import KubernetesClient

ROLE = Path(__file__).parents[3] / "infra/kubernetes/cluster-role.yaml"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"  # which every user may create


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a kind of object, in all namespaces."""

    verb: str
    group: str
    resource: str


@functools.cache
def needed_rights() -> Sequence[Right]:
    """Return the rights of berth's ClusterRole."""
    documents = yaml.safe_load_all(ROLE.read_text(encoding="utf-8"))
    [role] = [each for each in documents if each["kind"] == "ClusterRole"]
    return [
        Right(verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


async def missing_rights(client: KubernetesClient) -> Sequence[str]:
    """Return what berth may not do on a cluster, a sentence for each kind of object.

    Not by a SelfSubjectRulesReview, which would be one request: it leaves out the rights that a webhook gives, such as
    Azure RBAC for Kubernetes.
    """
    needed = needed_rights()
    allowed = await asyncio.gather(*(_is_allowed(client, right) for right in needed))
    if not any(allowed):
        return ["berth's identity has no right there: apply infra/kubernetes/cluster-role.yaml, and bind it to that"]
    missing: defaultdict[str, list[str]] = defaultdict(list)
    for right, has in zip(needed, allowed, strict=True):
        if not has:
            missing[f"{right.resource}.{right.group}".rstrip(".")].append(right.verb)
    return [
        f"berth may not {', '.join(verbs)} {resource}: apply infra/kubernetes/cluster-role.yaml"
        for resource, verbs in missing.items()
    ]


async def _is_allowed(client: KubernetesClient, right: Right) -> bool:
    attributes = {"verb": right.verb, "group": right.group, "resource": right.resource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool((await client.request("POST", REVIEWS, review, retry=False))["status"]["allowed"])
