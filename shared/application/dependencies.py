"""Dependency checks: whether the tables, the task hub and the clusters respond."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.domain.clusters import Cluster
from shared.errors import BerthError, Transient

OK = "ok"


class Dependency(Protocol):
    """Something outside berth that can be checked."""

    async def check(self) -> None:
        """Return if it responds; raises Transient or Permanent."""
        ...


class DependencyChecks:
    """Checks all dependencies concurrently."""

    def __init__(self, *, tables: Dependency, clusters: ClusterRepository, connections: ClusterConnections) -> None:
        self._tables = tables
        self._clusters = clusters
        self._connections = connections

    async def run(self, task_hub: Dependency, *, timeout: float = 5.0) -> dict[str, str]:
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
        return found | {f"cluster {each.name}": result for each, result in zip(clusters, results, strict=True)}

    async def _check_cluster(self, cluster: Cluster) -> None:
        await (await self._connections.connect(cluster.name)).check()
        if cluster.breaker is not None:
            since = f"{cluster.breaker.since:%Y-%m-%d %H:%M:%S} UTC"
            raise Transient(f"it responds, but gets no new tenants yet: it did not since {since}")


async def _result(check: Awaitable[None], timeout: float) -> str:
    try:
        await asyncio.wait_for(check, timeout)
    except TimeoutError:
        return f"no response within {timeout:g} s"
    except BerthError as error:
        return str(error)
    return OK
