"""A fleet with sweeps, on fakes: several workers on one store, one clock, and hibernations that a test ends."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.due import TableDueIndex
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.sweeps import TableSweepRepository
from shared.adapters.tables.tenants import TableTenantRepository
from shared.application.advance_sweep import AdvanceSweep
from shared.application.dormancy import Dormancy
from shared.application.idempotent_start import LATE_SECONDS, Caller
from shared.application.ports.clock import Clock
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.application.sweeps import Sweeps
from shared.domain.activity import TenantActivity, Watch
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Window
from shared.domain.instances import new_instance_id
from shared.domain.lifecycle import OperationKind
from shared.domain.operations import Operation, OperationId, OperationState, age, new_operation, slug_of
from shared.domain.slugs import Slug
from shared.domain.sweeps import Sweep, SweepDecision, SweepId
from shared.domain.tenants import AuditEntry, Tenant
from shared.errors import Conflict, Transient
from shared.settings import ActivitySettings, SweepSettings
from tests.support.builders import PLANS, new_cluster, new_tenant
from tests.support.clock import FakeClock, WorkerClock
from tests.support.fake_workflows import FakeWorkflows
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables
from tests.support.repositories import clusters_on, register

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SOURCE = "prometheus"
ACTIVITY = ActivitySettings(required_sources=SOURCE)
MAX_CALLS = 200  # of one sweep's activity: many times what any test takes


@dataclass(slots=True)
class FakeHibernations:
    """Implements `shared.application.advance_sweep.Hibernations`: the operation begins, and a test ends it.

    Attributes:
        refuses: With which error it fails for a tenant.
        keys: The operations of the idempotency keys.
        before: What happens once, right before the next operation begins.
    """

    tenants: TenantRepository
    clock: Clock
    refuses: dict[str, Exception]
    keys: dict[str, Operation]
    before: Callable[[], Awaitable[None]] | None = None

    async def sleep(
        self, slug: Slug, caller: Caller, workflows: Workflows, *, unless_changed: Tenant | None = None
    ) -> Operation:
        """Begin the operation of a caller's key once."""
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        if slug in self.refuses:
            raise self.refuses[slug]
        if caller.key in self.keys:
            return self.keys[caller.key]
        asked_at = self.clock.now()
        before = await self.tenants.get(slug)
        if age(asked_at, self.clock.now()) > LATE_SECONDS:
            raise Transient("the request was held up on its way")
        if unless_changed is not None and before.value.changed_at != unless_changed.changed_at:
            raise Conflict(f"{slug} was changed after it was decided on")
        operation = new_operation(OperationKind.HIBERNATE, slug, actor=caller.actor, now=self.clock.now())
        tenant = before.with_value(before.value.begin(operation, self.clock.now()))
        await save_change(self.tenants, tenant, before=before.value.state, reason="requested", begins_operation=True)
        self.keys[caller.key] = operation
        return operation


class SweepWorker:
    """One worker process: its own repositories, clock and faults."""

    def __init__(
        self, fleet: "Fleet", storage: TableStorage, settings: SweepSettings, activity: ActivitySettings
    ) -> None:
        self.faults = Faults()
        tables = FaultyTables(storage, self.faults)
        self.clock = clock = WorkerClock(fleet.clock)
        self.tenants = tenants = TableTenantRepository(tables)
        self.records = TableSweepRepository(tables)
        known = TableActivityRepository(tables)
        self.sweeps = Sweeps(sweeps=self.records, clock=clock, settings=settings, activity=activity)
        self.hibernations = FakeHibernations(tenants, clock, fleet.refuses, fleet.keys)
        self.advance = AdvanceSweep(
            sweeps=self.records,
            due=TableDueIndex(tables),
            tenants=tenants,
            clusters=clusters_on(tables, clock),
            activity=known,
            dormancy=Dormancy(activity=known, plans=PLANS, clock=clock, settings=activity),
            hibernations=self.hibernations,
            latency=TableLatencyRepository(tables),
            plans=PLANS,
            clock=clock,
            settings=settings,
            activity_settings=activity,
        )


@dataclass(slots=True)
class Fleet:
    """Tenants, their activity, and workers. `await new_fleet(...)` makes one.

    Attributes:
        refuses: With which error putting a tenant to sleep fails.
        keys: The operations of the idempotency keys.
        ends: How the hibernations end while a sweep runs; None for not at all.
    """

    clock: FakeClock
    storage: MemoryTables
    workflows: FakeWorkflows = field(default_factory=FakeWorkflows)
    workers: list[SweepWorker] = field(default_factory=list[SweepWorker])
    refuses: dict[str, Exception] = field(default_factory=dict[str, Exception])
    keys: dict[str, Operation] = field(default_factory=dict[str, Operation])
    ends: OperationState | None = OperationState.SUCCEEDED

    @property
    def worker(self) -> SweepWorker:
        """The first worker, for tests that need only one."""
        return self.workers[0]

    @property
    def begun(self) -> list[str]:
        """Which tenants were put to sleep, in order: one that is in it twice was put to sleep twice."""
        keys = [key for _, key in self.storage.rows.get("tenants", {}) if key.startswith("operation:")]
        return [slug_of(key.removeprefix("operation:")) for key in keys]

    @property
    def tenants(self) -> TableTenantRepository:
        """All tenants, without faults."""
        return TableTenantRepository(self.storage)

    @property
    def records(self) -> TableSweepRepository:
        """All sweeps, without faults."""
        return TableSweepRepository(self.storage)

    async def add(self, slug: str, *, idle_days: float | None = 30, age_days: float = 60, **fields: Any) -> Tenant:
        """Add an active tenant that was last used so many days ago, or never, and became active so many days ago."""
        began = self.clock.now() - age_days * DAY
        tenant = new_tenant(slug, cluster=ClusterName("one"), **fields)
        tenant = replace(tenant.succeed(began, quarantine=DAY), created_at=began)
        operation = tenant.operation
        entry = AuditEntry(
            tenant.slug, began, "portal", "provision", "ready", "provisioning", tenant.state, operation.id
        )
        await self.tenants.save(Stored(tenant), audit=entry)
        if idle_days is not None:
            await self.used(slug, self.clock.now() - idle_days * DAY)
        return tenant

    async def used(self, slug: str, at: datetime | None = None, source: str = "heartbeat") -> None:
        """Record that a tenant was used."""
        repository = TableActivityRepository(self.storage)
        instance = (await self.tenants.get(Slug(slug))).value.instance
        held = await repository.find(Slug(slug))
        known = held.value if held else TenantActivity(Slug(slug), instance)
        await repository.save(Stored(known.reported(source, at or self.clock.now()), held.etag if held else ""))

    async def watch(
        self, *, days: float = 90, ago: timedelta = MINUTE, source: str = SOURCE, cluster: str = ""
    ) -> None:
        """Record that a source has watched for so many days, until so long ago."""
        repository = TableActivityRepository(self.storage)
        held = await repository.find_watch(source, cluster)
        window = Window(self.clock.now() - days * DAY, self.clock.now() - ago)
        await repository.save_watch(Stored(Watch(source, cluster, window), held.etag if held else ""))

    async def start(self, *, dry_run: bool = False, worker: int = 0) -> Sweep:
        """Start a sweep."""
        return await self.workers[worker].sweeps.start(dry_run=dry_run, actor="operator", workflows=self.workflows)

    async def run(self, sweep: Sweep, *, worker: int = 0) -> Sweep:
        """Run a sweep to its end, the workers in turn, and return it; activities that fail are tried again."""
        for number in range(MAX_CALLS):
            turn = self.workers[(worker + number) % len(self.workers)]
            progress = await turn.advance.run(sweep.id, self.workflows)
            if progress.ended:
                return await self.sweep(sweep.id)
            await self.end_hibernations()
            self.clock.advance(progress.wait)
        raise AssertionError("the sweep does not end")

    async def swept(self, *, dry_run: bool = False) -> Sweep:
        """Start a sweep and run it to its end."""
        return await self.run(await self.start(dry_run=dry_run))

    async def end_hibernations(self) -> None:
        """End all hibernations that run."""
        if self.ends is None:
            return
        for slug in dict.fromkeys(self.begun):
            stored = await self.tenants.get(Slug(slug))
            operation = stored.value.operation
            if operation.is_open:
                now = self.clock.now()
                states = {
                    OperationState.SUCCEEDED: operation.rules.after_success,
                    OperationState.FAILED: operation.rules.after_failure,
                    OperationState.CANCELLED: operation.rules.after_cancel,
                }
                finished = operation.finish(self.ends, now)
                state = states[self.ends] or stored.value.state
                ended = replace(stored.value, operation=finished, state=state, changed_at=now)
                await self.tenants.save(stored.with_value(ended), ends_operation=True)

    async def sweep(self, sweep_id: SweepId) -> Sweep:
        """Return a sweep as it is recorded."""
        found = await self.records.find(sweep_id)
        assert found is not None
        return found.value

    async def decisions(self, sweep: Sweep) -> dict[str, SweepDecision]:
        """Return what a sweep has decided, by slug."""
        page = await self.records.decisions(sweep.id, None, limit=10_000, token="")
        return {each.slug: each for each in page.items}

    def due_keys(self) -> list[str]:
        """Return the row keys of the index of due dates."""
        return sorted(key for _, key in self.storage.rows.get("tenants", {}) if key.startswith("due:"))


async def new_fleet(
    dormant: Iterable[str] = (),
    *,
    workers: int = 1,
    allocated: int = 1000,
    activity: ActivitySettings = ACTIVITY,
    **settings: Any,
) -> Fleet:
    """Return a fleet whose source of activity has watched for 90 days.

    Args:
        dormant: Tenants that were last used 30 days ago.
        workers: How many workers there are.
        allocated: The plan weights of all instances that are awake.
        activity: Which sources are required.
        settings: Fields of the sweep's section of the settings.
    """
    clock = FakeClock()
    storage = MemoryTables(clock.now)
    fleet = Fleet(clock, storage)
    chosen = SweepSettings(schedule="0 30 2 * * *", **settings)
    fleet.workers += [SweepWorker(fleet, storage, chosen, activity) for _ in range(workers)]
    one = await register(clusters_on(storage, clock), new_cluster(capacity=10 * allocated))
    await TableReservationRepository(storage, clock).reserve(
        one, new_instance_id(), OperationId("others.1"), weight=allocated, max_starting=1, max_waiting=0
    )
    await fleet.watch()
    for slug in dormant:
        await fleet.add(slug)
    for each in fleet.workers:
        each.faults.reset()
    return fleet
