"""How a worker reaches the clusters in memory: by their registrations, each with the worker's faults."""

from collections.abc import Mapping

from shared.application.ports.clusters import ClusterRepository, KubernetesCluster
from shared.application.registered_cluster import RegisteredCluster
from shared.domain.clusters import AzureAccess, ClusterAccess, ClusterName, GatewayRef, KubeconfigAccess, Probe
from shared.errors import WrongRegistration
from tests.support.fake_cluster import FakeCluster, FaultyCluster
from tests.support.faults import Faults


class FakeConnections:
    """Implements `shared.application.ports.clusters.ClusterConnections` for one worker.

    A kubeconfig context leads to the cluster of that name, and so does the first label of a server's address.
    """

    def __init__(
        self, repository: ClusterRepository, clusters: Mapping[ClusterName, FakeCluster], faults: Faults
    ) -> None:
        self._repository = repository
        self._clusters = clusters
        self._faults = faults
        self._registered: dict[ClusterName, RegisteredCluster] = {}

    async def connect(self, name: ClusterName) -> RegisteredCluster:
        """Return the client of a registered cluster; raises NotFound."""
        registration = await self._repository.registration(name)
        held = self._registered.get(name)
        if held is None or not held.is_for(registration):
            held = self._registered[name] = RegisteredCluster(registration, self._open)
        return held

    async def probe(self, access: ClusterAccess, gateway: GatewayRef, domain: str) -> Probe:
        """Return what a cluster lacks."""
        return await self._faults.call("probe", lambda: self._find(access).probe(gateway, domain))

    async def _open(self, access: ClusterAccess) -> KubernetesCluster:
        return FaultyCluster(self._find(access), self._faults)

    def _find(self, access: ClusterAccess) -> FakeCluster:
        match access:
            case KubeconfigAccess(context):
                name = context
            case AzureAccess(server, _):
                name = server.removeprefix("https://").partition(".")[0]
        if name not in self._clusters:
            raise WrongRegistration(f"there is no cluster {name}")
        return self._clusters[ClusterName(name)]
