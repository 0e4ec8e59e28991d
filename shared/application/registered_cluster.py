"""A registered cluster, recognised before anything is done there."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, final, override

from shared.application.ports.clusters import KubernetesCluster, RecordKept
from shared.domain.assets import Nodes
from shared.domain.clusters import Cluster, ClusterAccess
from shared.domain.instances import InstanceId
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import FoundNamespace, FoundWorkload, LeftVolume, RemovedNamespaces
from shared.domain.routes import RouteStatus
from shared.domain.workloads import Workload
from shared.errors import Unreachable, WrongRegistration
from shared.single_flight import SingleFlight

type Open = Callable[[ClusterAccess], Awaitable[KubernetesCluster]]


@final
class RegisteredCluster(KubernetesCluster):
    """What is behind a registration, if that is the registered cluster.

    Its uid is compared before the first call, with each check, and again after a call that got no response, because
    another cluster may respond after that.

    Args:
        registration: The cluster as it is registered.
        open_cluster: Connects to what is there; raises WrongRegistration.
    """

    def __init__(self, registration: Cluster, open_cluster: Open) -> None:
        self._name = registration.name
        self._access = registration.access
        self._uid = registration.uid
        self._open = open_cluster
        self._lock = asyncio.Lock()
        self._opened: KubernetesCluster | None = None
        self._is_recognised = False
        self._recognise_once = SingleFlight(self._recognise)  # many activities begin together

    def is_for(self, registration: Cluster) -> bool:
        """Whether this is the connection for a registration, which may be some seconds old."""
        return (self._uid, self._access) == (registration.uid, registration.access)

    @override
    async def apply(self, objects: Sequence[Mapping[str, Any]], *, is_new: bool = True) -> None:
        async with self._recognised() as cluster:
            await cluster.apply(objects, is_new=is_new)

    @override
    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        async with self._recognised() as cluster:
            return await cluster.wait_until_ready(namespace, workloads, timeout=timeout)

    @override
    async def replicas(self, namespace: str) -> Mapping[str, int]:
        async with self._recognised() as cluster:
            return await cluster.replicas(namespace)

    @override
    async def stop(self, namespace: str) -> None:
        async with self._recognised() as cluster:
            await cluster.stop(namespace)

    @override
    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        async with self._recognised() as cluster:
            return await cluster.wait_until_stopped(namespace, timeout=timeout)

    @override
    async def open_route(self, route: Mapping[str, Any], *, timeout: float) -> RouteStatus:
        async with self._recognised() as cluster:
            return await cluster.open_route(route, timeout=timeout)

    @override
    async def close_route(self, namespace: str) -> None:
        async with self._recognised() as cluster:
            await cluster.close_route(namespace)

    @override
    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        async with self._recognised() as cluster:
            await cluster.remove(namespace, timeout=timeout, record_kept=record_kept)

    @override
    async def time(self) -> datetime:
        async with self._recognised() as cluster:
            return await cluster.time()

    @override
    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        async with self._recognised() as cluster:
            return await cluster.tenant_namespaces()

    @override
    async def tenant_workloads(self) -> Sequence[FoundWorkload]:
        async with self._recognised() as cluster:
            return await cluster.tenant_workloads()

    @override
    async def tenant_routes(self) -> Set[InstanceId]:
        async with self._recognised() as cluster:
            return await cluster.tenant_routes()

    @override
    async def has_namespace(self, namespace: str) -> bool:
        async with self._recognised() as cluster:
            return await cluster.has_namespace(namespace)

    @override
    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        async with self._recognised() as cluster:
            return await cluster.removed_namespaces(position)

    @override
    async def left_volumes(self) -> Sequence[LeftVolume]:
        async with self._recognised() as cluster:
            return await cluster.left_volumes()

    @override
    async def nodes(self) -> Sequence[Nodes]:
        async with self._recognised() as cluster:
            return await cluster.nodes()

    @override
    async def uid(self) -> str:
        async with self._recognised() as cluster:
            return await cluster.uid()

    @override
    async def check(self) -> str:
        cluster = await self._connected()
        with self._forgotten_if_unreachable():
            found = await cluster.check()
            self._compare(found)
            return found

    @asynccontextmanager
    async def _recognised(self) -> AsyncGenerator[KubernetesCluster]:
        cluster = await self._connected()
        if not self._is_recognised:
            await self._recognise_once()
        with self._forgotten_if_unreachable():
            yield cluster

    @contextmanager
    def _forgotten_if_unreachable(self) -> Generator[None]:
        try:
            yield
        except Unreachable:
            self._is_recognised = False
            raise

    async def _recognise(self) -> None:
        if not self._is_recognised:
            self._compare(await (await self._connected()).uid())

    async def _connected(self) -> KubernetesCluster:
        async with self._lock:
            if self._opened is None:
                try:
                    self._opened = await self._open(self._access)
                except WrongRegistration as error:
                    raise WrongRegistration(f"the registration of cluster {self._name} is wrong: {error}") from error
            return self._opened

    def _compare(self, found: str) -> None:
        if found != self._uid:
            self._is_recognised = False
            raise WrongRegistration(
                f"another cluster responds at the address of cluster {self._name}: its namespace kube-system has the "
                f"uid {found}, not {self._uid}. Register {self._name} again, with the address of the cluster that has "
                "its tenants"
            )
        self._is_recognised = True
