"""Random histories of a whole fleet: whatever callers, visitors, clocks and the task hub do, and however workers fail.

Nobody who was active is put to sleep, what sleeps and what is awake agrees with the records, everything ends, waking
gives back what was there, and only a deletion removes data.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cli.transition_log import log_problems
from shared.application.idempotent_start import Caller
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Window
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.policy import NO_OVERRIDE, PolicyOverride
from shared.domain.routes import KIND as ROUTE
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.visits import VISITOR
from shared.domain.workloads import KIND
from shared.errors import Conflict, Invalid, NotFound, Transient, Unreachable
from shared.settings import ActivitySettings, SweepSettings
from tests.support.builders import new_cluster, new_settings
from tests.support.fake_cluster import FakeNamespace, replicas_of
from tests.support.faults import Stall
from tests.support.instant_loop import instant_runner
from tests.support.witness import CALL, WitnessTables
from tests.support.world import PORTAL, Worker, World, new_world, violations

SLUGS = ("ann-1", "bob-1", "cat-1")
SOURCE = "gateway"
HOUR, DAY = 3600.0, 86400.0
ROUNDS = 24  # of ten minutes in which everything that was left behind is ended and repaired


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call of a worker at its n-th request to the tables or a cluster."""

    how: str = "none"
    number: int = 0
    after: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What a tenant has that must be the same after any sleep."""

    slug: Slug
    objects: dict[tuple[str, str], Any]
    claims: dict[str, str]
    replicas: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """A worker that stalls in a request, and the call that it will go on with."""

    worker: int
    stall: Stall
    call: asyncio.Task[Any]


slugs = st.sampled_from(SLUGS)
workers = st.integers(0, 1)
versions = st.sampled_from(["1.0.0", "1.0.0", "slow-1", "missing-1", "never-ready-1"])
failures = st.builds(Fault, st.sampled_from(["die", "stall", "lose", "fail"]), st.integers(1, 14), st.booleans())
faults = st.just(Fault()) | failures


class History(RuleBasedStateMachine):
    """One history. Each rule is one thing that happens."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = instant_runner()
        self.world: World
        self.pair: list[Worker] = []
        self.stalled: Stalled | None = None  # while one is, the other one does everything
        self.unsettled = False  # somebody failed, and timers have not made it good yet
        self.kept: dict[InstanceId, Kept] = {}
        self.forgotten: set[InstanceId] = set()
        self.unreported: list[tuple[str, Any]] = []  # visits that the source has seen and not told yet

    @initialize(
        capacity=st.sampled_from([1, 10]),
        skew=st.sampled_from([0, 240, -240]),
        idle=st.sampled_from([0, 1, 8, 20]),
        stop_seconds=st.sampled_from([1, 20]),
    )
    def begin(self, capacity: int, skew: int, idle: int, stop_seconds: int) -> None:
        """All tenants are active since three weeks, and each was used in that time."""
        self._run(self._begin(capacity, skew, idle))
        for cluster in self.world.kubernetes.values():
            cluster.stop_seconds = stop_seconds

    async def _begin(self, capacity: int, skew: int, idle: int) -> None:
        self.world = await new_world(
            workers=2,
            clusters=[new_cluster(capacity=10), new_cluster("two", capacity=10)],
            settings=new_settings(max_concurrent=1, max_queued=2).model_copy(
                update={
                    "activity": ActivitySettings(
                        required_sources=SOURCE, max_gap_seconds=0
                    ),  # forgiven gaps may hide a use
                    "sweep": SweepSettings(schedule="0 30 2 * * *", max_share=1, concurrency=1),
                }
            ),
            tables=WitnessTables,
        )
        self.pair = list(self.world.workers)
        for slug in SLUGS:
            await self.world.sign_up(slug)
            await self.world.run()
        for number, (slug, ago) in enumerate(zip(SLUGS, (idle, 8, 6.5), strict=True)):
            self.world.clock.advance((21 - ago) * DAY)
            await self._use(slug, 0, None)
            self.world.clock.advance(ago * DAY)
            await self._scale(slug, 1 + number)
        await self._resize(capacity)
        self.world.clocks[1].ahead = timedelta(seconds=skew)

    @property
    def storage(self) -> WitnessTables:
        assert isinstance(self.world.storage, WitnessTables)
        return self.world.storage

    # What callers ask for

    @rule(slug=slugs, version=versions, worker=workers, fault=faults)
    def sign_up(self, slug: str, version: str, worker: int, fault: Fault) -> None:
        async def sign_up() -> None:
            await self.world.sign_up(slug, worker=worker, version=version)
            self.storage.truth.policies.pop(slug, None)

        self._call(worker, sign_up, fault)

    @rule(
        what=st.sampled_from(["sleep", "sleep", "wake", "wake", "open", "cancel", "retry", "delete"]),
        slug=slugs,
        version=versions,
        worker=workers,
        fault=faults,
    )
    def ask(self, what: str, slug: str, version: str, worker: int, fault: Fault) -> None:
        chosen, workflows = self.world.workers[worker], self.world.workflows

        async def ask() -> None:
            match what:
                case "cancel":
                    await self.world.cancel((await self.world.tenant(slug)).operation, worker=worker)
                case "sleep":
                    await chosen.sleep.sleep(Slug(slug), PORTAL, workflows)
                case "wake":
                    await chosen.wake.wake(Slug(slug), PORTAL, workflows)
                case "open":
                    await chosen.wake.wake(Slug(slug), Caller(VISITOR), workflows)
                case "retry":
                    await chosen.retry.retry(Slug(slug), version, PORTAL, workflows)
                case _:
                    await chosen.delete.delete(Slug(slug), PORTAL, workflows)

        self._call(worker, ask, fault)

    @rule(
        slug=slugs,
        worker=workers,
        override=st.sampled_from(
            [
                NO_OVERRIDE,
                PolicyOverride(exempt=True),
                PolicyOverride(idle_days=1, never_active_days=1),
                PolicyOverride(idle_days=30),
            ]
        ),
        keep_days=st.sampled_from([0, 0, 2, 20]),
    )
    def change_policy(self, slug: str, worker: int, override: PolicyOverride, keep_days: int) -> None:
        until = self.world.clock.now() + timedelta(days=keep_days) if keep_days else None
        override = replace(override, keep_awake_until=until)

        async def change() -> None:
            await self.world.workers[worker].change_policy.change(Slug(slug), override, "operator")
            self.storage.truth.policies[slug] = override

        self._call(worker, change, Fault())

    @rule(slug=slugs, worker=workers)
    def forget(self, slug: str, worker: int) -> None:
        async def forget() -> None:
            before = await self.world.tenant(slug)
            await self.world.workers[worker].forget.forget(Slug(slug), "on purpose", PORTAL, self.world.workflows)
            self.forgotten.add(before.instance)
            self.unsettled = True

        self._call(worker, forget, Fault())

    # What visitors and sources do

    @rule(slug=slugs)
    def visit(self, slug: str) -> None:
        """Somebody uses a tenant; a source that is silent never tells."""

        async def visit() -> None:
            self.world.clock.advance(1)
            if (await self.world.tenant(slug)).state is TenantState.ACTIVE:
                now = self.world.clock.now()
                if self.storage.truth.silent_since is None:
                    self.unreported.append((slug, now))
                else:
                    self.storage.truth.unseen.setdefault(slug, []).append(now)

        self._call(0, visit, Fault())

    @rule(slug=slugs, worker=workers, hours_ago=st.sampled_from([None, None, 0, 1, 30, 300]))
    def report(self, slug: str, worker: int, hours_ago: int | None) -> None:
        """The product of a tenant reports activity, sometimes late."""
        self._call(worker, lambda: self._use(slug, worker, hours_ago), Fault())

    async def _use(self, slug: str, worker: int, hours_ago: int | None) -> None:
        now = self.world.clock.now()
        at = None if hours_ago is None else now - timedelta(hours=hours_ago)
        began = (await self.world.tenant(slug)).active_since
        await self.world.workers[worker].record_activity.record(Slug(slug), "product", at)
        if began is not None:
            self.storage.truth.uses.setdefault(slug, []).append(at or now)

    @rule()
    def silence(self) -> None:
        """The source goes away, with what it has not told yet, or it comes back."""
        truth = self.storage.truth
        self.world.clock.advance(1)
        if truth.silent_since is None:
            truth.source_goes()
            for slug, at in self.unreported:
                truth.unseen.setdefault(slug, []).append(at)
            self.unreported.clear()
        else:
            truth.source_returns()

    # What time and workers do

    @rule(seconds=st.sampled_from([1.0, 61.0, 301.0, HOUR, DAY, DAY, 8 * DAY, 15 * DAY, 31 * DAY]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule(steps=st.integers(1, 12))
    def drive(self, steps: int) -> None:
        self._run(self.world.run(steps=steps))

    @rule(number=st.integers(0, 5), worker=workers, fault=failures)
    def deliver(self, number: int, worker: int, fault: Fault) -> None:
        """The next activity of an operation is delivered, and its result is lost: it will be delivered again."""

        async def deliver() -> None:
            waiting = self.world.waiting()
            if waiting:
                await self.world.deliver_again(waiting[number % len(waiting)], worker=worker)

        self._call(worker, deliver, fault)

    @precondition(lambda self: self.stalled is None)
    @rule(slug=slugs, number=st.integers(4, 14), after=st.booleans(), turns=st.integers(0, 2))
    def overtake(self, slug: str, number: int, after: bool, turns: int) -> None:
        """A worker stalls while it stops or starts a tenant; others end that, and do the opposite once or twice."""
        slow, other = self.world.workers

        async def turn() -> None:
            tenant = await self.world.tenant(slug)
            if tenant.state is TenantState.ACTIVE:
                await other.sleep.sleep(Slug(slug), PORTAL, self.world.workflows)
            else:
                await other.wake.wake(Slug(slug), PORTAL, self.world.workflows)

        async def overtake() -> None:
            with suppress(Conflict):  # something is going on already
                await turn()
            waiting = [each for each in self.world.waiting() if each.work.slug == slug]
            if not waiting:
                return
            slow.faults.reset()
            stall = slow.faults.stall(number, after=after)
            late = asyncio.create_task(self.world.deliver_again(waiting[0], worker=0))
            await stall.reached_or_done(late)
            self._stall(Stalled(0, stall, late))
            for _ in range(turns):
                await self.world.run(until=self.world.clock.monotonic() + 300)
                with suppress(Conflict):
                    await turn()
            await self.world.run(until=self.world.clock.monotonic() + 300)
            await self._go_on()

        self.unsettled = True
        self._call(0, overtake, Fault())

    @rule(number=st.integers(0, 50), worker=workers)
    def deliver_late(self, number: int, worker: int) -> None:
        async def deliver() -> None:
            if self.world.delivered:
                await self.world.deliver_again(self.world.delivered[number % len(self.world.delivered)], worker=worker)

        self._call(worker, deliver, Fault())

    @precondition(lambda self: self.stalled)
    @rule()
    def go_on(self) -> None:
        self._run(self._go_on())

    @rule(is_lost=st.booleans(), worker=workers)
    def recover(self, is_lost: bool, worker: int) -> None:
        """The timers run; before, the task hub may have been replaced by an empty one."""
        if is_lost:
            self.world.workflows.running.clear()
        self._call(worker, lambda: self.world.timers(worker=worker), Fault())

    @rule(name=st.sampled_from(["one", "two"]))
    def lose_cluster(self, name: str) -> None:
        """A cluster does not respond any more, or does again."""
        cluster = self.world.kubernetes[ClusterName(name)]
        cluster.away = None if cluster.away else Unreachable("on purpose")
        self.unsettled = True

    # What sweeps do

    @rule(dry_run=st.sampled_from([False, False, True]), worker=workers, fault=faults)
    def start_sweep(self, dry_run: bool, worker: int, fault: Fault) -> None:
        sweeps = self.world.workers[worker].sweeps

        async def start() -> None:
            if dry_run:
                await sweeps.start(dry_run=True, actor="operator", workflows=self.world.workflows)
            else:
                await sweeps.start_nightly(self.world.workflows)

        self._call(worker, start, fault)

    @rule(days=st.sampled_from([0, 0, 8, 15]), worker=workers, fault=faults)
    def sweep(self, days: int, worker: int, fault: Fault) -> None:
        """Some days pass, and a part of the night's sweep is done."""

        async def sweep() -> None:
            await self.world.workers[worker].sweeps.start_nightly(self.world.workflows)
            await self._advance_sweep(worker, -1)

        self.world.clock.advance(days * DAY)
        self._call(worker, sweep, fault)

    @precondition(lambda self: self.stalled is None)
    @rule(slug=slugs, number=st.integers(1, 60), what=st.sampled_from(["use", "use", "exempt", "wake", "delete"]))
    def meet_a_sweep(self, slug: str, number: int, what: str) -> None:
        """Something else happens to a tenant while a part of a sweep is done: before any of its requests."""
        swept, other = self.world.workers

        async def meanwhile() -> None:
            match what:
                case "use":
                    await self._use(slug, 1, None)
                case "exempt":
                    await other.change_policy.change(Slug(slug), PolicyOverride(exempt=True), "operator")
                    self.storage.truth.policies[slug] = PolicyOverride(exempt=True)
                case "wake":
                    await other.wake.wake(Slug(slug), PORTAL, self.world.workflows)
                case _:
                    await other.delete.delete(Slug(slug), PORTAL, self.world.workflows)

        async def sweep() -> None:
            await swept.sweeps.start_nightly(self.world.workflows)
            swept.faults.reset()
            stall = swept.faults.stall(number)
            CALL.set(object())
            part = asyncio.create_task(self._advance_sweep(0, -1))
            await stall.reached_or_done(part)
            self._stall(Stalled(0, stall, part))
            try:
                await meanwhile()
            finally:
                await self._go_on()

        self._call(0, sweep, Fault())

    @rule(number=st.sampled_from([-1, -1, -2]), worker=workers, fault=faults)
    def advance_sweep(self, number: int, worker: int, fault: Fault) -> None:
        """A part of the present sweep is done, or one of an earlier sweep is delivered late."""
        self._call(worker, lambda: self._advance_sweep(worker, number), fault)

    @rule(days=st.sampled_from([-40, -1, 1, 40]), worker=workers)
    def advance_sweep_by_a_wrong_clock(self, days: int, worker: int) -> None:
        clock = self.world.clocks[worker]

        async def advance() -> None:
            before, clock.ahead = clock.ahead, timedelta(days=days)
            try:
                await self._advance_sweep(worker, -1)
            finally:
                clock.ahead = before

        self._call(worker, advance, Fault())

    async def _advance_sweep(self, worker: int, number: int) -> None:
        started = list(dict.fromkeys(self.world.workflows.sweeps))
        if len(started) >= -number:
            await self.world.workers[worker].advance_sweep.run(started[number], self.world.workflows)

    # What an administrator of the cluster does

    @rule(slug=slugs, replicas=st.integers(1, 3))
    def scale(self, slug: str, replicas: int) -> None:
        if not (self.stalled or self.unsettled):
            self._call(0, lambda: self._scale(slug, replicas), Fault())

    async def _scale(self, slug: str, replicas: int) -> None:
        tenant = await self.world.tenant(slug)
        if tenant.state is TenantState.ACTIVE:
            home = self._home(tenant)
            workload = home.objects[KIND, "product"]
            home.objects[KIND, "product"] = {**workload, "spec": {**workload["spec"], "replicas": replicas}}
            self.kept[tenant.instance] = kept_of(tenant, home)

    # What must hold

    @rule()
    def settle(self) -> None:
        self._run(self._settle())

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._run(self._settle())
        finally:
            self.runner.close()

    def _call(self, worker: int, work: Callable[[], Awaitable[Any]], fault: Fault) -> None:
        if fault.how != "stall" or self.stalled is None:
            self._run(self._called(worker, work, fault))

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something, after the source has reported what it saw until now, and check what must always hold."""

        async def run() -> None:
            if hasattr(self, "world"):
                await self._source_reports()
            await work
            assert not self.storage.false_sleeps, self.storage.false_sleeps
            twice = [each for each, count in self.storage.sleeps.items() if count > 1]
            assert not twice, twice
            self._assert_nothing_removed()
            if not (self.stalled or self.unsettled):
                found = await violations(self.world, at_rest=False)
                assert not found, found

        self.runner.run(run())

    async def _called(self, worker: int, work: Callable[[], Awaitable[Any]], fault: Fault) -> None:
        injected = self.world.workers[worker].faults
        injected.reset()

        async def call() -> None:
            CALL.set(object())
            try:
                await work()
            except (Conflict, Invalid, NotFound, Transient):
                self.unsettled |= fault.how != "none"  # refused, which is right

        stall: Stall | None = None
        match fault.how:
            case "lose":
                injected.lose(fault.number)
            case "fail":
                injected.fail(fault.number, Transient("on purpose"))
            case "die" | "stall":
                stall = injected.stall(fault.number, after=fault.after)
            case _:
                pass
        self.unsettled |= fault.how != "none"
        task = asyncio.create_task(call())
        if stall is not None:
            await stall.reached_or_done(task)
        if fault.how == "stall" and stall is not None and not task.done():
            self._stall(Stalled(worker, stall, task))
        elif fault.how == "die":
            task.cancel()
            await asyncio.wait([task])
            worker = worker if self.stalled is None else 1 - self.stalled.worker
            self.pair[worker] = self.world.replacement(worker)
            self._stall(self.stalled)
        else:
            await task
        injected.reset()

    def _stall(self, stalled: Stalled | None) -> None:
        """Let a worker do nothing but the call in which it stalls, or let both work again."""
        self.stalled = stalled
        self.world.workers = list(self.pair) if stalled is None else [self.pair[1 - stalled.worker]] * 2

    async def _go_on(self) -> None:
        if self.stalled is not None:
            stalled = self.stalled
            stalled.stall.release()
            try:
                await stalled.call
            finally:
                self._stall(None)

    async def _source_reports(self) -> None:
        truth, now = self.storage.truth, self.world.clock.now()
        if truth.silent_since is not None:
            return
        record, reports = self.world.workers[0].record_activity, list(self.unreported)
        for slug, at in reports:
            try:
                await record.record(Slug(slug), SOURCE, at)
            except NotFound:
                continue  # it was deleted
            truth.uses.setdefault(slug, []).append(at)
        self.unreported.clear()
        await record.record_all(SOURCE, [], cluster=ClusterName(""), watched=Window(truth.watched_since, now))
        truth.reported_since = truth.watched_since

    async def _settle(self) -> None:
        """Let everything come to an end: nobody stalls, the clusters respond, and the timers run for a while."""
        await self._go_on()
        for cluster in self.world.kubernetes.values():
            cluster.away = None
        found: list[str] = []
        for number in range(ROUNDS):
            await self.world.run(until=self.world.clock.monotonic() + 600)
            self.world.clock.advance(600)
            await self._source_reports()
            await self.world.timers(worker=number % 2)
            await self._end_sweep()
            await self.world.run(until=self.world.clock.monotonic() + 600)
            found = await violations(self.world)
            if not found:
                break
            await self.world.worker.reconciliation.run(self.world.workflows)
            if number == ROUNDS // 2:
                await self._resize(10)  # a wake waits for room, for as long as that takes
        assert not found, found
        assert not (problems := log_problems(row for row, _ in self.storage.rows["tenants"].values())), problems
        assert not self.storage.rewritten
        self.unsettled = False
        for slug in SLUGS:
            try:
                tenant = await self.world.tenant(slug)
            except NotFound:
                continue
            if tenant.state.has_instance:
                kept, before = kept_of(tenant, self._home(tenant)), self.kept.get(tenant.instance)
                assert before is None or kept == before, f"{slug} had {before}, and has {kept}"
                self.kept[tenant.instance] = kept

    async def _end_sweep(self) -> None:
        for number in range(100):
            await self.world.workers[number % 2].sweeps.resume(self.world.workflows)
            started = list(dict.fromkeys(self.world.workflows.sweeps))
            if not started:
                return
            worker = self.world.workers[number % 2]
            CALL.set(object())
            progress = await worker.advance_sweep.run(started[-1], self.world.workflows)
            if progress.ended:
                return
            await self.world.run(until=self.world.clock.monotonic() + progress.wait)
            self.world.clock.advance(progress.wait)
            await self.world.timers(worker=number % 2)
        raise AssertionError("the sweep does not end")

    async def _resize(self, capacity: int) -> None:
        clusters = self.world.worker.clusters
        for name in self.world.kubernetes:
            stored = await clusters.get(name)
            await clusters.save(
                stored.with_value(replace(stored.value, capacity=max(capacity, stored.value.allocated)))
            )

    def _home(self, tenant: Tenant) -> FakeNamespace:
        return self.world.kubernetes[tenant.cluster].namespaces[namespace_name(tenant.instance)]

    def _assert_nothing_removed(self) -> None:
        """What was ever active has its namespace and its volume, until somebody has it deleted."""
        homes = {name: each for cluster in self.world.kubernetes.values() for name, each in cluster.namespaces.items()}
        for instance, kept in self.kept.items():
            if instance not in self.storage.deletions | self.forgotten:
                home = homes.get(namespace_name(instance))
                assert home is not None, f"{kept.slug} has lost its data"
                assert home.claims == kept.claims, f"{kept.slug} has another volume"


def kept_of(tenant: Tenant, home: FakeNamespace) -> Kept:
    """Return what a tenant keeps; one that sleeps has recorded how many pods it had."""
    objects = {key: each for key, each in home.objects.items() if key[0] not in (KIND, ROUTE)}
    replicas = tenant.replicas.get("product") or replicas_of(home.objects[KIND, "product"])
    return Kept(tenant.slug, objects, dict(home.claims), replicas)


TestHistories = History.TestCase
TestHistories.settings = settings(max_examples=50, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
