"""Random histories: whatever callers, clocks and the task hub do, everything ends and nothing is left behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.lifecycle import OperationKind
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome
from shared.errors import Conflict, NotFound, QueueFull
from tests.support.builders import new_cluster
from tests.support.faults import Stall
from tests.support.world import PORTAL, World, new_world, violations

SLUGS = ("ann-1", "bob-1", "cat-1")
VERSIONS = ("1.0.0", "missing-1", "slow-1", "never-ready-1")

ACTIVITIES = {
    OperationKind.PROVISION: (Activity.APPLY, Activity.AWAIT, Activity.REMOVE),
    OperationKind.HIBERNATE: (Activity.STOP, Activity.RESUME),
    OperationKind.WAKE: (Activity.APPLY, Activity.AWAIT, Activity.STOP),
    OperationKind.DELETE: (Activity.REMOVE,),
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
class Late:
    """A worker begins an activity of a tenant's last operation, and stalls before one of its calls."""

    slug: str
    which: int
    number: int


@dataclass(frozen=True, slots=True)
class Die:
    """All calls that stall arrive, and their workers stop for good."""


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

    async def begin(self, world: World, late: Late) -> None:
        operation = (await world.tenant(late.slug)).operation
        world.add_worker()
        worker = world.workers.pop()
        last, never = worker.faults.stall(late.number), worker.faults.stall(late.number + 1)
        activities = ACTIVITIES[operation.kind]
        activity = worker.activities[activities[late.which % len(activities)]]
        task = asyncio.create_task(activity.run(world.work(operation), world.workflows))
        await last.reached_or_done(task)
        self.stalled.append((task, last, never))

    async def die(self) -> None:
        for task, last, never in self.stalled:
            last.release()
            await never.reached_or_done(task)
            task.cancel()
        self.stalled.clear()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, min_size=5, max_size=30))
async def test_every_history_ends_and_leaves_nothing(history: list[Event]) -> None:
    clusters = [new_cluster(capacity=1), new_cluster("two", capacity=1)]
    world = await new_world(workers=2, clusters=clusters, max_concurrent=1, max_queued=2)
    for event in history:
        try:
            await happen(world, event)
        except (Conflict, NotFound, QueueFull):
            continue  # refused, which is right
        assert await violations(world, at_rest=False) == []
    for _ in range(6):  # recovery's timer: what it ended and has not yet started again can make others wait
        await world.run(until=world.clock.monotonic() + 600)
        world.clock.advance(600)
        await world.timers()
    await world.run()
    assert await violations(world) == []


ann = st.just("ann-1")
asked = st.sampled_from(["sleep", "wake", "sleep", "wake", "cancel", "retry", "delete"])
crashes: st.SearchStrategy[Event | Late | Die] = st.one_of(
    st.builds(Ask, asked, ann, st.just("1.0.0"), workers),
    st.builds(Late, ann, st.integers(0, 2), st.integers(1, 16)),
    st.builds(Drive, st.sampled_from([1, 2, 3, 500])),
    st.builds(Die),
    st.builds(SignUp, ann, st.just("1.0.0"), workers),
    st.builds(Recover, st.booleans(), workers),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(crashes, min_size=5, max_size=30))
async def test_every_crash_is_repaired(history: Sequence[Event | Late | Die]) -> None:
    world, dying = await new_world(workers=2, max_concurrent=2), Dying()
    await world.active("ann-1")
    for event in history:
        try:
            match event:
                case Late():
                    await dying.begin(world, event)
                case Die():
                    await dying.die()
                case _:
                    await happen(world, event)
        except (Conflict, NotFound, QueueFull):
            continue  # refused, which is right
    await dying.die()
    for _ in range(6):
        await world.run(until=world.clock.monotonic() + 600)
        world.clock.advance(600)
        await world.timers()
    await world.run()
    for _ in range(2):
        world.clock.advance(3600)
        await world.worker.reconciliation.run(world.workflows)
        await world.run()
    assert await violations(world) == []
