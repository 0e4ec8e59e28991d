"""Whether everything that berth depends on answers, and what does not."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from shared.application.ports import ClusterRecords, Clusters
from shared.errors import BerthError


class Checkable(Protocol):
    """A part that can be asked whether it answers."""

    async def check(self) -> None:
        """Return if it answers; raises Transient or Permanent."""
        ...


class Readiness:
    """Asks all parts at once."""

    def __init__(self, tables: Checkable, cluster_records: ClusterRecords, clusters: Clusters) -> None:
        self._tables = tables
        self._cluster_records = cluster_records
        self._clusters = clusters

    async def check(self, task_hub: Checkable, *, timeout: float = 5.0) -> dict[str, str]:
        """Return each part's name with `ok` or what is wrong with it; no part may take longer than `timeout` s."""
        checks: dict[str, Awaitable[None]] = {"tables": self._tables.check(), "task hub": task_hub.check()}
        found = dict(
            zip(
                checks,
                await asyncio.gather(*(_word(check, timeout) for check in checks.values())),
                strict=True,
            )
        )
        if found["tables"] != "ok":
            return found
        names = [cluster.name for cluster in await self._cluster_records.registered()]
        words = await asyncio.gather(*(_word(self._check_cluster(name), timeout) for name in names))
        return found | {f"cluster {name}": word for name, word in zip(names, words, strict=True)}

    async def _check_cluster(self, name: str) -> None:
        await (await self._clusters.connect(name)).check()


async def _word(check: Awaitable[None], timeout: float) -> str:
    try:
        await asyncio.wait_for(check, timeout)
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except BerthError as error:
        return str(error)
    return "ok"
