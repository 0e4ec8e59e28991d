"""One client for each cluster and worker, made when first used and again when the registration changes."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from azure.core.credentials_async import AsyncTokenCredential

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.domain.clusters import ClusterAccess, ClusterName
from shared.settings import KubernetesSettings

if TYPE_CHECKING:
    from shared.adapters.kubernetes.cluster import KubernetesApiCluster


class ClusterConnectionPool:
    """Implements `shared.application.ports.clusters.ClusterConnections`.

    Args:
        clusters: The registrations.
        settings: Time limits and the number of requests at once, for each cluster.
        clock: The present time.
        owner: This berth's own id.
        identity: The Microsoft Entra identity, for the clusters reached by it; its creator closes it, after this pool.
    """

    def __init__(
        self,
        clusters: ClusterRepository,
        settings: KubernetesSettings,
        clock: Clock,
        *,
        owner: str,
        identity: AsyncTokenCredential,
    ) -> None:
        self._clusters = clusters
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._identity = identity
        self._lock = asyncio.Lock()
        self._open: dict[ClusterName, tuple[ClusterAccess, KubernetesApiCluster]] = {}

    async def connect(self, name: ClusterName) -> "KubernetesApiCluster":
        """Return the client of a registered cluster; raises NotFound."""
        async with self._lock:
            if not self._open:
                # The Kubernetes client takes half a second to import: not at the worker's start, nor on its event loop.
                await asyncio.to_thread(import_module, "shared.adapters.kubernetes.access")
            from shared.adapters.kubernetes.access import connect
            from shared.adapters.kubernetes.cluster import KubernetesApiCluster

            access = await self._access(name)
            held, cluster = self._open.get(name, (None, None))
            if cluster is None or held != access:
                # A replaced client stays open for the operations that still use it, and closes with the worker.
                client = await connect(access, self._settings, self._identity)
                cluster = KubernetesApiCluster(client, self._settings, self._clock, self._owner)
                self._open[name] = access, cluster
            return cluster

    async def close(self) -> None:
        """Close all clients."""
        for _, cluster in self._open.values():
            await cluster.close()

    async def _access(self, name: ClusterName) -> ClusterAccess:
        for cluster in await self._clusters.registered():
            if cluster.name == name:
                return cluster.access
        return (await self._clusters.get(name)).value.access  # registered a moment ago, by another worker
