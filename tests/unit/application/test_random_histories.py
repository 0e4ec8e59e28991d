"""Random histories: whatever callers, clocks and the task hub do, everything ends and nothing is left behind."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome
from shared.errors import Conflict, NotFound
from tests.support.faults import Stall
from tests.support.world import PORTAL, World, new_world, violations

SLUGS = ("ann-1", "bob-1", "cat-1")
VERSIONS = ("1.0.0", "missing-1", "slow-1", "never-ready-1")

# What the activities of an operation change on a cluster.
CHANGES = {
    OperationKind.PROVISION: [(Activity.APPLY, "apply"), (Activity.AWAIT, "open_route"), (Activity.REMOVE, "remove")],
    OperationKind.HIBERNATE: [(Activity.STOP, "stop"), (Activity.STOP, "close_route"), (Activity.RESUME, "apply")],
    OperationKind.WAKE: [(Activity.APPLY, "apply"), (Activity.AWAIT, "open_route"), (Activity.STOP, "stop")],
    OperationKind.DELETE: [(Activity.REMOVE, "remove")],
}

slugs = st.sampled_from(SLUGS)
workers = st.integers(0, 1)


@dataclass(frozen=True, slots=True)
class SignUp:
    slug: str
    version: str
    worker: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A cancellation, a retry, a deletion, or a request to sleep or to wake."""

    what: str
    slug: str
    version: str
    worker: int


@dataclass(frozen=True, slots=True)
class Drive:
    steps: int


@dataclass(frozen=True, slots=True)
class Move:
    """Time passes, or the clock is set."""

    seconds: float
    stepped: bool


@dataclass(frozen=True, slots=True)
class Again:
    """An earlier activity is delivered once more."""

    number: int
    worker: int


@dataclass(frozen=True, slots=True)
class Recover:
    """Recovery runs; before it, the task hub may have been lost."""

    lost: bool
    worker: int


@dataclass(frozen=True, slots=True)
class Round:
    """An operation begins, and a worker stalls before a change; others end the operation, and do what comes next.

    If `dies`, all changes that stall are made then, and their workers stop for good.
    """

    what: str
    steps: int
    change: int
    then: list[str]
    dies: bool


type Event = SignUp | Ask | Drive | Move | Again | Recover

versions = st.sampled_from(VERSIONS)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(SignUp, slugs, versions, workers),
    st.builds(Ask, st.sampled_from(["cancel", "retry", "sleep", "wake", "delete"]), slugs, versions, workers),
    st.builds(Drive, st.integers(1, 12)),
    st.builds(Move, st.sampled_from([1.0, 61.0, 301.0, 31 * 86400.0]), st.just(False)),
    st.builds(Move, st.sampled_from([-3600.0, -61.0, 3600.0]), st.just(True)),
    st.builds(Again, st.integers(0, 50), workers),
    st.builds(Recover, st.booleans(), workers),
)


async def happen(world: World, event: Event) -> None:
    match event:
        case SignUp(slug, version, worker):
            await world.sign_up(slug, worker=worker, version=version)
        case Ask(what, slug, version, worker):
            chosen = world.workers[worker]
            if what == "cancel":
                await world.cancel((await world.tenant(slug)).operation, worker=worker)
            elif what == "sleep":
                await chosen.sleep.sleep(Slug(slug), PORTAL, world.workflows)
            elif what == "wake":
                await chosen.wake.wake(Slug(slug), PORTAL, world.workflows)
            elif what == "retry":
                await chosen.retry.retry(Slug(slug), version, PORTAL, world.workflows)
            else:
                await chosen.delete.delete(Slug(slug), PORTAL, world.workflows)
        case Drive(steps):
            await world.run(steps=steps)
        case Move(seconds, stepped):
            (world.clock.step if stepped else world.clock.advance)(seconds)
        case Again(number, worker):
            if world.delivered:
                await world.deliver_again(world.delivered[number % len(world.delivered)], worker=worker)
        case Recover(lost, worker):
            if lost:
                world.workflows.running.clear()
            await world.timers(worker=worker)


@dataclass(slots=True)
class Dying:
    """Workers that stall, each with its last call and the one that it never makes."""

    stalled: list[tuple[asyncio.Task[Outcome], Stall, Stall]] = field(
        default_factory=list[tuple[asyncio.Task[Outcome], Stall, Stall]]
    )

    async def begin(self, world: World, change: int) -> None:
        operation = (await world.tenant("ann-1")).operation
        activity, name = CHANGES[operation.kind][change % len(CHANGES[operation.kind])]
        worker = world.new_worker()
        last = worker.faults.stall_next(name)
        task = asyncio.create_task(worker.activities[activity].run(world.work(operation), world.workflows))
        await last.reached_or_done(task)
        self.stalled.append((task, last, worker.faults.stall(len(worker.faults.calls) + 1)))

    async def die(self) -> None:
        for task, last, never in self.stalled:
            last.release()
            await never.reached_or_done(task)
            task.cancel()
        self.stalled.clear()


asked = st.sampled_from(["turn", "turn", "turn", "cancel", "retry", "delete"])
rounds = st.builds(Round, asked, st.integers(0, 1), st.integers(0, 2), st.lists(asked, max_size=2), st.booleans())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rounds, min_size=1, max_size=6))
async def test_every_crash_is_repaired(history: list[Round]) -> None:
    world, dying = await new_world(workers=2), Dying()
    await world.active("ann-1")

    async def ask(what: str) -> None:
        if what == "turn":
            what = "sleep" if (await world.tenant("ann-1")).state is TenantState.ACTIVE else "wake"
        with suppress(Conflict, NotFound):  # refused, which is right
            await happen(world, Ask(what, "ann-1", "1.0.0", worker=0))

    for each in history:
        await ask(each.what)
        await world.run(steps=each.steps)
        await dying.begin(world, each.change)
        await world.run()
        for what in each.then:
            await ask(what)
            await world.run()
        if each.dies:
            await dying.die()
    await dying.die()
    for _ in range(2):
        world.clock.advance(3600)
        await world.timers()
        await world.run()
        await world.worker.reconciliation.run(world.workflows)
        await world.run()
    assert await violations(world) == []
