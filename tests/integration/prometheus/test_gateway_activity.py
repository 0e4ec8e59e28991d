"""A real Prometheus scrapes the real simulated gateway, and berth asks it by its default queries.

A minute of berth is a second here, also in the queries.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from local.kubernetes.control_plane import ControlPlane, kubectl
from local.ports import Ports
from local.processes import Processes
from shared.adapters.prometheus import Prometheus
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.activity import TableActivityRepository
from shared.application.poll_activity import DELAY, STEP, PollActivity
from shared.application.ports.metrics import Result
from shared.domain.dormancy import Window
from shared.domain.slugs import Slug
from shared.errors import Unreachable
from shared.settings import ActivitySettings
from tests.support.builders import new_cluster
from tests.support.gateway_objects import apply, namespace, pod, responds, route, service
from tests.support.polling import until
from tests.support.prometheus import PrometheusServer, prometheus
from tests.support.world import World, new_world

SPEED = 60
ORIGIN = datetime.now(UTC)
SCRAPE = timedelta(seconds=30)
CLUSTERS = ("local", "two")
ROOM = "activity-test-room"


def now() -> datetime:
    """Return the time of berth."""
    return ORIGIN + (datetime.now(UTC) - ORIGIN) * SPEED


def in_seconds(query: str) -> str:
    """Return a query with each of its minutes made a second."""
    return re.sub(r"\b(\d+)m\b", r"\1s", query)


class FastMetrics:
    """Implements `shared.application.ports.metrics.Metrics` in the time of berth."""

    def __init__(self, metrics: Prometheus) -> None:
        self._metrics = metrics

    async def query(self, promql: str, at: datetime) -> Result:
        return await self._metrics.query(in_seconds(promql), ORIGIN + (at - ORIGIN) / SPEED)


@dataclass
class Fleet:
    """Two tenants behind the gateway of the first cluster; nothing of the second one can be scraped."""

    plane: ControlPlane
    world: World
    server: PrometheusServer
    metrics: FastMetrics
    poll: PollActivity
    settings: ActivitySettings
    asked: datetime = ORIGIN

    async def visit(self, slug: str) -> None:
        """Send one request to a tenant's address."""
        response = await self.plane.gateway.fetch(f"https://{slug}-activity.{self.plane.gateway.domain}/")
        assert response.status_code == 200

    async def ask(self) -> None:
        """Have berth ask for what was counted, once a minute."""
        if now() - self.asked >= timedelta(minutes=1):
            self.asked = now()
            self.world.clock.step((self.asked - self.world.clock.now()).total_seconds())
            await self.poll.run()

    async def window(self, cluster: str = "local") -> Window | None:
        """Return when the tenants of a cluster were watched."""
        found = await TableActivityRepository(self.world.storage).find_watch("prometheus", cluster)
        return found and found.value.window

    async def last_activity(self, slug: str) -> datetime | None:
        """Return when a tenant was last used."""
        found = await TableActivityRepository(self.world.storage).find(Slug(slug))
        return found and found.value.last_at

    async def watched(self, since: datetime, until_: datetime) -> None:
        """Have berth ask until it knows all activity from one moment to another."""

        async def is_watched() -> bool:
            await self.ask()
            found = await self.window()
            return found is not None and found.since <= since and found.until >= until_

        await until(is_watched, seconds=60)


@pytest.fixture(scope="module")
async def fleet(control_plane: ControlPlane, processes: Processes, ports: Ports) -> AsyncIterator[Fleet]:
    world = await new_world(clusters=[new_cluster(each) for each in CLUSTERS])
    tenants = {slug: f"tenant-{(await world.active(slug)).instance}" for slug in ("acme", "other")}
    managed = {"app.kubernetes.io/managed-by": "berth"}
    domain = control_plane.gateway.domain
    for slug, where in tenants.items():
        host = f"{slug}-activity.{domain}"
        await apply(control_plane, namespace(where, **managed), service(where), pod(where), route(where, host))
    host = f"asleep-activity.{domain}"
    await apply(control_plane, namespace(ROOM, **managed), service(ROOM), pod(ROOM), route(ROOM, host))
    nothing = f"http://127.0.0.1:{ports.take()}/metrics"
    gateways = {control_plane.gateway.metrics_url: "local", nothing: "two"}
    async with prometheus(processes, ports, gateways, scrape=f"{SCRAPE.seconds * 1000 // SPEED}ms") as server:
        client = Prometheus(server.url, cast("Any", None), RetryPolicy(total_timeout=2))
        metrics, settings = FastMetrics(client), ActivitySettings(prometheus_url=server.url)
        poll = PollActivity(
            metrics=metrics,
            record=world.worker.record_activity,
            activity=TableActivityRepository(world.storage),
            clusters=world.worker.clusters,
            reservations=world.worker.reservations,
            clock=world.clock,
            settings=settings,
        )
        yield Fleet(control_plane, world, server, metrics, poll, settings)
        await client.close()
    await kubectl(control_plane, "delete", "namespace", *tenants.values(), ROOM, "--wait=false")


async def test_a_visit_is_activity_of_its_tenant_only(fleet: Fleet) -> None:
    for host in ("acme-activity", "asleep-activity"):
        await responds(fleet.plane, f"{host}.{fleet.plane.gateway.domain}", 200)
    began = now()
    await fleet.watched(began, began + STEP)
    before = now()
    await fleet.visit("acme")
    after = now()
    await fleet.watched(began, after + SCRAPE + STEP)
    last = await fleet.last_activity("acme")
    assert last is not None
    assert before <= last <= after + SCRAPE + 2 * STEP
    assert await fleet.last_activity("other") is None  # whose silence is watched
    assert await fleet.window("two") is None


async def test_a_restarted_gateway_is_a_gap(fleet: Fleet) -> None:
    began = now()
    await fleet.watched(began, began + STEP)
    await fleet.visit("acme")
    stopped = now()
    await fleet.server.processes.stop(f"{fleet.plane.name}-gateway")
    with pytest.raises(httpx.ConnectError):
        await fleet.visit("acme")

    async def is_stopped_for_a_step() -> bool:
        await fleet.ask()
        return now() > stopped + 2 * STEP + DELAY

    await until(is_stopped_for_a_step)
    found = await fleet.window()
    assert found is not None
    assert found.until < stopped + STEP + SCRAPE
    await fleet.server.processes.restart(f"{fleet.plane.name}-gateway")
    await fleet.visit("other")
    visited = now()
    await fleet.watched(visited + STEP, visited + 2 * STEP)
    last = await fleet.last_activity("other")
    assert last is not None
    assert visited <= last <= visited + SCRAPE + 4 * STEP  # for so long all counts of a new gateway count
    found = await fleet.window()
    assert found is not None
    assert found.since >= stopped  # what the gateway counted last is not known
    used = await fleet.metrics.query(fleet.settings.activity_query, last)
    assert [each.value for each in used.samples if each.value] == [1]


async def test_prometheus_away_is_not_silence(fleet: Fleet) -> None:
    began = now()
    await fleet.watched(began, began + STEP)
    await fleet.server.stop()
    stopped = now()

    async def does_not_respond() -> bool:
        try:
            await fleet.ask()
        except Unreachable:
            return now() > stopped + 2 * STEP
        return False

    await until(does_not_respond)
    before = await fleet.window()
    assert before is not None
    assert before.until < stopped
    await fleet.visit("acme")
    await fleet.server.start_again()
    again = now()
    await fleet.watched(again + STEP, again + 2 * STEP)
    found = await fleet.window()
    assert found is not None
    assert found.since > before.until
    last = await fleet.last_activity("acme")  # counted by the gateway meanwhile
    assert last is not None
    assert again <= last
