"""The use cases and activities on table storage: the container gives them the real adapters, the tests fakes."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.bills import TableBillRepository
from shared.adapters.tables.clusters import TableClusterRepository
from shared.adapters.tables.costs import TableCostLedger
from shared.adapters.tables.due import TableDueIndex
from shared.adapters.tables.idempotency import TableIdempotencyRepository
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.latency_rollups import TableLatencyRollupRepository
from shared.adapters.tables.prices import TablePriceRepository
from shared.adapters.tables.reconciliations import TableReconciliationRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.sweeps import TableSweepRepository
from shared.adapters.tables.tenants import TableTenantRepository
from shared.adapters.tables.transitions import TableTransitions
from shared.application.activities.activity import ActivityPorts, OperationActivity
from shared.application.activities.apply import ApplyTenant
from shared.application.activities.await_ready import AwaitTenant
from shared.application.activities.remove import RemoveTenant
from shared.application.activities.resume import ResumeTenant
from shared.application.activities.stop import StopTenant
from shared.application.admission import Admission
from shared.application.advance_sweep import AdvanceSweep
from shared.application.bills import Bills
from shared.application.breakers import Breakers
from shared.application.cancel import Cancel
from shared.application.change_policy import ChangePolicy
from shared.application.cluster_registry import ClusterRegistry
from shared.application.delete import Delete
from shared.application.dependencies import Dependency, DependencyChecks
from shared.application.dormancy import Dormancy
from shared.application.find_tenants import FindTenants
from shared.application.forget import Forget
from shared.application.idempotent_start import IdempotentStart
from shared.application.instance_changes import InstanceChanges
from shared.application.instance_repair import InstanceRepair
from shared.application.lost_instances import LostInstances
from shared.application.metered_days import MeteredDays
from shared.application.metering import Metering
from shared.application.ops_overview import OpsOverview
from shared.application.poll_activity import PollActivity
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository, TenantTemplates
from shared.application.ports.metrics import Metrics
from shared.application.ports.prices import RetailPrices
from shared.application.price_books import PriceBooks
from shared.application.reconciliation import Reconciliation
from shared.application.record_activity import RecordActivity
from shared.application.recovery import Recovery
from shared.application.refresh_prices import RefreshPrices
from shared.application.remove_cluster import RemoveCluster
from shared.application.report_costs import ReportCosts
from shared.application.report_latency import ReportLatency
from shared.application.retention import Retention
from shared.application.retry_tenant import Retry
from shared.application.roll_up_latency import RollUpLatency
from shared.application.sample_signups import SampleSignups
from shared.application.sign_in_links import SignInLinks
from shared.application.signal_ages import SignalAges
from shared.application.signup import Signup
from shared.application.sleep import Sleep
from shared.application.slot_repair import SlotRepair
from shared.application.sweeps import Sweeps
from shared.application.tenant_history import TenantHistory
from shared.application.tenant_overview import TenantOverviews
from shared.application.visits import Visits
from shared.application.wake import Wake
from shared.domain.assets import Assets
from shared.domain.plans import Plans
from shared.domain.retail_prices import PriceDocument
from shared.domain.workflow import Activity
from shared.settings import Settings


class Tables(TableStorage, Dependency, Protocol):
    """Table storage that can be checked."""


class UseCases:
    """The repositories, use cases and activities of one worker.

    Args:
        settings: All settings.
        plans: All plans.
        prices: The prices that are deployed.
        assets: What costs money besides the tenants' disks.
        tables: Where the records are.
        clock: The present time.
        connect: Makes the connections to the registered clusters.
        templates: What a tenant is made of.
        metrics: The fleet's metrics, if there are any.
        retail: Azure's public price list, if it may be asked.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        plans: Plans,
        prices: PriceDocument,
        assets: Assets,
        tables: Tables,
        clock: Clock,
        connect: Callable[[ClusterRepository], ClusterConnections],
        templates: TenantTemplates,
        metrics: Metrics | None = None,
        retail: RetailPrices | None = None,
    ) -> None:
        self.settings = settings
        self.plans = plans
        self.clock = clock
        self.tenants = tenants = TableTenantRepository(tables)
        self.reservations = reservations = TableReservationRepository(tables, clock)
        self.clusters = clusters = TableClusterRepository(tables, reservations, clock)
        self.findings = findings = TableReconciliationRepository(tables)
        key_lifetime = timedelta(hours=settings.idempotency.key_hours)
        keys = TableIdempotencyRepository(tables, lifetime=key_lifetime)
        self.sign_in_links = SignInLinks(keys=keys, clock=clock, settings=settings.ops, key_lifetime=key_lifetime)
        latency = TableLatencyRepository(tables)
        rollups = TableLatencyRollupRepository(tables)
        connections = connect(clusters)
        self.breakers = breakers = Breakers(clusters=clusters, connections=connections, clock=clock)
        self.admission = admission = Admission(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            breakers=breakers,
            plans=plans,
            clock=clock,
            settings=settings.provisioning,
        )
        changes = InstanceChanges(
            tenants=tenants, clusters=clusters, templates=templates, clock=clock, settings=settings.provisioning
        )
        start = IdempotentStart(tenants=tenants, keys=keys, clock=clock)
        self.signup = Signup(
            tenants=tenants,
            clusters=clusters,
            admission=admission,
            start=start,
            plans=plans,
            clock=clock,
            settings=settings.tenants,
        )
        self.retry = Retry(tenants=tenants, admission=admission, start=start)
        self.delete = Delete(tenants=tenants, start=start)
        self.change_policy = ChangePolicy(tenants=tenants, start=start, clock=clock)
        activity = TableActivityRepository(tables)
        self.record_activity = RecordActivity(
            activity=activity,
            tenants=tenants,
            reservations=reservations,
            clock=clock,
            settings=settings.activity,
        )
        self.poll_activity = (
            None
            if metrics is None
            else PollActivity(
                metrics=metrics,
                record=self.record_activity,
                activity=activity,
                clusters=clusters,
                reservations=reservations,
                clock=clock,
                settings=settings.activity,
            )
        )
        self.signal_ages = SignalAges(activity=activity, clusters=clusters, clock=clock, settings=settings.activity)
        found_prices = TablePriceRepository(tables)
        self.price_books = PriceBooks(document=prices, prices=found_prices)
        self.refresh_prices = (
            None
            if retail is None
            else RefreshPrices(
                document=prices, prices=found_prices, retail=retail, clock=clock, settings=settings.prices
            )
        )
        self.cost_ledger = TableCostLedger(tables)
        self.metering = Metering(
            ledger=self.cost_ledger,
            transitions=TableTransitions(tables),
            clusters=clusters,
            connections=connections,
            price_books=self.price_books,
            assets=assets,
            plans=plans,
            clock=clock,
            settings=settings.costs,
        )
        self.currency = prices.book.currency
        self.report_costs = ReportCosts(self.cost_ledger, tenants)
        self.bills = Bills(
            bills=TableBillRepository(tables),
            ledger=MeteredDays(self.cost_ledger, self.currency),
            currency=self.currency,
            clock=clock,
        )
        self.dormancy = Dormancy(activity=activity, plans=plans, clock=clock, settings=settings.activity)
        self.history = history = TenantHistory(tenants)
        self.sample = SampleSignups(
            signup=self.signup,
            history=history,
            tenants=tenants,
            keys=keys,
            clock=clock,
            settings=settings.sample,
            key_lifetime=key_lifetime,
        )
        self.cancel = Cancel(tenants=tenants, history=history, start=start, clock=clock)
        self.sleep = Sleep(tenants=tenants, start=start)
        self.wake = Wake(tenants=tenants, admission=admission, start=start, cancel=self.cancel)
        self.visits = Visits(tenants=tenants, clusters=clusters, admission=admission, wake=self.wake, clock=clock)
        self.forget = Forget(
            tenants=tenants,
            clusters=clusters,
            findings=findings,
            latency=latency,
            connections=connections,
            admission=admission,
            breakers=breakers,
            clock=clock,
            settings=settings.tenants,
        )
        self.recovery = Recovery(
            tenants=tenants, clusters=clusters, reservations=reservations, clock=clock, settings=settings.recovery
        )
        self.slot_repair = SlotRepair(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            admission=admission,
            clock=clock,
            settings=settings.provisioning,
        )
        self.lost_instances = lost_instances = LostInstances(
            tenants=tenants,
            clusters=clusters,
            records=findings,
            connections=connections,
            clock=clock,
            settings=settings.reconciliation,
        )
        self.sweep_records = sweep_records = TableSweepRepository(tables)
        self.sweeps = Sweeps(sweeps=sweep_records, clock=clock, settings=settings.sweep, activity=settings.activity)
        self.advance_sweep = AdvanceSweep(
            sweeps=sweep_records,
            due=TableDueIndex(tables),
            tenants=tenants,
            clusters=clusters,
            activity=activity,
            dormancy=self.dormancy,
            hibernations=self.sleep,
            latency=latency,
            plans=plans,
            clock=clock,
            settings=settings.sweep,
            activity_settings=settings.activity,
        )
        self.reconciliation = Reconciliation(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            findings=findings,
            connections=connections,
            admission=admission,
            lost_instances=lost_instances,
            instance_repair=InstanceRepair(
                tenants=tenants,
                connections=connections,
                changes=changes,
                clock=clock,
                seconds=settings.kubernetes.total_timeout,
            ),
            plans=plans,
            clock=clock,
            settings=settings.reconciliation,
        )
        self.retention = Retention(records=TableOldRecords(tables), clock=clock, settings=settings.retention)
        self.roll_up_latency = RollUpLatency(latency=latency, rollups=rollups, clock=clock, settings=settings.retention)
        self.report_latency = ReportLatency(rollups)
        self.find_tenants = FindTenants(tenants=tenants, clusters=clusters, reservations=reservations)
        self.tenant_overviews = TenantOverviews(
            tenants=tenants,
            clusters=clusters,
            findings=findings,
            dormancy=self.dormancy,
            history=history,
            admission=admission,
            clock=clock,
        )
        self.ops_overview = OpsOverview(
            tenants=tenants,
            clusters=clusters,
            reservations=reservations,
            findings=findings,
            sweep_records=sweep_records,
            sweeps=self.sweeps,
            ledger=self.cost_ledger,
            costs=self.report_costs,
            latency=self.report_latency,
            plans=plans,
            clock=clock,
            settings=settings.recovery,
        )
        self.registry = ClusterRegistry(clusters, connections)
        self.remove_cluster = RemoveCluster(
            clusters=clusters, tenants=tenants, reservations=reservations, connections=connections, clock=clock
        )
        self.dependencies = DependencyChecks(tables=tables, clusters=clusters, connections=connections, clock=clock)
        ports = ActivityPorts(
            tenants=tenants,
            latency=latency,
            connections=connections,
            changes=changes,
            admission=admission,
            breakers=breakers,
            clock=clock,
            settings=settings,
        )
        self.activities: Mapping[Activity, OperationActivity] = {
            Activity.APPLY: ApplyTenant(ports),
            Activity.AWAIT: AwaitTenant(ports),
            Activity.STOP: StopTenant(ports),
            Activity.RESUME: ResumeTenant(ports),
            Activity.REMOVE: RemoveTenant(ports),
        }
