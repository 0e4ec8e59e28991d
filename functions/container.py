"""The container: builds the use cases on their real adapters. Nothing else imports adapters."""

from datetime import timedelta

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.durable_functions import DurableFunctionsClient
from azure.identity.aio import DefaultAzureCredential

from shared.adapters.clock import SystemClock
from shared.adapters.durable import DurableWorkflows
from shared.adapters.kubernetes.connections import ClusterConnectionPool
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.idempotency import TableIdempotencyRepository
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.reconciliations import TableReconciliationRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.tenants import TableTenantRepository
from shared.adapters.templates import YamlTenantTemplates
from shared.application.activities.activity import ActivityPorts
from shared.application.activities.apply import ApplyTenant
from shared.application.activities.await_ready import AwaitTenant
from shared.application.activities.remove import RemoveTenant
from shared.application.admission import Admission
from shared.application.breakers import Breakers
from shared.application.cancel import Cancel
from shared.application.cluster_registry import ClusterRegistry
from shared.application.delete import Delete
from shared.application.dependencies import DependencyChecks
from shared.application.idempotent_start import IdempotentStart
from shared.application.reconciliation import Reconciliation
from shared.application.recovery import Recovery
from shared.application.retention import Retention
from shared.application.retry_tenant import Retry
from shared.application.signup import Signup
from shared.application.slot_repair import SlotRepair
from shared.application.tenant_history import TenantHistory
from shared.settings import Settings, TableSettings


class Container:
    """The use cases on their real adapters."""

    def __init__(self, settings: Settings) -> None:
        # One for the tables and all clusters, because it holds connections and caches tokens.
        self._identity = DefaultAzureCredential()
        self._tables = _tables(settings.tables, self._identity)
        self.settings = settings
        self.clock = SystemClock()
        self.tenants = TableTenantRepository(self._tables)
        self.reservations = TableReservationRepository(self._tables, self.clock)
        self.clusters = TableClusterRepository(self._tables, self.reservations, self.clock)
        self.findings = TableReconciliationRepository(self._tables)
        self._keys = TableIdempotencyRepository(self._tables, lifetime=timedelta(hours=settings.idempotency.key_hours))
        self._connections = ClusterConnectionPool(
            self.clusters, settings.kubernetes, self.clock, owner=settings.tenants.owner, identity=self._identity
        )
        self._build_use_cases()
        self._build_activities()

    def _build_use_cases(self) -> None:
        tenants, clusters, clock, settings = self.tenants, self.clusters, self.clock, self.settings
        reservations = self.reservations
        self.admission = admission = Admission(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            clock=clock,
            settings=settings.provisioning,
        )
        start = IdempotentStart(tenants=tenants, keys=self._keys, clock=clock)
        self.signup = Signup(
            tenants=tenants,
            clusters=clusters,
            admission=admission,
            start=start,
            clock=clock,
            settings=settings.tenants,
        )
        self.retry = Retry(tenants=tenants, admission=admission, start=start)
        self.delete = Delete(tenants=tenants, start=start)
        self.cancel = Cancel(tenants=tenants, start=start, clock=clock)
        self.recovery = Recovery(
            tenants=tenants, clusters=clusters, reservations=reservations, clock=clock, settings=settings.recovery
        )
        self.slot_repair = SlotRepair(
            tenants=tenants, clusters=clusters, reservations=reservations, admission=admission, clock=clock
        )
        self.breakers = Breakers(clusters=clusters, connections=self._connections, clock=clock)
        self.reconciliation = Reconciliation(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            findings=self.findings,
            connections=self._connections,
            admission=admission,
            clock=clock,
            settings=settings.reconciliation,
        )
        self.retention = Retention(records=TableOldRecords(self._tables), clock=clock, settings=settings.retention)
        self.history = TenantHistory(tenants)
        self.registry = ClusterRegistry(clusters)
        self.dependencies = DependencyChecks(tables=self._tables, clusters=clusters, connections=self._connections)

    def _build_activities(self) -> None:
        ports = ActivityPorts(
            tenants=self.tenants,
            latency=TableLatencyRepository(self._tables),
            connections=self._connections,
            admission=self.admission,
            breakers=self.breakers,
            clock=self.clock,
            settings=self.settings,
        )
        self.apply = ApplyTenant(ports, templates=YamlTenantTemplates(self.settings.tenants))
        self.await_ready = AwaitTenant(ports)
        self.remove = RemoveTenant(ports)

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()
        await self._tables.close()
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
