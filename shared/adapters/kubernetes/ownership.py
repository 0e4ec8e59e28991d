"""Ownership: the labels by which berth knows what it made. Nothing else on the same cluster is ever changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.kubernetes.watch import LABEL as INSTANCE
from shared.domain.instances import NAMESPACE_PREFIX
from shared.domain.workloads import KIND
from shared.errors import NotOurs

OWNER = "berth.dev/owner"
SLUG = "berth.dev/slug"


def common_labels(owner: str) -> Mapping[str, str]:
    """Return the labels that every object of this berth has, by which others can select them."""
    return {"app.kubernetes.io/managed-by": "berth", OWNER: owner}


def ensure_ours(found: Mapping[str, Any], owner: str, kind: str = "Namespace") -> None:
    """Return if an object, as a manifest or from the API server, is this berth's and of the instance of its namespace.

    Args:
        found: The object, or only its metadata, as JSON.
        owner: This berth's own id.
        kind: The object's kind.

    Raises:
        NotOurs: It has other labels, or none; the message names it and them.
    """
    metadata = found["metadata"]
    namespace = metadata.get("namespace", metadata["name"])  # a namespace is in none
    labels: Mapping[str, str] = metadata.get("labels") or {}
    expected = {OWNER: owner, INSTANCE: namespace.removeprefix(NAMESPACE_PREFIX)}
    wrong = [f"{name}={labels.get(name, '')}" for name, value in expected.items() if labels.get(name) != value]
    if wrong:
        named = f"{kind} {metadata['name']} in {namespace}" if "namespace" in metadata else f"namespace {namespace}"
        raise NotOurs(f"the {named} is not this berth's ({owner}): it has {', '.join(wrong)}")


def ensure_all_ours(manifests: Sequence[Mapping[str, Any]], owner: str) -> None:
    """Return if all of a tenant's objects would be this berth's and the instance's, with the pods and volume claims.

    Raises:
        NotOurs: One of them lacks the labels. Once made, it could be neither applied again nor removed.
    """
    for each in manifests:
        ensure_ours(each, owner, each["kind"])
        if each["kind"] == KIND:  # whose pods and volume claims have the labels that it selects
            selected = each["spec"]["selector"]["matchLabels"]
            if selected.get(INSTANCE) != each["metadata"]["labels"][INSTANCE]:
                raise NotOurs(f"the {KIND} {each['metadata']['name']} does not select the label {INSTANCE}")
