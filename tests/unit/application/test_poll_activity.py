"""Activity by the gateways' counters: each step once, gaps seen as gaps, and nothing lost while berth did not run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.reservations import TABLE
from shared.application.dormancy import Dormancy
from shared.application.poll_activity import MAX_STEPS, STEP, PollActivity
from shared.application.ports.metrics import Result, Sample
from shared.domain.clusters import ClusterState
from shared.domain.dormancy import Outcome, Window
from shared.domain.slugs import Slug
from shared.errors import Transient
from shared.settings import ActivitySettings
from tests.support.builders import PLANS, new_cluster
from tests.support.world import World, new_world

SETTINGS = ActivitySettings(prometheus_url="http://prometheus")
ACME = Slug("acme")


@dataclass
class FakeMetrics:
    """Implements `shared.application.ports.metrics.Metrics`.

    Attributes:
        used: The requests of a range by namespace, at a moment.
        whole: 1 for each gateway that has lost nothing, at a moment, by cluster; of one that has no label, for "".
        complete: Whether nothing is left out.
        asked: The moments of which it was asked for activity.
    """

    used: Callable[[datetime], dict[str, float]] = lambda _: {}
    whole: Callable[[datetime], dict[str, list[float]]] = lambda _: {"one": [1.0], "two": [1.0, 1.0]}
    complete: bool = True
    asked: list[datetime] = field(default_factory=list[datetime])

    async def query(self, promql: str, at: datetime) -> Result:
        if promql == SETTINGS.coverage_query:
            named = [({"cluster": name} if name else {}, some) for name, some in self.whole(at).items()]
            found = [Sample({"pod": "gateway", **labels}, each) for labels, some in named for each in some]
            return Result(found, self.complete)
        assert promql == SETTINGS.activity_query
        self.asked.append(at)
        samples = [Sample({"destination_service_namespace": name}, each) for name, each in self.used(at).items()]
        return Result(samples, self.complete)


async def polled(metrics: FakeMetrics, settings: ActivitySettings = SETTINGS) -> tuple[World, PollActivity]:
    """Return a world with a tenant on the second of two clusters, and what asks the metrics of it."""
    world = await new_world(clusters=[new_cluster("one", state=ClusterState.CORDONED), new_cluster("two")])
    await world.active()
    return world, polling(world, metrics, settings)


def polling(world: World, metrics: FakeMetrics, settings: ActivitySettings = SETTINGS) -> PollActivity:
    """Return what asks the metrics of a world."""
    worker = world.worker
    return PollActivity(
        metrics=metrics,
        record=worker.record_activity,
        activity=TableActivityRepository(world.storage),
        clusters=worker.clusters,
        reservations=worker.reservations,
        clock=world.clock,
        settings=settings,
    )


async def namespace(world: World) -> str:
    return f"tenant-{(await world.tenant()).instance}"


async def window(world: World, cluster: str = "two") -> Window | None:
    found = await TableActivityRepository(world.storage).find_watch("prometheus", cluster)
    return found and found.value.window


async def last_activity(world: World) -> datetime | None:
    found = await TableActivityRepository(world.storage).find(ACME)
    return found and found.value.last_at


async def test_a_namespace_with_requests_is_an_active_tenant() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    own = await namespace(world)
    metrics.used = lambda _: {own: 3.0, "tenant-0000000000": 5.0, "waiting-room": 9.0, "": 1.0}
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


@pytest.mark.parametrize("whole", [[], [0.0], [1.0, 0.0], [float("nan")]])
async def test_a_gap_is_not_vouched_for(whole: list[float]) -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    own = await namespace(world)
    before = await window(world)
    metrics.whole, metrics.used = lambda _: {"one": [1.0], "two": whole}, lambda _: {own: 1.0}
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == before
    assert await last_activity(world) == metrics.asked[-1]  # what was seen counts all the same
    assert await window(world, "one") == Window(metrics.asked[0] - STEP, metrics.asked[-1])
    gap = metrics.asked[-1]
    metrics.whole = lambda at: {"one": [1.0], "two": whole if at == gap else [1.0]}
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == Window(metrics.asked[-1] - STEP, metrics.asked[-1])


async def test_a_cluster_without_metrics_is_unknown() -> None:
    world = await new_world(clusters=[new_cluster("one"), new_cluster("two")])
    away, other = await world.active(), await world.active("other")
    assert away.cluster != other.cluster
    poll = polling(world, FakeMetrics(whole=lambda _: {other.cluster: [1.0]}))
    activity = TableActivityRepository(world.storage)
    dormancy = Dormancy(activity=activity, plans=PLANS, clock=world.clock, settings=SETTINGS)
    for _ in range(15 * 12):
        world.clock.advance((MAX_STEPS * STEP).total_seconds())
        await poll.run()
    decisions = [(await dormancy.status(each.slug)).decision for each in (away, other)]
    assert [each and each.outcome for each in decisions] == [Outcome.UNKNOWN, Outcome.HIBERNATE]


@pytest.mark.parametrize(("clusters", "is_watched"), [(["one"], True), (["one", "two"], False)])
async def test_only_a_single_cluster_needs_no_label(clusters: list[str], is_watched: bool) -> None:
    world = await new_world(clusters=[new_cluster(each) for each in clusters])
    await polling(world, FakeMetrics(whole=lambda _: {"": [1.0, 1.0]})).run()
    assert [await window(world, each) is not None for each in clusters] == [is_watched for _ in clusters]


async def test_a_label_names_one_cluster_only() -> None:
    world = await new_world(clusters=[new_cluster("one")])
    await polling(world, FakeMetrics(whole=lambda _: {"three": [1.0]})).run()
    assert await window(world, "one") is None
    labelled = SETTINGS.model_copy(update={"cluster_label": "pod"})
    world = await new_world(clusters=[new_cluster("gateway"), new_cluster("two")])
    await polling(world, FakeMetrics(), labelled).run()
    assert await window(world, "gateway") is not None
    assert await window(world, "two") is None


async def test_a_cluster_away_does_not_repeat_the_others() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    metrics.whole = lambda _: {"one": [1.0]}
    for _ in range(2):
        world.clock.advance((MAX_STEPS * STEP).total_seconds())
        await poll.run()
    metrics.asked.clear()
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert len(metrics.asked) == 1
    metrics.whole = FakeMetrics.whole
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == Window(metrics.asked[-1] - STEP, metrics.asked[-1])


async def test_metrics_that_arrive_late_fill_a_clusters_gap() -> None:
    metrics = FakeMetrics()
    world, poll = await polled(metrics)
    await poll.run()
    metrics.whole = lambda _: {"one": [1.0]}
    for _ in range(6):
        world.clock.advance(STEP.total_seconds())
        await poll.run()
    metrics.whole = FakeMetrics.whole
    world.clock.advance(STEP.total_seconds())
    await poll.run()
    assert await window(world) == await window(world, "one") == Window(metrics.asked[0] - STEP, metrics.asked[-1])


async def test_reads_of_reservations_are_as_many_as_clusters() -> None:
    world = await new_world(clusters=[new_cluster("one", capacity=50), new_cluster("two", capacity=50)])
    slugs = [f"tenant{number}" for number in range(12)]
    for each in slugs:
        await world.sign_up(each)
    await world.run()
    names = [f"tenant-{(await world.tenant(each)).instance}" for each in slugs] + ["tenant-0000000000"]
    metrics = FakeMetrics(used=lambda _: dict.fromkeys(names, 1.0))
    poll = polling(world, metrics)
    for _ in range(2):  # what was read in the first run is known in the second, but for a namespace of nobody
        world.worker.faults.reset()
        await poll.run()
        # The reservations on each of the two clusters, and the registrations, if they are not known any more.
        calls = [each for each in world.worker.faults.calls if each.endswith(TABLE)]
        assert set(calls) == {f"query {TABLE}"}
        assert 2 <= len(calls) <= 3
        world.clock.advance((6 * STEP).total_seconds())
    assert len(metrics.asked) == 7
    activity = TableActivityRepository(world.storage)
    assert all([await activity.find(Slug(each)) for each in slugs])


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
