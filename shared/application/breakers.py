"""Breakers: a cluster that does not respond gets no new tenants until it does again."""

import asyncio
import logging

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.domain.clusters import Breaker, Cluster, ClusterName
from shared.errors import BerthError, Unauthenticated, Unreachable
from shared.events import log_event
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 5.0  # seconds


class Breakers:
    """Opens and closes the clusters' breakers, which are kept in the tables for all workers."""

    def __init__(self, *, clusters: ClusterRepository, connections: ClusterConnections, clock: Clock) -> None:
        self._clusters = clusters
        self._connections = connections
        self._clock = clock
        self._suspects: set[ClusterName] = set()  # those that did not respond to the timer's last check

    async def is_open(self, name: ClusterName) -> bool:
        """Whether a cluster's breaker is open, as of some seconds ago."""
        return any(each.name == name and each.breaker is not None for each in await self._clusters.registered())

    async def found_dead(self, name: ClusterName) -> bool:
        """Whether a cluster on which a call just failed does not respond at all; then its breaker is open now."""
        error = await self._check(name)
        if error:
            await self._open(name, error)
        return bool(error)

    async def responds(self, name: ClusterName) -> bool:
        """Whether a cluster responds at this moment; this opens no breaker.

        Raises NotFound if there is no such cluster, and Transient if berth cannot tell: the tables do not respond, or
        its own identity is refused.
        """
        return not await self._error(name)

    async def check_all(self) -> None:
        """Check every cluster: open the breaker of one that fails twice in a row, and close it of one that responds.

        A timer's work, and the only place that closes one.
        """
        clusters = await self._clusters.list(exact=False)
        self._suspects &= {each.name for each in clusters}
        results = await asyncio.gather(*(self._check_one(cluster) for cluster in clusters), return_exceptions=True)
        for cluster, found in zip(clusters, results, strict=True):
            is_open = found is True
            if isinstance(found, BaseException):  # one cluster's trouble holds up no other
                log_event(logger, "not checked", level=logging.WARNING, cluster=cluster.name, cause=str(found))
                is_open = cluster.breaker is not None
            record(metrics.BREAKER_OPEN, float(is_open), cluster=cluster.name)

    async def _check_one(self, cluster: Cluster) -> bool:
        """Check a cluster, and return whether its breaker is open after that."""
        name = cluster.name
        error = await self._check(name)
        if error and name in self._suspects:
            await self._open(name, error)
            return True
        if error:
            self._suspects.add(name)
            return cluster.breaker is not None
        self._suspects.discard(name)
        if cluster.breaker is not None:
            log_event(logger, "breaker closed", level=logging.WARNING, cluster=name)
            await self._clusters.set_breaker(name, None)
        return False

    async def _open(self, name: ClusterName, error: str) -> None:
        log_event(logger, "breaker opened", level=logging.WARNING, cluster=name, cause=error)
        await self._clusters.set_breaker(name, Breaker(self._clock.now(), error))

    async def _check(self, name: ClusterName) -> str:
        """Return nothing if a cluster responds, whatever it says; else the error.

        Raises what keeps berth from asking: the tables that do not respond.
        """
        try:
            return await self._error(name)
        except Unauthenticated as error:
            log_event(logger, "cluster refuses the check", level=logging.WARNING, cluster=name, cause=str(error))
            return ""

    async def _error(self, name: ClusterName) -> str:
        """Do the same, and raise Unauthenticated while berth's own identity is refused."""
        cluster = await self._connections.connect(name)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await cluster.check()
        except TimeoutError:
            return f"no response within {CHECK_TIMEOUT:g} s"
        except Unreachable as error:
            return str(error)
        except Unauthenticated:
            raise
        except BerthError as error:
            log_event(logger, "cluster refuses the check", level=logging.WARNING, cluster=name, cause=str(error))
        return ""
