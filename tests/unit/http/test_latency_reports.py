"""Reports over HTTP, on fakes: in JSON and as CSV, and what is wrong with a request."""

import csv
import io
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import pytest

from functions.http import latency_reports
from functions.http.endpoint import ROUTES
from functions.http.latency_responses import LatencyReport
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer

DAY = 86400.0


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which two signups succeeded and one failed on 2026-02-28, and one succeeded on each next day."""
    made = await new_world()
    await made.active("acme", version="slow-1")
    await made.active("beta", plan="standard")
    await made.active("gamma", version="missing-1")
    await made.worker.roll_up_latency.run()
    for slug in ("delta", "epsilon"):
        made.clock.advance(DAY)
        await made.active(slug)
        await made.worker.roll_up_latency.run()
    monkeypatch.setattr(latency_reports, "container", lambda: WorldContainer(made))
    return made


async def call(query: str = "") -> func.HttpResponse:
    """Call the registered trigger as the worker does."""
    url = f"https://berth.example.com/api/reports/latency{f'?{query}' if query else ''}"
    req = func.HttpRequest(method="GET", url=url, params=dict(parse_qsl(query)), body=b"")
    return await registered_functions()["report_latency"].get_user_function()(req)


async def report(query: str = "") -> Any:
    response = await call(query)
    assert response.status_code == 200, response.get_body()
    return json.loads(response.get_body())


async def test_the_last_seven_days_are_reported(world: World) -> None:
    found = await report()
    assert (found["first_day"], found["last_day"], found["by"]) == ("2026-02-24", "2026-03-02", "none")
    assert found["rolled_at"].startswith("2026-03-02T")
    [line] = found["items"]
    assert [line[name] for name in ("kind", "group", "count", "succeeded", "failures", "cancelled")] == [
        *("provision", ""),
        *(5, 4, 1, 0),
    ]
    assert (line["reasons"], line["error"]) == ({"image": 1}, 0.01)
    assert 0 < line["p50"] <= line["p95"] <= line["p99"]
    assert 0 < line["waiting_mean"] <= line["mean"]
    LatencyReport.model_validate_json(json.dumps(found))


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("by=day", {"2026-02-28": 3, "2026-03-01": 1, "2026-03-02": 1}),
        ("by=day&from=2026-03-01", {"2026-03-01": 1, "2026-03-02": 1}),
        ("by=day&from=2026-02-28&to=2026-03-01", {"2026-02-28": 3, "2026-03-01": 1}),
        ("by=day&to=2026-02-28", {"2026-02-28": 3}),
        ("by=week", {"2026-W09": 4, "2026-W10": 1}),
        ("by=outcome", {"failed": 1, "succeeded": 4}),
        ("by=cluster", {"one": 5}),
        ("by=plan", {"standard": 1, "trial": 4}),
        ("by=step", {"place": 5, "apply": 5, "start": 5, "remove": 1}),
        ("kind=provision", {"": 5}),
        ("kind=wake", {}),
        ("from=2027-01-01&to=2027-12-31", {}),
    ],
)
async def test_lines_are_as_asked_for(world: World, query: str, counts: dict[str, int]) -> None:
    assert {each["group"]: each["count"] for each in (await report(query))["items"]} == counts


async def test_what_is_not_rolled_up_yet_is_missing(world: World) -> None:
    await world.active("zeta")
    assert [each["count"] for each in (await report())["items"]] == [5]
    await world.worker.roll_up_latency.run()
    assert [each["count"] for each in (await report())["items"]] == [6]


async def test_the_rows_of_operations_are_not_read(world: World) -> None:
    world.worker.faults.reset()
    await report("from=2026-01-01&by=week")
    assert set(world.worker.faults.calls) == {"query latencydaily", "get latencydaily"}


async def test_a_report_comes_as_csv(world: World) -> None:
    response = await call("by=plan&format=csv")
    assert response.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(response.get_body().decode())))
    assert [(each["group"], each["count"], each["failures"], each["reasons"]) for each in lines] == [
        ("standard", "1", "0", ""),
        ("trial", "4", "1", "image: 1"),
    ]
    assert all(float(each["p95"]) >= 0 and each["error"] == "0.01" for each in lines)


async def test_before_the_first_roll_up_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = WorldContainer(await new_world())
    monkeypatch.setattr(latency_reports, "container", lambda: empty)
    found = await report()
    assert (found["items"], found["rolled_at"]) == ([], None)


@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("kind=signup", "?kind", "give one of: provision, hibernate, wake, delete, sweep"),
        ("by=month", "?by", "give one of: none, day, week, outcome, cluster, plan, step"),
        ("from=2026-02-30", "?from", "give a day of this millennium, such as 2026-03-01"),
        ("to=20260301", "?to", "give a day of this millennium, such as 2026-03-01"),
        ("from=2026-03-02&to=2026-03-01", "?from", "the first day, 2026-03-02, is after the last, 2026-03-01"),
        (
            "from=2025-01-01&to=2026-02-05",
            "?from",
            "ask for at most 400 days; 2025-01-01 to 2026-02-05 are 401",
        ),
        ("from=2999-12-31", "?from", "the first day, 2999-12-31, is after the last, 2026-03-02"),
        ("group=day", "?group", "use kind, from, to, by, format only"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(world: World, query: str, pointer: str, detail: str) -> None:
    response = await call(query)
    problem = json.loads(response.get_body())
    assert (response.status_code, problem["type"]) == (422, "/api/problems/invalid-request")
    assert problem["errors"] == [{"pointer": pointer, "detail": detail}]


async def test_four_hundred_days_are_allowed(world: World) -> None:
    last = world.clock.now().date()
    assert (await report(f"from={last - timedelta(days=399)}"))["items"]


def test_only_operators_see_reports() -> None:
    assert ROUTES["report_latency"].level is func.AuthLevel.ADMIN
