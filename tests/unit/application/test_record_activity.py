"""Reports of activity: few writes, nothing moved back, nothing vouched for that is not recorded."""

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.application.record_activity import AHEAD, Rejection, Report
from shared.domain.activity import TenantActivity, Watch
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.dormancy import MARGIN, Window
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug
from shared.errors import Invalid, NotFound, Transient
from shared.settings import ActivitySettings
from tests.support.builders import new_cluster, new_settings
from tests.support.clock import START
from tests.support.world import PORTAL, World, new_world

ACME, ONE = Slug("acme"), ClusterName("one")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WATCHED = Window(START - MINUTE, START)


async def used(*slugs: str, workers: int = 1) -> World:
    """Return a world with these active tenants; by default `acme`."""
    world = await new_world(workers=workers, clusters=[new_cluster(capacity=100)])
    for slug in slugs or ("acme",):
        await world.active(slug)
    for each in world.workers:
        each.faults.reset()
    return world


async def activity(world: World, slug: str = "acme") -> TenantActivity | None:
    found = await TableActivityRepository(world.storage).find(Slug(slug))
    return found and found.value


async def watches(world: World) -> list[Watch]:
    return list(await TableActivityRepository(world.storage).watches())


async def report(world: World, at: datetime | None = None, *, worker: int = 0, source: str = "heartbeat") -> bool:
    return await world.workers[worker].record_activity.record(ACME, source, at)


def writes(world: World) -> int:
    return sum(name.startswith("transact") for worker in world.workers for name in worker.faults.calls)


async def test_an_activity_is_recorded_with_its_source() -> None:
    world = await used()
    assert await report(world)
    assert await activity(world) == TenantActivity(
        ACME, (await world.tenant()).instance, {"heartbeat": world.clock.now()}
    )


async def test_three_workers_write_once_in_five_minutes() -> None:
    world = await used(workers=3)
    written: list[bool] = []
    for second in range(0, 3600, 10):
        source = f"agent-{second % 7}"
        written += await asyncio.gather(*(report(world, worker=worker, source=source) for worker in range(3)))
        world.clock.advance(10)
    assert written.count(True) == 12
    found = await activity(world)
    assert found is not None
    assert found.last_at is not None
    assert world.clock.now() - found.last_at <= 5 * MINUTE + timedelta(seconds=10)


async def test_a_report_that_is_no_news_costs_one_read() -> None:
    world = await used()
    await report(world)
    world.worker.faults.reset()
    assert not await report(world)
    assert world.worker.faults.calls == ["get tenants"]


async def test_no_order_of_reports_moves_the_last_one_back() -> None:
    world = await used(workers=2)
    times = [world.clock.now() - minutes * MINUTE for minutes in range(0, 600, 20)]
    shuffled = random.Random(3)
    for _ in range(5):
        shuffled.shuffle(times)
        last = max(times[:9])
        await asyncio.gather(*(report(world, each, worker=number % 2) for number, each in enumerate(times[:9])))
        found = await activity(world)
        assert found is not None
        assert found.last_at is not None
        assert found.last_at >= last


async def test_a_time_in_the_future_is_refused_or_now() -> None:
    world = await used()
    now = world.clock.now()
    with pytest.raises(Invalid, match="in the future"):
        await report(world, now + MARGIN + MINUTE)
    assert await activity(world) is None
    await report(world, now + MARGIN)
    found = await activity(world)
    assert found is not None
    assert found.last_at == now


async def test_who_is_not_there_has_no_activity() -> None:
    world = await used("acme", "other")
    for slug in ("nobody", "gone"):
        if slug == "gone":
            await world.active(slug)
            await world.worker.delete.delete(Slug(slug), PORTAL, world.workflows)
            await world.run()
        with pytest.raises(NotFound):
            await world.worker.record_activity.record(Slug(slug), "heartbeat", None)
        assert await activity(world, slug) is None


async def test_the_next_instance_does_not_inherit() -> None:
    world = await used()
    await report(world, source="former")
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    world.clock.advance(40 * 24 * 3600)
    tenant = await world.active()
    status = await world.worker.dormancy.status(ACME)
    assert [each.last_activity_at for each in status.signals] == []
    await report(world)
    found = await activity(world)
    assert found is not None
    assert (found.instance, set(found.by_source)) == (tenant.instance, {"heartbeat"})


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_lost_response_is_no_second_write(number: int) -> None:
    world = await used()
    world.worker.faults.lose(number)
    await report(world)
    found = await activity(world)
    assert found is not None
    assert found.last_at == world.clock.now()


async def test_a_batch_says_what_it_did_not_record() -> None:
    world = await used("acme", "other")
    now = world.clock.now()
    other = (await world.tenant("other")).instance
    reports = [
        Report(now, slug=ACME),
        Report(now, slug=Slug("nobody")),
        Report(None, instance=other),
        Report(now, instance=InstanceId("0000000000")),
    ]
    rejected = await world.worker.record_activity.record_all("gateway", reports, cluster=ONE, watched=WATCHED)
    assert rejected == [
        Rejection(1, "there is no tenant nobody"),
        Rejection(3, "no tenant has the instance 0000000000 on the cluster one"),
    ]
    for slug in ("acme", "other"):
        found = await activity(world, slug)
        assert found is not None
        assert found.by_source == {"gateway": now}
    assert await watches(world) == [Watch("gateway", "one", WATCHED)]


async def test_nothing_is_vouched_for_that_is_not_recorded() -> None:
    world = await used()
    record = world.worker.record_activity.record_all
    world.worker.faults.away = lambda name: Transient("away") if name == "transact tenants" else None
    with pytest.raises(Transient):
        await record("gateway", [Report(None, slug=ACME)], cluster=NO_CLUSTER, watched=WATCHED)
    world.worker.faults.reset()
    late = Report(world.clock.now() + 2 * MARGIN, slug=ACME)
    rejected = await record("gateway", [late], cluster=NO_CLUSTER, watched=WATCHED)
    assert rejected == [Rejection(0, AHEAD)]
    assert await watches(world) == []


async def test_a_short_gap_does_not_end_a_long_watch() -> None:
    forgiving = new_settings().model_copy(update={"activity": ActivitySettings(max_gap_seconds=1800)})
    world = await new_world(settings=forgiving)
    now = world.clock.now()
    for since, until in ((-600 * HOUR, -HOUR), (-HOUR + 30 * MINUTE, now - now)):
        window = Window(now + since, now + until)
        await world.worker.record_activity.record_all("gateway", [], cluster=NO_CLUSTER, watched=window)
    [found] = await watches(world)
    assert found.window == Window(now - 600 * HOUR, now)
    assert found.gaps == (Window(now - HOUR, now - HOUR + 30 * MINUTE),)


async def test_a_watch_grows_and_ends_at_a_gap() -> None:
    world = await used()
    now = world.clock.now()

    async def watch(since: int, until: int) -> Window:
        window = Window(now + since * MINUTE, now + until * MINUTE)
        await world.worker.record_activity.record_all("gateway", [], cluster=NO_CLUSTER, watched=window)
        [found] = await watches(world)
        return found.window

    assert await watch(-60, -50) == Window(now - 60 * MINUTE, now - 50 * MINUTE)
    assert await watch(-50, -40) == Window(now - 60 * MINUTE, now - 40 * MINUTE)
    assert await watch(-30, 5) == Window(now - 30 * MINUTE, now)  # never beyond now
    world.worker.faults.reset()
    assert await watch(-50, -40) == Window(now - 30 * MINUTE, now)
    assert writes(world) == 0
    with pytest.raises(Invalid, match="/watched/until"):
        await watch(-30, 16)


async def test_two_workers_that_watch_lose_nothing() -> None:
    world = await used(workers=2)
    now = world.clock.now()
    windows = [Window(now - (minute + 1) * MINUTE, now - minute * MINUTE) for minute in range(6)]
    await asyncio.gather(
        *(
            world.workers[number % 2].record_activity.record_all("gateway", [], cluster=NO_CLUSTER, watched=each)
            for number, each in enumerate(windows)
        )
    )
    [found] = await watches(world)
    assert found.window.until == now
