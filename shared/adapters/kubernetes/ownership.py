"""Ownership: the labels by which berth knows its own namespaces. Others on the same cluster are never touched."""

from collections.abc import Mapping
from typing import Any

from shared.adapters.kubernetes.watch import LABEL as INSTANCE
from shared.domain.instances import NAMESPACE_PREFIX
from shared.errors import NotOurs

OWNER = "berth.dev/owner"
SLUG = "berth.dev/slug"


def ensure_ours(namespace: Mapping[str, Any], owner: str) -> None:
    """Return if a namespace, as a manifest or from the API server, is an instance's of this berth.

    Args:
        namespace: The namespace as JSON.
        owner: This berth's own id.

    Raises:
        NotOurs: It has other labels, or none; the message names it and them.
    """
    metadata = namespace["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    expected = {OWNER: owner, INSTANCE: metadata["name"].removeprefix(NAMESPACE_PREFIX)}
    wrong = [f"{name}={labels.get(name, '')}" for name, value in expected.items() if labels.get(name) != value]
    if wrong:
        raise NotOurs(f"the namespace {metadata['name']} is not this berth's ({owner}): it has {', '.join(wrong)}")
