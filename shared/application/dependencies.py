"""Dependency checks: whether the tables, the task hub and the clusters respond, and whether berth is ready."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Protocol

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.domain.clusters import Cluster
from shared.errors import BerthError, Transient
from shared.single_flight import SingleFlight

OK = "ok"
READY_SECONDS = 10.0  # for which a result is given to whoever asks without a key
CLUSTER = "cluster "  # before the name of each


class Dependency(Protocol):
    """Something outside berth that can be checked."""

    async def check(self) -> None:
        """Return if it responds; raises Transient or Permanent."""
        ...


class DependencyChecks:
    """Checks all dependencies concurrently."""

    _task_hub: Dependency

    def __init__(
        self, *, tables: Dependency, clusters: ClusterRepository, connections: ClusterConnections, clock: Clock
    ) -> None:
        self._tables = tables
        self._clusters = clusters
        self._connections = connections
        self._clock = clock
        self._ready = False
        self._ready_at = float("-inf")
        self._find_out_ready = SingleFlight(self._check_ready)

    async def is_ready(self, task_hub: Dependency) -> bool:
        """Return whether berth is ready, as of some seconds ago: however many ask, they cause few checks."""
        if self._ready_is_old():
            self._task_hub = task_hub
            await self._find_out_ready()
        return self._ready

    async def run(self, task_hub: Dependency, *, timeout: float = 5.0) -> Mapping[str, str]:
        """Return each dependency's name with `ok` or the error; none may take longer than `timeout` seconds."""
        checks: dict[str, Awaitable[None]] = {"tables": self._tables.check(), "task hub": task_hub.check()}
        results = await asyncio.gather(*(_result(check, timeout) for check in checks.values()))
        found = dict(zip(checks, results, strict=True))
        if found["tables"] != OK:
            return found
        clusters: list[Cluster] = []

        async def read_clusters() -> None:
            clusters.extend(await self._clusters.registered())

        found["tables"] = await _result(read_clusters(), timeout)
        results = await asyncio.gather(*(_result(self._check_cluster(cluster), timeout) for cluster in clusters))
        return found | {f"{CLUSTER}{each.name}": result for each, result in zip(clusters, results, strict=True)}

    def _ready_is_old(self) -> bool:
        return self._clock.monotonic() - self._ready_at > READY_SECONDS

    async def _check_ready(self) -> None:
        if self._ready_is_old():  # else the call before this one, for which some of these waited, has found out
            self._ready = are_ready(await self.run(self._task_hub))
            self._ready_at = self._clock.monotonic()

    async def _check_cluster(self, cluster: Cluster) -> None:
        await (await self._connections.connect(cluster.name)).check()
        if cluster.breaker is not None:
            since = f"{cluster.breaker.since:%Y-%m-%d %H:%M:%S} UTC"
            raise Transient(f"it responds, but gets no new tenants yet: it did not since {since}")


def are_ready(checks: Mapping[str, str]) -> bool:
    """Whether berth can do its work: tables and task hub respond, and so does a cluster, if any is registered.

    One dead cluster of several is no reason to take the app away from its callers: others get its new tenants.
    """
    clusters = [result == OK for name, result in checks.items() if name.startswith(CLUSTER)]
    others = [result == OK for name, result in checks.items() if not name.startswith(CLUSTER)]
    return all(others) and (any(clusters) or not clusters)


async def _result(check: Awaitable[None], timeout: float) -> str:
    try:
        await asyncio.wait_for(check, timeout)
    except TimeoutError:
        return f"no response within {timeout:g} s"
    except BerthError as error:
        return str(error)
    return OK
