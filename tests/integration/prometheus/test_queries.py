"""The default queries, evaluated by a real Prometheus over what it would have scraped of gateways in 40 minutes."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from local.ports import Ports
from local.processes import Processes
from shared.adapters.prometheus import Prometheus
from shared.adapters.tables.activity import TableActivityRepository
from shared.application.poll_activity import DELAY, STEP, PollActivity
from shared.domain.slugs import Slug
from shared.settings import ActivitySettings
from tests.support.builders import new_cluster
from tests.support.gateway_history import GatewayHistory, served
from tests.support.polling import until
from tests.support.prometheus import prometheus
from tests.support.world import new_world

MINUTES = range(5, 45, 5)  # when the steps end
SLUGS = ("acme", "other")


@dataclass
class Seen:
    """What berth made of the histories, by the minute in which a step ended.

    Attributes:
        used: When each tenant was used.
        gaps: When it was not known of a cluster whether anybody used its tenants.
    """

    used: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    gaps: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


@dataclass(frozen=True)
class Replay:
    """Has histories scraped and asks for the activity of each step, one after the other."""

    processes: Processes
    ports: Ports

    async def __call__(self, *gateways: GatewayHistory, clusters: Sequence[str] = ("one",), **settings: Any) -> Seen:
        """Return what is found out, with the namespaces of tenants in the histories named by their slugs."""
        world = await new_world(clusters=[new_cluster(each) for each in clusters])
        names = {slug: f"tenant-{(await world.active(slug)).instance}" for slug in SLUGS}
        step = STEP.total_seconds()
        origin = datetime.fromtimestamp(datetime.now(UTC).timestamp() // step * step, UTC) - timedelta(minutes=40)
        histories = [
            replace(each, requests={names.get(slug, slug): times for slug, times in each.requests.items()})
            for each in gateways
        ]
        seen = Seen({slug: [] for slug in SLUGS}, {cluster: [] for cluster in clusters})
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(served(histories, origin, self.ports.take()))
            server = await stack.enter_async_context(prometheus(self.processes, self.ports, {url: ""}))
            metrics = Prometheus(server.url, cast("Any", None))
            stack.push_async_callback(metrics.close)

            async def is_scraped() -> bool:
                return bool((await metrics.query("up == 1", datetime.now(UTC))).samples)

            await until(is_scraped)
            activity = TableActivityRepository(world.storage)
            poll = PollActivity(
                metrics=metrics,
                record=world.worker.record_activity,
                activity=activity,
                clusters=world.worker.clusters,
                reservations=world.worker.reservations,
                clock=world.clock,
                settings=ActivitySettings(prometheus_url=server.url, **settings),
            )
            for minute in MINUTES:
                at = origin + timedelta(minutes=minute)
                world.clock.step((at + DELAY - world.clock.now()).total_seconds())
                await poll.run()
                for slug in SLUGS:
                    found = await activity.find(Slug(slug))
                    if found and found.value.by_source["prometheus"] == at:
                        seen.used[slug].append(minute)
                for cluster in clusters:
                    watch = await activity.find_watch("prometheus", cluster)
                    if watch is None or watch.value.window.until != at:
                        seen.gaps[cluster].append(minute)
        return seen


@pytest.fixture
def replay(processes: Processes, ports: Ports) -> Replay:
    return Replay(processes, ports)


async def test_the_only_request_of_a_week_is_seen(replay: Replay) -> None:
    seen = await replay(GatewayHistory(requests={"acme": [12]}))
    assert seen.used == {"acme": [15, 20], "other": []}
    assert seen.gaps == {"one": []}


async def test_a_scrape_that_fails_loses_nothing(replay: Replay) -> None:
    for unscraped in ((14.5, 15.5), (21, 25.2)):
        seen = await replay(GatewayHistory(requests={"acme": [12, 23]}, unscraped=unscraped))
        assert seen.used == {"acme": [15, 20, 25, 30] if unscraped[0] < 20 else [15, 20, 30, 35], "other": []}
        assert seen.gaps == {"one": []}


async def test_minutes_without_a_scrape_are_a_gap(replay: Replay) -> None:
    seen = await replay(GatewayHistory(requests={"acme": [20], "other": [2]}, unscraped=(16, 27)))
    assert seen.used == {"acme": [30, 35], "other": [5, 10]}
    assert seen.gaps == {"one": [25]}


async def test_a_restart_is_a_gap_and_loses_nothing_after(replay: Replay) -> None:
    history = GatewayHistory(requests={"acme": [2, 3, 4, 23], "other": [2, 22.05]}, began=(-60, 22.1))
    seen = await replay(history)
    assert seen.used == {"acme": [5, 10, 25, 30, 35, 40], "other": [5, 10]}
    assert seen.gaps == {"one": [25, 30, 35]}


async def test_a_counter_as_high_as_before_a_restart_is_seen(replay: Replay) -> None:
    seen = await replay(GatewayHistory(requests={"acme": [2, 23]}, began=(-60, 22.1)))
    assert seen.used == {"acme": [5, 10, 25, 30, 35, 40], "other": []}


async def test_a_new_gateway_makes_no_gap(replay: Replay) -> None:
    old = GatewayHistory(requests={"other": [2, 30]})
    seen = await replay(old, GatewayHistory(name="b", began=(22,), requests={"acme": [22.1]}))
    assert seen.used == {"acme": [25, 30, 35, 40], "other": [5, 10, 35, 40]}
    assert seen.gaps == {"one": []}


async def test_a_gateway_that_is_gone_makes_one_gap(replay: Replay) -> None:
    gone = GatewayHistory(name="b", ended=22, requests={"acme": [2]})
    seen = await replay(GatewayHistory(requests={"other": [3]}), gone)
    assert seen.used == {"acme": [5, 10], "other": [5, 10]}
    assert seen.gaps == {"one": [30]}


async def test_each_cluster_has_gaps_of_its_own(replay: Replay) -> None:
    silent = GatewayHistory(cluster="two", unscraped=(0, 40))
    working = [GatewayHistory(name=name, requests={"acme": [12]}) for name in ("a", "b")]
    seen = await replay(*working, silent, clusters=("one", "two", "three"))
    assert seen.used == {"acme": [15, 20], "other": []}
    assert seen.gaps == {"one": [], "two": [*MINUTES], "three": [*MINUTES]}


async def test_a_monitors_requests_can_be_ignored(replay: Replay) -> None:
    monitored = [minute + 0.3 for minute in range(-60, 40)]
    history = GatewayHistory(requests={"acme": monitored, "other": [*monitored, 21, 22], "berth-waiting-room": [3]})
    seen = await replay(history, ignore_requests=11)
    # What was counted before anybody scraped is of an unknown time, which counts as the first one.
    assert seen.used == {"acme": [5, 10], "other": [5, 10, 25, 30]}
    assert seen.gaps == {"one": []}
