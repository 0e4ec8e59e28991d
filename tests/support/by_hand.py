"""What an administrator does by hand on a cluster: the same for the fake and for a real API server."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from local.kubernetes.control_plane import ControlPlane, kubectl
from shared.adapters.kubernetes.ownership import SLUG
from shared.application.ports.clusters import KubernetesCluster, Manifest
from tests.support.clock import START
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_namespace import FakeNamespace

RESTRICTED = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
RESTRICTED_POD = {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}
KINDS = "sa,quota,limits,netpol,secret,cm,pvc,sts,svc,httproute"


class ByHand(Protocol):
    """An administrator of one cluster."""

    async def exists(self, namespace: str) -> bool:
        """Whether a namespace is there."""
        ...

    async def versions(self, namespace: str) -> Mapping[str, str]:
        """Return the version of each of a tenant's objects in its namespace."""
        ...

    async def claim(self, namespace: str) -> str:
        """Return the id of the claim of a tenant's volume."""
        ...

    async def delete(self, namespace: str) -> None:
        """Delete a namespace without waiting until it is gone."""
        ...

    async def create(self, namespace: str, labels: Mapping[str, str]) -> None:
        """Create a namespace that is not applied by berth."""
        ...

    async def create_in(self, namespace: str, objects: Sequence[Manifest]) -> None:
        """Create objects in a namespace that are not applied by berth."""
        ...

    async def delete_claim(self, namespace: str, name: str) -> None:
        """Delete a volume claim."""
        ...

    async def run_pod(self, namespace: str, *, ready: bool) -> None:
        """Run a pod that no workload of the tenant owns, and wait until it is ready, or never will be."""
        ...

    async def retain(self, namespace: str) -> str:
        """Have the volume of a namespace stay when its claim is removed, and return its name."""
        ...

    async def hold(self, namespace: str) -> None:
        """Keep a namespace from being removed."""
        ...

    async def release(self, namespace: str) -> None:
        """Let a namespace be removed again."""
        ...


class Administered(NamedTuple):
    """A cluster as berth sees it, and its administrator."""

    cluster: KubernetesCluster
    by_hand: ByHand


class FakeByHand:
    """Implements `ByHand` for the fake."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster, self._namespaces = cluster, cluster.namespaces

    async def exists(self, namespace: str) -> bool:
        return namespace in self._namespaces

    async def versions(self, namespace: str) -> Mapping[str, str]:
        held = self._namespaces[namespace]
        return {
            f"{kind}/{name}": str(manifest)
            for (kind, name), manifest in held.objects.items()
            if kind != "Namespace" and SLUG in manifest["metadata"].get("labels", {})
        }

    async def claim(self, namespace: str) -> str:
        return self._namespaces[namespace].claims["data"]

    async def delete(self, namespace: str) -> None:
        del self._namespaces[namespace]

    async def create(self, namespace: str, labels: Mapping[str, str]) -> None:
        manifest = {"kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        self._namespaces[namespace] = FakeNamespace(START, {("Namespace", namespace): manifest})

    async def create_in(self, namespace: str, objects: Sequence[Manifest]) -> None:
        for each in objects:
            self._namespaces[namespace].objects[each["kind"], each["metadata"]["name"]] = each

    async def delete_claim(self, namespace: str, name: str) -> None:
        del self._namespaces[namespace].objects["PersistentVolumeClaim", name]

    async def run_pod(self, namespace: str, *, ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready)}
        pod = {"metadata": {"name": "other"}, "status": {"phase": "Running", "conditions": [condition]}}
        self._namespaces[namespace].pods.append(pod)

    async def retain(self, namespace: str) -> str:
        self._cluster.retained[namespace] = f"volume-of-{namespace}"
        return self._cluster.retained[namespace]

    async def hold(self, namespace: str) -> None:
        self._namespaces[namespace].held = True

    async def release(self, namespace: str) -> None:
        self._namespaces[namespace].held = False


class KubectlByHand:
    """Implements `ByHand` with kubectl."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def exists(self, namespace: str) -> bool:
        names = await kubectl(self._plane, "get", "namespaces", "-o", "name")
        return f"namespace/{namespace}" in names.split()

    async def versions(self, namespace: str) -> Mapping[str, str]:
        listed = await kubectl(self._plane, "get", KINDS, "-n", namespace, "-o", "json")
        items: list[Any] = json.loads(listed)["items"]
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for each in items
            if SLUG in each["metadata"].get("labels", {})
        }

    async def claim(self, namespace: str) -> str:
        return await kubectl(self._plane, "get", "pvc", "data", "-n", namespace, "-o", "jsonpath={.metadata.uid}")

    async def delete(self, namespace: str) -> None:
        await kubectl(self._plane, "delete", "namespace", namespace, "--wait=false")

    async def create(self, namespace: str, labels: Mapping[str, str]) -> None:
        metadata = {"name": namespace, "labels": labels}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await kubectl(self._plane, "create", "-f", "-", stdin=json.dumps(manifest))

    async def create_in(self, namespace: str, objects: Sequence[Manifest]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        await kubectl(self._plane, "create", "-n", namespace, "-f", "-", stdin=json.dumps(listed))

    async def delete_claim(self, namespace: str, name: str) -> None:
        # No pod uses it, but a controller may not have noticed yet.
        await kubectl(self._plane, "delete", "pvc", name, "-n", namespace, "--timeout=20s")

    async def run_pod(self, namespace: str, *, ready: bool) -> None:
        await self.create_pod(namespace, "1" if ready else "never-ready-1")
        state = "--for=condition=Ready" if ready else "--for=jsonpath={.status.phase}=Running"
        await kubectl(self._plane, "wait", "-n", namespace, state, "pod/other", "--timeout=20s")

    async def create_pod(self, namespace: str, tag: str, **spec: str) -> None:
        """Create the pod `other`, within what a tenant's namespace allows."""
        container = {"name": "other", "image": f"other:{tag}", "securityContext": RESTRICTED}
        metadata = {"name": "other", "namespace": namespace}
        whole = {"securityContext": RESTRICTED_POD, "containers": [container], **spec}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}
        await kubectl(self._plane, "create", "-f", "-", stdin=json.dumps(pod))

    async def retain(self, namespace: str) -> str:
        name = "jsonpath={.spec.volumeName}"
        volume = await kubectl(self._plane, "get", "pvc", "data", "-n", namespace, "-o", name)
        patch = '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'
        await kubectl(self._plane, "patch", "pv", volume, "-p", patch)
        return volume

    async def hold(self, namespace: str) -> None:
        await self._set_finalizers(namespace, '["example.com/hold"]')

    async def release(self, namespace: str) -> None:
        await self._set_finalizers(namespace, "null")

    async def _set_finalizers(self, namespace: str, finalizers: str) -> None:
        patch = f'{{"metadata":{{"finalizers":{finalizers}}}}}'
        await kubectl(self._plane, "patch", "cm", "tenant", "-n", namespace, "-p", patch)
