"""A berth with a past of some days, on fakes: its reports answer the commands as those of a running one."""

import json
from collections.abc import Sequence
from typing import Any

import azure.functions as func
import pytest

from cli.api import Api, Json, ProblemError
from functions.http import cost_reports, latency_reports
from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName
from shared.settings import Settings
from tests.support.builders import new_cluster, new_settings
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer

HOUR = 3600.0
DAY = 24 * HOUR
FUNCTIONS = {"costs": "report_costs", "fleet": "report_fleet", "latency": "report_latency"}


async def past_world(settings: Settings | None = None) -> World:
    """Return a world from 2026-02-28 to 2026-03-09: acme sleeps from 2026-03-03 to 2026-03-06, beta is always awake."""
    settings = settings or new_settings()
    costs = settings.costs.model_copy(update={"price_region": "westeurope"})
    world = await new_world(settings=settings.model_copy(update={"costs": costs}), clusters=[new_cluster()])
    world.kubernetes[ClusterName("one")].machines = [Nodes("Standard_D4as_v7", spot=False, count=1)]
    await world.worker.metering.run()  # sees the node
    await world.active("acme")
    await world.active("beta", plan="standard")
    await world.active("gamma", version="missing-1")
    for begin in (world.sleep, world.wake):
        world.clock.advance(3 * DAY)
        await begin("acme")
        await world.run()
    world.clock.advance(3 * DAY)
    await keep_records(world)
    return world


async def keep_records(world: World) -> None:
    """Do what the hourly timers do."""
    await world.worker.metering.run()
    await world.worker.roll_up_latency.run()


def answer(monkeypatch: pytest.MonkeyPatch, world: World, sweeps: Sequence[Json] = ()) -> list[tuple[str, Json]]:
    """Let the commands talk to a world; return the requests that they send, with their queries."""
    sent: list[tuple[str, Json]] = []
    for module in (cost_reports, latency_reports):
        monkeypatch.setattr(module, "container", lambda: WorldContainer(world))
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")

    async def call(_: Api, method: str, path: str, body: None = None, **query: Any) -> Json:
        sent.append((path, query))
        assert method == "GET"
        if path == "sweeps":
            return {"items": list(sweeps), "next": "", "enabled": True}
        of_tenant = path.startswith("tenants/")
        function = registered_functions()["report_tenant_costs" if of_tenant else FUNCTIONS[path.rpartition("/")[2]]]
        route = {"slug": path.split("/")[1]} if of_tenant else {}
        url = f"https://berth.example.com/api/{path}"
        req = func.HttpRequest(method="GET", url=url, params=query, route_params=route, body=b"")
        response = await function.get_user_function()(req)
        found = json.loads(response.get_body())
        if response.status_code != 200:
            raise ProblemError(response.status_code, found)
        return found

    monkeypatch.setattr(Api, "call", call)
    return sent
