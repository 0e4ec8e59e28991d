"""The container: the use cases on their real adapters. Besides `use_cases`, nothing else imports adapters."""

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.durable_functions import DurableFunctionsClient
from azure.identity.aio import DefaultAzureCredential

from functions.use_cases import UseCases
from shared.adapters.assets import load_assets
from shared.adapters.clock import SystemClock
from shared.adapters.durable import DurableWorkflows
from shared.adapters.kubernetes.connections import ClusterConnectionPool
from shared.adapters.plans import load_plans
from shared.adapters.prices import load_prices
from shared.adapters.prometheus import Prometheus
from shared.adapters.retail_prices import RetailPricesApi
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.telemetry.azure_monitor import start_telemetry
from shared.adapters.templates import YamlTenantTemplates
from shared.application.ports.clusters import ClusterRepository
from shared.settings import Settings, TableSettings


class Container(UseCases):
    """The use cases on their real adapters, whose connections it holds.

    Raises:
        PlansError: The document of plans is wrong.
        PricesError: The document of prices is wrong.
        AssetsError: The document of assets is wrong.
    """

    _connections: ClusterConnectionPool

    def __init__(self, settings: Settings) -> None:
        start_telemetry()
        plans, prices = load_plans(), load_prices()
        # One for the tables and all clusters, because it holds connections and caches tokens.
        self._identity = DefaultAzureCredential()
        self._tables = _tables(settings.tables, self._identity)
        clock = SystemClock()

        def connect(clusters: ClusterRepository) -> ClusterConnectionPool:
            self._connections = ClusterConnectionPool(
                clusters,
                settings.kubernetes,
                clock,
                owner=settings.tenants.owner,
                plans=plans,
                identity=self._identity,
            )
            return self._connections

        templates = YamlTenantTemplates(settings.tenants, plans)
        url = settings.activity.prometheus_url
        self._metrics = Prometheus(url, self._identity) if url else None
        self._retail = RetailPricesApi(settings.prices.api_url) if settings.prices.refresh else None
        super().__init__(
            settings,
            plans=plans,
            prices=prices,
            assets=load_assets(),
            tables=self._tables,
            clock=clock,
            connect=connect,
            templates=templates,
            metrics=self._metrics,
            retail=self._retail,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()
        await self._tables.close()
        if self._metrics is not None:
            await self._metrics.close()
        if self._retail is not None:
            await self._retail.close()
        await self._identity.close()

    def workflows(self, client: DurableFunctionsClient) -> DurableWorkflows:
        """Return the orchestrations behind the client that one invocation was given."""
        return DurableWorkflows(client)


def _tables(settings: TableSettings, identity: AsyncTokenCredential) -> AzureTableStorage:
    policy = RetryPolicy(total_timeout=settings.total_timeout)
    if settings.endpoint:
        return AzureTableStorage(settings.endpoint, identity, policy=policy, attempt_timeout=settings.attempt_timeout)
    parts = dict(part.split("=", 1) for part in settings.connection.get_secret_value().split(";") if "=" in part)
    key = AzureNamedKeyCredential(parts["AccountName"], parts["AccountKey"])
    return AzureTableStorage(parts["TableEndpoint"], key, policy=policy, attempt_timeout=settings.attempt_timeout)
