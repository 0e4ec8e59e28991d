"""Applies a tenant's objects so that each call gets further than the one before, however slow webhooks are.

A webhook may take ten seconds for each request, and a call has little more than twice that. So what a call has applied
before its time ended is remembered until one ends well. It is a cache: another worker only begins anew.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.kubernetes.client import APPLY, MERGE, METADATA, Json, KubernetesClient, Query
from shared.adapters.kubernetes.ownership import ensure_all_ours, ensure_ours
from shared.adapters.kubernetes.routes import ROUTES
from shared.domain.routes import KIND as ROUTE
from shared.domain.workloads import KIND
from shared.errors import Conflict, NotFound, Permanent, Transient

type Manifest = Mapping[str, Any]

FIELD_MANAGER = "berth"
FORCED = {"fieldManager": FIELD_MANAGER, "force": "true"}
# A version that no object has: etcd counts from 1, and gives 2 to the first object that it stores. So an apply with it
# creates an object, and never changes one that is there.
NO_OBJECT = {"resourceVersion": "1"}

# The kinds that a tenant may be made of. infra/kubernetes/cluster-role.yaml allows just these.
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "LimitRange": "/api/v1/namespaces/{}/limitranges",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Service": "/api/v1/namespaces/{}/services",
    KIND: "/apis/apps/v1/namespaces/{}/statefulsets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    ROUTE: ROUTES,
}
NO_DRY_RUN = "does not support dry run"  # what the API server says of a webhook with side effects
MAX_UNFINISHED = 1000  # namespaces that are remembered; the oldest is forgotten first


@dataclass(slots=True)
class _Unfinished:
    """What was applied to a namespace, by path, in calls that did not end well; `uid` is the namespace's."""

    uid: str = ""
    applied: dict[str, Manifest] = field(default_factory=dict[str, Manifest])


class Apply:
    """Server-side apply of all objects of a tenant.

    Args:
        client: The connections to the API server.
        owner: This berth's own id, which the objects that it may touch have as a label.
    """

    def __init__(self, client: KubernetesClient, owner: str) -> None:
        self._client = client
        self._owner = owner
        self._unfinished: dict[str, _Unfinished] = {}

    async def apply(self, objects: Sequence[Manifest], *, is_new: bool) -> None:
        """Apply the namespace, then all that a workload needs, then the workload, within the time budget.

        The namespace of an instance that is not new must be there: else it was removed, and its data with it.
        """
        unknown = sorted({each["kind"] for each in objects} - (PATHS.keys() - {ROUTE}))
        if unknown:
            raise Permanent(f"berth does not apply the kinds {', '.join(unknown)}")
        ensure_all_ours(objects, self._owner)  # else a changed template makes what could never be removed
        first = [each for each in objects if each["kind"] == "Namespace"]
        last = [each for each in objects if each["kind"] == KIND]
        between = [each for each in objects if each not in first and each not in last]
        namespace = _namespace_of(objects[0])
        unfinished = await self._remembered(namespace)
        may_exist = not is_new or bool(unfinished.applied)
        for group in (first, between, last):
            left = [each for each in group if unfinished.applied.get(path_of(each)) != each]
            made = await asyncio.gather(
                *(self._apply(each, unfinished, is_new=is_new, may_exist=may_exist) for each in left)
            )
            may_exist = may_exist or not all(made)
        self.forget(namespace)

    async def apply_one(self, manifest: Manifest) -> None:
        """Create one object, or apply it to the one that exists; raises NotOurs."""
        ensure_all_ours([manifest], self._owner)
        try:
            await self._patch(manifest, NO_OBJECT)
        except Conflict:
            await self._apply_over(manifest, is_new=True)

    def forget(self, namespace: str) -> None:
        """Forget what was applied to a namespace, because a call ended well, or something else changes it now."""
        self._unfinished.pop(namespace, None)

    async def _remembered(self, namespace: str) -> _Unfinished:
        """Return what was applied to a namespace, and nothing if that is gone or another one by now."""
        known = self._unfinished.get(namespace)
        if known is not None:
            with contextlib.suppress(NotFound):
                metadata = (await self._client.request("GET", f"{PATHS['Namespace']}/{namespace}"))["metadata"]
                if metadata["uid"] == known.uid and "deletionTimestamp" not in metadata:
                    return known
            self.forget(namespace)
        fresh = self._unfinished[namespace] = _Unfinished()
        if len(self._unfinished) > MAX_UNFINISHED:
            self.forget(next(iter(self._unfinished)))
        return fresh

    async def _apply(self, manifest: Manifest, unfinished: _Unfinished, *, is_new: bool, may_exist: bool) -> bool:
        """Create an object, or apply it to the one that exists if that is this instance's; return whether it was made.

        That is one request for an object that cannot exist yet, and else two, or three if it exists after all.
        """
        made: Json | None = None
        if not may_exist:
            with contextlib.suppress(Conflict):
                made = await self._patch(manifest, NO_OBJECT)
        after = made or await self._apply_over(manifest, is_new=is_new)
        if manifest["kind"] == "Namespace":
            unfinished.uid = after["metadata"]["uid"]
        unfinished.applied[path_of(manifest)] = manifest
        return made is not None

    async def _apply_over(self, manifest: Manifest, *, is_new: bool) -> Json:
        """Apply an object to the one that exists, if there is one and it is this instance's; raises NotOurs."""
        found = await self._found(manifest)
        if found:
            ensure_ours(found, self._owner, manifest["kind"])
        if manifest["kind"] == "Namespace" and not is_new and (not found or "deletionTimestamp" in found["metadata"]):
            raise NotFound(f"somebody removed the namespace {manifest['metadata']['name']}")
        # With its uid, so that no other one of the same name, made since, is taken over instead.
        precondition = {"uid": found["metadata"]["uid"]} if found else NO_OBJECT
        return await self._patch(manifest, precondition, retry_conflict=True)

    async def _patch(
        self, manifest: Manifest, precondition: Mapping[str, str], *, retry_conflict: bool = False
    ) -> Json:
        body = {**manifest, "metadata": {**manifest["metadata"], **precondition}}
        try:
            return await self._client.request(
                "PATCH", path_of(manifest), body, media_type=APPLY, query=FORCED, retry_conflict=retry_conflict
            )
        except NotFound as error:
            # The namespace was removed meanwhile, or is so new that an admission policy does not know it: Kubernetes
            # before 1.32.11, 1.33.7 and 1.34.3.
            raise Transient(f"the {manifest['kind']} {manifest['metadata']['name']} cannot be made: {error}") from error

    async def _found(self, manifest: Manifest) -> Json | None:
        """Return the object of this kind and name with its metadata, or None if there is none.

        A patch of nothing reads it without the right to read Secrets.
        """
        try:
            if manifest["kind"] == "Namespace":
                return await self._client.request("GET", path_of(manifest))
            try:
                return await self._patch_nothing(manifest, {"dryRun": "All"})
            except Permanent as error:
                if NO_DRY_RUN not in str(error):
                    raise
                return await self._patch_nothing(manifest, {})  # a webhook that can only be asked in earnest
        except NotFound:
            return None

    async def _patch_nothing(self, manifest: Manifest, query: Query) -> Json:
        return await self._client.request(
            "PATCH", path_of(manifest), {}, media_type=MERGE, query=query, accept=METADATA
        )


def _namespace_of(manifest: Manifest) -> str:
    """Return the namespace of an object, or its own name if it is one."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", metadata["name"])


def path_of(manifest: Manifest) -> str:
    """Return the path of an object."""
    metadata = manifest["metadata"]
    return f"{PATHS[manifest['kind']].format(metadata.get('namespace'))}/{metadata['name']}"
