"""What the triggers use, built once in each worker process and only when first needed.

Indexing the app must neither reach Azure nor fail, so nothing here runs at import. It must be quick, too, for a worker
that starts: what takes long to import is imported where it is first used.
"""

import functools
import os
from typing import TYPE_CHECKING

from azure.durable_functions import DurableFunctionsClient

from shared.adapters.durable import DurableWorkflows
from shared.adapters.retry import RetryBudget
from shared.application.admission import Admission
from shared.application.health import Readiness
from shared.application.lifecycle import TenantLifecycle
from shared.application.reaper import Reaper
from shared.application.registry import ClusterRegistry
from shared.application.steps import OperationSteps
from shared.clock import SystemClock
from shared.settings import Settings, TableSettings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from shared.adapters.tables.connection import Tables


class Services:
    """The use cases on their real adapters."""

    def __init__(self, settings: Settings) -> None:
        from azure.identity.aio import DefaultAzureCredential

        from shared.adapters.kubernetes.pool import ClusterPool
        from shared.adapters.manifests import TemplateManifests
        from shared.adapters.tables.cluster_records import TableClusterRecords
        from shared.adapters.tables.key_records import TableKeyRecords
        from shared.adapters.tables.latency_records import TableLatencyRecords
        from shared.adapters.tables.tenant_records import TableTenantRecords

        clock = SystemClock()
        # One for the tables and all clusters: it holds connections and the tokens it was given.
        self._identity = DefaultAzureCredential()
        self._tables = tables = _tables(settings.tables, self._identity)
        self.clock = clock
        self.settings = settings
        self.records = TableTenantRecords(tables)
        self.clusters = TableClusterRecords(tables)
        self._pool = pool = ClusterPool(self.clusters, settings.kubernetes, clock, self._identity)
        self.registry = ClusterRegistry(self.clusters)
        self.keys = TableKeyRecords(tables)
        self.reaper = Reaper(self.records, clock, settings)
        self.readiness = Readiness(tables, self.clusters, pool)
        admission = Admission(self.records, self.clusters, clock, settings)
        self.lifecycle = TenantLifecycle(self.records, self.clusters, self.keys, admission, clock, settings)
        self.steps = OperationSteps(
            admission=admission,
            records=self.records,
            cluster_records=self.clusters,
            latency=TableLatencyRecords(tables),
            clusters=pool,
            manifests=TemplateManifests(settings.tenants),
            clock=clock,
            settings=settings,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()
        await self._tables.close()
        await self._identity.close()

    def workflows(self, client: DurableFunctionsClient) -> DurableWorkflows:
        """Return the orchestrations behind the client that one invocation was given."""
        return DurableWorkflows(client, fail_after=self.settings.provisioning.fail_after)


@functools.cache
def services() -> Services:
    """Return this worker's services; raises SettingsError for a wrong environment."""
    return Services(Settings.from_environment(os.environ))


def _tables(settings: TableSettings, identity: "AsyncTokenCredential") -> "Tables":
    from azure.core.credentials import AzureNamedKeyCredential

    from shared.adapters.tables.connection import Tables

    budget = RetryBudget(seconds=settings.budget_seconds)
    if settings.endpoint:
        return Tables(settings.endpoint, identity, budget=budget, try_seconds=settings.try_seconds)
    parts = dict(part.split("=", 1) for part in settings.connection.get_secret_value().split(";") if "=" in part)
    key = AzureNamedKeyCredential(parts["AccountName"], parts["AccountKey"])
    return Tables(parts["TableEndpoint"], key, budget=budget, try_seconds=settings.try_seconds)
