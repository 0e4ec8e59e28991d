"""Random histories: whatever callers, clocks and the task hub do, everything ends and nothing is left behind."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.slugs import Slug
from shared.errors import Conflict, NotFound, QueueFull
from tests.support.builders import new_cluster
from tests.support.world import PORTAL, World, new_world, violations

SLUGS = ("ann-1", "bob-1", "cat-1")
VERSIONS = ("1.0.0", "missing-1", "slow-1", "never-ready-1")

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
