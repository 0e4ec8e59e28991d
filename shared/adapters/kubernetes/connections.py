"""One client for each cluster and worker, made when first used and again when the registration changes."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from azure.core.credentials_async import AsyncTokenCredential

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.registered_cluster import RegisteredCluster
from shared.domain.clusters import ClusterAccess, ClusterName, GatewayRef, Probe
from shared.domain.plans import Plans
from shared.settings import KubernetesSettings

if TYPE_CHECKING:
    from shared.adapters.kubernetes.client import KubernetesClient
    from shared.adapters.kubernetes.cluster import KubernetesApiCluster


class ClusterConnectionPool:
    """Implements `shared.application.ports.clusters.ClusterConnections`.

    Args:
        clusters: The registrations.
        settings: Time limits and the number of requests at once, for each cluster.
        clock: The present time.
        owner: This berth's own id.
        plans: All plans.
        identity: The Microsoft Entra identity, for the clusters reached by it; its creator closes it, after this pool.
    """

    def __init__(
        self,
        clusters: ClusterRepository,
        settings: KubernetesSettings,
        clock: Clock,
        *,
        owner: str,
        plans: Plans,
        identity: AsyncTokenCredential,
    ) -> None:
        self._clusters = clusters
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._plans = plans
        self._identity = identity
        self._registered: dict[ClusterName, RegisteredCluster] = {}
        self._opened: list[KubernetesApiCluster] = []

    async def connect(self, name: ClusterName) -> RegisteredCluster:
        """Return the client of a registered cluster; raises NotFound."""
        registration = await self._clusters.registration(name)
        held = self._registered.get(name)
        if held is None or not held.is_for(registration):
            # A replaced client stays open for the operations that still use it, and closes with the worker.
            held = self._registered[name] = RegisteredCluster(registration, self._open)
        return held

    async def probe(self, access: ClusterAccess, gateway: GatewayRef, domain: str) -> Probe:
        """Return what berth finds on a cluster that may not be registered yet."""
        client = await self._client(access)
        from shared.adapters.kubernetes.probe import probe

        try:
            return await probe(client, self._plans, gateway, domain, self._owner)
        finally:
            await client.close()

    async def close(self) -> None:
        """Close all clients."""
        for cluster in self._opened:
            await cluster.close()

    async def _open(self, access: ClusterAccess) -> "KubernetesApiCluster":
        client = await self._client(access)
        from shared.adapters.kubernetes.cluster import KubernetesApiCluster

        cluster = KubernetesApiCluster(client, self._settings, self._clock, self._owner)
        self._opened.append(cluster)
        return cluster

    async def _client(self, access: ClusterAccess) -> "KubernetesClient":
        # The Kubernetes client takes half a second to import: not at the worker's start, nor on its event loop.
        await asyncio.to_thread(import_module, "shared.adapters.kubernetes.access")
        from shared.adapters.kubernetes.access import connect

        return await connect(access, self._settings, self._identity)
