"""Activity by the gateways' counters: each step once, gaps seen as gaps, and nothing lost while berth did not run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.application.poll_activity import MAX_STEPS, STEP, PollActivity
from shared.application.ports.metrics import Result, Sample
from shared.domain.clusters import ClusterState
from shared.domain.dormancy import Window
from shared.domain.slugs import Slug
from shared.errors import Transient
from shared.settings import ActivitySettings
from tests.support.builders import new_cluster
from tests.support.world import World, new_world

SETTINGS = ActivitySettings(prometheus_url="http://prometheus")
ACME = Slug("acme")


@dataclass
class FakeMetrics:
    """Implements `shared.application.ports.metrics.Metrics`.

    Attributes:
        used: The requests of a range by namespace, at a moment.
        scrapes: How many scrapes of each gateway worked, at a moment.
        complete: Whether nothing is left out.
        asked: The moments of which it was asked for activity.
    """

    used: Callable[[datetime], dict[str, float]] = lambda _: {}
    scrapes: Callable[[datetime], list[float]] = lambda _: [20.0, 19.0]
    complete: bool = True
    asked: list[datetime] = field(default_factory=list[datetime])

    async def query(self, promql: str, at: datetime) -> Result:
        if promql == SETTINGS.coverage_query:
            return Result([Sample({"pod": "gateway"}, each) for each in self.scrapes(at)], self.complete)
        assert promql == SETTINGS.activity_query
        self.asked.append(at)
        samples = [Sample({"destination_service_namespace": name}, each) for name, each in self.used(at).items()]
        return Result(samples, self.complete)


async def polled(metrics: FakeMetrics, settings: ActivitySettings = SETTINGS) -> tuple[World, PollActivity]:
    """Return a world with a tenant on the second of two clusters, and what asks the metrics of it."""
    world = await new_world(clusters=[new_cluster("one", state=ClusterState.CORDONED), new_cluster("two")])
    await world.active()
    worker = world.worker
    poll = PollActivity(
        metrics=metrics,
        record=worker.record_activity,
        activity=TableActivityRepository(world.storage),
        clusters=worker.clusters,
        reservations=worker.reservations,
        clock=world.clock,
        settings=settings,
    )
    return world, poll


async def namespace(world: World) -> str:
    return f"tenant-{(await world.tenant()).instance}"


async def window(world: World) -> Window | None:
    found = await TableActivityRepository(world.storage).find_watch("prometheus", "")
    return found and found.value.window


async def last_activity(world: World) -> datetime | None:
    found = await TableActivityRepository(world.storage).find(ACME)
    return found and found.value.last_at


async def test_a_namespace_with_requests_is_an_active_tenant() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    own = await namespace(world)
    metrics.used = lambda _: {own: 3.0, "tenant-0000000000": 5.0, "kube-system": 9.0, "": 1.0}
    await poll.run()
    [at] = metrics.asked
    assert timedelta(minutes=2) <= world.clock.now() - at < timedelta(minutes=7)
    assert await last_activity(world) == at
    assert await window(world) == Window(at - STEP, at)


async def test_no_requests_are_no_activity() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    own = await namespace(world)
    metrics.used = lambda _: {own: 0.0, own.removeprefix("tenant-"): 5.0}
    await poll.run()
    assert await last_activity(world) is None
    assert await window(world) is not None


async def test_a_few_requests_can_be_ignored_but_not_unknown_ones() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics, SETTINGS.model_copy(update={"ignore_requests": 4}))
    own = await namespace(world)
    metrics.used = lambda _: {own: 4.0}
    await poll.run()
    assert await last_activity(world) is None
    metrics.used = lambda _: {own: float("nan")}
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await last_activity(world) is not None


async def test_each_step_is_asked_for_once() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    for _ in range(12):
        await poll.run()
        world.clock.advance(100)
    assert len(metrics.asked) == len(set(metrics.asked))
    steps = [later - earlier for earlier, later in zip(metrics.asked, metrics.asked[1:], strict=False)]
    assert set(steps) == {STEP}
    assert await window(world) == Window(metrics.asked[0] - STEP, metrics.asked[-1])


async def test_what_berth_missed_is_asked_for_later() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    first = metrics.asked[0]
    own = await namespace(world)
    used_at = first + 3 * STEP
    metrics.used = lambda at: {own: 1.0} if at == used_at else {}
    world.clock.advance(3600)
    await poll.run()
    assert await last_activity(world) == used_at
    assert await window(world) == Window(first - STEP, first + 12 * STEP)
    world.clock.advance(24 * 3600)  # too long to ask for all of it: a gap
    metrics.asked.clear()
    await poll.run()
    assert len(metrics.asked) == MAX_STEPS
    assert await window(world) == Window(metrics.asked[0] - STEP, metrics.asked[-1])


@pytest.mark.parametrize("scrapes", [[], [18.0], [20.0, 3.0], [0.0], [float("nan")]])
async def test_a_gap_is_not_vouched_for(scrapes: list[float]) -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    own = await namespace(world)
    before = await window(world)
    metrics.scrapes, metrics.used = lambda _: scrapes, lambda _: {own: 1.0}
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == before
    assert await last_activity(world) == metrics.asked[-1]  # what was seen counts all the same
    metrics.scrapes = lambda at: scrapes if at == metrics.asked[1] else [20.0]
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == Window(metrics.asked[-1] - STEP, metrics.asked[-1])


async def test_an_incomplete_result_is_not_vouched_for() -> None:
    metrics = FakeMetrics(complete=False)
    world, poll = await polled(metrics)
    await poll.run()
    assert await window(world) is None


async def test_a_run_that_breaks_off_is_continued() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    world.clock.advance(4 * STEP.total_seconds())
    world.worker.faults.away = lambda name: Transient("away") if name == "transact sources" else None
    with pytest.raises(Transient):
        await poll.run()
    world.worker.faults.reset()
    await poll.run()
    assert await window(world) == Window(metrics.asked[0] - STEP, metrics.asked[-1])
    assert metrics.asked[-1] - metrics.asked[0] == 4 * STEP


def test_prometheus_is_required_where_there_is_one() -> None:
    assert SETTINGS.required == {"prometheus"}
    assert ActivitySettings(required_sources="agent,gateway").required == {"agent", "gateway"}
    assert ActivitySettings().required == frozenset()
