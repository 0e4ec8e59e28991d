"""The whole application on fakes: several workers on one store, clusters, a task hub, and one clock for all.

The driver runs the real orchestrators against the real activities. Timers move the clock, so that an operation of
minutes ends within milliseconds.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from durabletask.internal.orchestrator_service_pb2 import TaskFailureDetails
from durabletask.task import TaskFailedError

from cli.invariants import unbalanced
from functions import orchestrators
from functions.use_cases import UseCases
from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.tenants import TableTenantRepository
from shared.application.idempotent_start import Caller
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import TenantTemplates
from shared.application.ports.stored import Stored
from shared.application.signup import SignupRequest
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.operations import Operation
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.workflow import Activity, Outcome, Work
from shared.settings import Settings
from tests.support.builders import ASSETS, PLANS, PRICES, new_cluster, new_settings
from tests.support.clock import FakeClock, WorkerClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_connections import FakeConnections
from tests.support.fake_templates import OBJECTS, FakeTemplates
from tests.support.fake_workflows import FakeWorkflows
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables
from tests.support.repositories import clusters_on

PORTAL = Caller("portal")
ATTEMPTS = 4  # at an activity that breaks off with an error nobody expects
MAX_STEPS = 5_000  # of one run: many times what any test takes, and over in a second or two when nothing ends


class Worker(UseCases):
    """One worker process: its own repositories and caches, its own faults, the use cases and activities."""

    def __init__(
        self,
        storage: TableStorage,
        kubernetes: Mapping[ClusterName, FakeCluster],
        clock: Clock,
        settings: Settings,
        templates: TenantTemplates,
    ) -> None:
        self.faults = faults = Faults()
        super().__init__(
            settings,
            plans=PLANS,
            prices=PRICES,
            assets=ASSETS,
            tables=FaultyTables(storage, faults),
            clock=clock,
            connect=lambda clusters: FakeConnections(clusters, kubernetes, faults),
            templates=templates,
        )


@dataclass(frozen=True, slots=True)
class ActivityCall:
    """An activity that an orchestration asks for."""

    activity: Activity
    work: Work


@dataclass(slots=True)
class _Context:
    """What an orchestrator asks of its context."""

    clock: FakeClock
    continued: Work | None = None

    @property
    def current_utc_datetime(self) -> datetime:
        return self.clock.now()

    def call_activity(self, name: str, *, input: Mapping[str, Any], **_: Any) -> ActivityCall:
        return ActivityCall(Activity(name), Work.decode(input))

    def create_timer(self, wait: timedelta) -> timedelta:
        return wait

    def continue_as_new(self, payload: Mapping[str, Any]) -> None:
        self.continued = Work.decode(payload)


@dataclass(slots=True)
class _Orchestration:
    """One that runs: its generator, and what it waits for."""

    operation: Operation
    context: _Context
    steps: Generator[Any, Any, str]
    waits_for: ActivityCall | timedelta
    due: float = 0.0


@dataclass(slots=True)
class World:
    """All of it. `await new_world(...)` makes one.

    Attributes:
        clocks: Those of the workers, each of which can be set.
        delivered: Every activity that was run, in order, to be delivered once more.
        outcomes: What the activities returned.
    """

    settings: Settings
    clock: FakeClock
    storage: MemoryTables
    kubernetes: dict[ClusterName, FakeCluster]
    templates: FakeTemplates
    workflows: FakeWorkflows
    workers: list[Worker]
    clocks: Sequence[WorkerClock]
    delivered: list[ActivityCall] = field(default_factory=list[ActivityCall])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    _running: dict[str, _Orchestration] = field(default_factory=dict[str, _Orchestration])
    _turn: int = 0

    def new_worker(self) -> Worker:
        """Return one more worker, to which the driver gives nothing."""
        return Worker(self.storage, self.kubernetes, self.clock, self.settings, self.templates)

    @property
    def worker(self) -> Worker:
        """The first worker, for tests that need only one."""
        return self.workers[0]

    async def sign_up(
        self, slug: str = "acme", caller: Caller = PORTAL, *, worker: int = 0, **fields: str
    ) -> Operation:
        """Sign a tenant up."""
        usual = {"plan": "trial", "region": "local", "email": "owner@example.com", "display_name": "Acme"}
        request = SignupRequest(slug=Slug(slug), **{**usual, **fields})
        return await self.workers[worker].signup.sign_up(request, caller, self.workflows)

    async def active(self, slug: str = "acme", **fields: str) -> Tenant:
        """Return a tenant that was signed up and is active."""
        await self.sign_up(slug, PORTAL, worker=0, **fields)
        await self.run()
        return await self.tenant(slug)

    async def asleep(self, slug: str = "acme", **fields: str) -> Tenant:
        """Return a tenant that was signed up and put to sleep."""
        await self.active(slug, **fields)
        await self.sleep(slug)
        await self.run()
        return await self.tenant(slug)

    async def sleep(self, slug: str = "acme", caller: Caller = PORTAL, *, worker: int = 0) -> Operation:
        """Begin to put a tenant to sleep that is awake."""
        begun = await self.workers[worker].sleep.sleep(Slug(slug), caller, self.workflows)
        assert isinstance(begun, Operation)
        return begun

    async def wake(self, slug: str = "acme", caller: Caller = PORTAL, *, worker: int = 0) -> Operation:
        """Begin to wake a tenant that is asleep."""
        begun = await self.workers[worker].wake.wake(Slug(slug), caller, self.workflows)
        assert isinstance(begun, Operation)
        return begun

    async def tenant(self, slug: str = "acme") -> Tenant:
        """Return a tenant as it is recorded."""
        return (await TableTenantRepository(self.storage).get(Slug(slug))).value

    async def cluster(self, name: str = "one") -> Cluster:
        """Return a cluster with its allocation."""
        return (await clusters_on(self.storage, self.clock).get(ClusterName(name))).value

    def work(self, operation: Operation, reason: str = "") -> Work:
        """Return the input of an operation's activities."""
        return Work(operation.slug, operation.id, reason, trace=operation.trace)

    async def do(self, activity: Activity, operation: Operation, *, worker: int = 0, reason: str = "") -> Outcome:
        """Run one activity of an operation once."""
        return await self.workers[worker].activities[activity].run(self.work(operation, reason), self.workflows)

    async def cancel(self, operation: Operation, *, worker: int = 0) -> Operation:
        """Ask an operation to end."""
        return await self.workers[worker].cancel.cancel(operation.id, PORTAL, self.workflows)

    async def timers(self, *, worker: int = 0) -> int:
        """Do what the app's timer does every minute, and return how many orchestrations were started again."""
        each = self.workers[worker]
        await each.breakers.check_all()
        open_operations = await each.tenants.open_operations()
        await each.slot_repair.run(open_operations, self.workflows)
        await each.lost_instances.run()
        return await each.recovery.restart_lost(open_operations, self.workflows)

    async def restart_lost(self) -> int:
        """Do what recovery does, and return how many orchestrations were started again."""
        return await self.worker.recovery.restart_lost(await self.worker.tenants.open_operations(), self.workflows)

    async def repair_slots(self, *, worker: int = 0) -> None:
        """Do what slot repair does."""
        each = self.workers[worker]
        await each.slot_repair.run(await each.tenants.open_operations(), self.workflows)

    async def deliver_again(self, call: ActivityCall, *, worker: int) -> Outcome:
        """Run an activity that was run before, as a task hub does that lost its result."""
        return await self.workers[worker].activities[call.activity].run(call.work, self.workflows)

    def replacement(self, worker: int) -> Worker:
        """Return a new worker process in place of one that died, which has lost what that one had in memory."""
        return Worker(self.storage, self.kubernetes, self.clocks[worker], self.settings, self.templates)

    def waiting(self) -> list[ActivityCall]:
        """Return the activities that the orchestrations wait for at this moment, to be delivered to any worker."""
        self._adopt()
        now = self.clock.monotonic()
        running = self._running.values()
        return [each.waits_for for each in running if each.due <= now and isinstance(each.waits_for, ActivityCall)]

    async def run(self, *, steps: int = MAX_STEPS, until: float = float("inf")) -> None:
        """Run all orchestrations to their ends, or that many steps, or until the clock's monotonic time.

        Activities are given to the workers in turn. Raises AssertionError if they do not end.
        """
        for _ in range(steps):
            self._adopt()
            ready = [each for each in self._running.values() if each.due <= self.clock.monotonic()]
            if ready:
                await self._step(ready[0])
            elif self._running:
                due = min(each.due for each in self._running.values())
                if due > until:
                    return
                self.clock.advance(due - self.clock.monotonic())
            else:
                return
        assert steps < MAX_STEPS, "the orchestrations do not end"

    def _adopt(self) -> None:
        """Begin what was started, and drop what was terminated."""
        for key in list(self._running):
            if self._running[key].operation is not self.workflows.running.get(key):
                del self._running[key]
        for key, operation in self.workflows.running.items():
            if key not in self._running:
                self._begin(operation, self.work(operation))

    def _begin(self, operation: Operation, work: Work) -> None:
        declared: Any = getattr(orchestrators, operation.rules.orchestrator)
        context = _Context(self.clock)
        steps = declared.build().get_user_function().orchestrator_function(context, work.encode())
        self._running.pop(operation.orchestration_id, None)  # to the end of the line
        self._running[operation.orchestration_id] = _Orchestration(operation, context, steps, next(steps))

    async def _step(self, each: _Orchestration) -> None:
        """Do what one orchestration waits for, and let it decide what comes next."""
        key = each.operation.orchestration_id
        self._running[key] = self._running.pop(key)  # to the end of the line
        try:
            match each.waits_for:
                case ActivityCall() as call:
                    result = await self._call(call)
                    waits_for = each.steps.throw(result) if isinstance(result, Exception) else each.steps.send(result)
                case timedelta():
                    waits_for = each.steps.send(None)
        except StopIteration:
            if each.context.continued is not None:
                self._begin(each.operation, each.context.continued)
            else:
                del self._running[key]
                self.workflows.running.pop(key, None)
            return
        each.waits_for = waits_for
        wait = waits_for.total_seconds() if isinstance(waits_for, timedelta) else 0.0
        each.due = self.clock.monotonic() + wait

    async def _call(self, call: ActivityCall) -> dict[str, Any] | Exception:
        self.delivered.append(call)
        name = ""
        for _ in range(ATTEMPTS):
            self._turn += 1
            worker = self.workers[self._turn % len(self.workers)]
            try:
                outcome = await worker.activities[call.activity].run(call.work, self.workflows)
            except Exception as error:  # as the task hub does: anything at all
                name = type(error).__name__
            else:
                self.outcomes.append(outcome)
                return outcome.encode()
        return TaskFailedError("the activity failed", TaskFailureDetails(errorType=name, errorMessage=name))


async def new_world(
    *,
    workers: int = 1,
    clusters: Iterable[Cluster] = (),
    settings: Settings | None = None,
    templates: TenantTemplates | None = None,
    tables: Callable[[Callable[[], datetime]], MemoryTables] = MemoryTables,
    **provisioning: Any,
) -> World:
    """Return a world with its clusters registered; by default one cluster that holds ten trials.

    Args:
        workers: How many worker processes there are.
        clusters: The clusters.
        settings: All settings.
        templates: Instead of the fake ones.
        tables: Makes the table storage, from its clock.
        provisioning: Without `settings`: fields of the provisioning section.
    """
    settings = settings or new_settings(**provisioning)
    clock, fake_templates = FakeClock(), FakeTemplates()
    storage = tables(clock.now)
    registered = list(clusters) or [new_cluster()]
    kubernetes = {cluster.name: FakeCluster(clock) for cluster in registered}
    clocks = [WorkerClock(clock) for _ in range(workers)]
    held = [Worker(storage, kubernetes, each, settings, templates or fake_templates) for each in clocks]
    for cluster in registered:
        uid = kubernetes[cluster.name].identity
        await held[0].clusters.save(Stored(replace(cluster, uid=uid)))
    for each in held:
        each.faults.reset()
    return World(settings, clock, storage, kubernetes, fake_templates, FakeWorkflows(), held, clocks)


async def violations(world: World, *, at_rest: bool = True) -> list[str]:
    """Return everything that is wrong, as sentences.

    One tenant has one complete bundle of objects and one reservation, or nothing; only one that sleeps has no pods and
    no route; the sums add up; no cluster is overbooked; and at rest no operation is open.
    """
    found: list[str] = []
    rows = [row for row, _ in world.storage.rows.get("clusters", {}).values()]
    found += unbalanced(rows)
    reservations = {row["instance"]: row for row in rows if row["RowKey"].startswith("instance:")}
    namespaces = [each for cluster in world.kubernetes.values() for each in cluster.namespaces.items()]
    homes = {name.removeprefix("tenant-"): namespace for name, namespace in namespaces}
    if len(homes) != len(namespaces):
        found.append("an instance has two namespaces")
    keys = [key for _, key in world.storage.rows.get("tenants", {})]
    opened = {key.removeprefix("open:") for key in keys if key.startswith("open:")}
    known: set[str] = set()
    for key in keys:
        if not key.startswith("tenant:") or key.endswith("!activity"):
            continue
        tenant = await world.tenant(key.removeprefix("tenant:"))
        slug, instance = tenant.slug, tenant.instance
        known.add(instance)
        if tenant.operation.is_open != (tenant.operation.id in opened):
            found.append(f"{slug} has the index rows {opened} for its operation {tenant.operation.state}")
        if tenant.operation.is_open:
            if at_rest:
                found.append(f"{slug} is {tenant.state}: its operation has not ended")
        elif tenant.state.has_instance:
            awake = tenant.state == "active"
            reservation = reservations.get(instance, {})
            expected = "held" if awake else "asleep"
            if reservation.get("PartitionKey") != f"on:{tenant.cluster}" or reservation["state"] != expected:
                found.append(f"{slug} is {tenant.state} on {tenant.cluster} with the reservation {reservation}")
            objects = homes[instance].objects if instance in homes else {}
            if len(objects.keys() - {(ROUTE, ROUTE_NAME)}) != OBJECTS:
                found.append(f"{slug} is {tenant.state} without all of its objects")
            elif bool(homes[instance].tag) is not awake:
                found.append(f"{slug} is {tenant.state} {'without' if awake else 'with'} a pod")
            if ((ROUTE, ROUTE_NAME) in objects) is not awake:
                found.append(f"{slug} is {tenant.state} {'without' if awake else 'with'} a route")
            if bool(tenant.replicas) is awake:
                found.append(f"{slug} is {tenant.state} with the recorded replicas {tenant.replicas}")
        elif tenant.has_lost_instance:
            if reservations.get(instance, {}).get("PartitionKey") != f"on:{tenant.cluster}":
                found.append(f"{slug} has lost its instance, and has no reservation on {tenant.cluster}")
            if instance in homes:
                found.append(f"{slug} is {tenant.state}, and the namespace of its instance is there")
        elif instance:
            found.append(f"{slug} is {tenant.state} and has the instance {instance}")
    found += [f"the instance {each} of no tenant has a reservation" for each in reservations.keys() - known]
    found += [f"the instance {each} of no tenant has a namespace" for each in homes.keys() - known]
    for name in world.kubernetes:
        cluster = await world.cluster(name)
        if cluster.allocated > cluster.capacity:
            found.append(f"{name} is overbooked")
    return found
