"""Reports of costs over HTTP, on fakes: in JSON and as CSV, that sums agree, and what is wrong with a request."""

import csv
import io
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import pytest

from functions.http import cost_reports
from functions.http.cost_responses import CostReport, FleetReport, TenantCostReport
from shared.application.report_costs import ReportCosts
from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName, ClusterState
from shared.domain.cost_components import Component
from shared.domain.cost_report import Grouping
from shared.domain.slugs import Slug
from shared.errors import NotFound
from tests.support.builders import new_cluster, new_settings
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer

DAY = 86400.0
COMPONENTS = [each.value for each in Component]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which acme is awake from 2026-02-28 on, and asleep from 2026-03-03 on, and beta is always awake."""
    settings = new_settings()
    costs = settings.costs.model_copy(update={"price_region": "westeurope"})
    made = await new_world(
        settings=settings.model_copy(update={"costs": costs}),
        clusters=[new_cluster(), new_cluster("two", state=ClusterState.CORDONED)],
    )
    made.kubernetes[ClusterName("one")].machines = [Nodes("Standard_D4as_v7", spot=False, count=1)]
    await made.worker.metering.run()
    await made.active("acme")
    await made.active("beta", plan="standard")
    made.clock.advance(3 * DAY)
    await made.sleep("acme")
    await made.run()
    made.clock.advance(2 * DAY)
    await made.worker.metering.run()
    monkeypatch.setattr(cost_reports, "container", lambda: WorldContainer(made))
    return made


async def call(name: str, path: str, query: str = "") -> func.HttpResponse:
    """Call a registered trigger as the worker does."""
    url = f"https://berth.example.com/api/{path}{f'?{query}' if query else ''}"
    route = {"slug": path.split("/")[1]} if path.startswith("tenants/") else {}
    req = func.HttpRequest(method="GET", url=url, params=dict(parse_qsl(query)), route_params=route, body=b"")
    return await registered_functions()[name].get_user_function()(req)


async def report(name: str, path: str, query: str = "") -> Any:
    response = await call(name, path, query)
    assert response.status_code == 200, response.get_body()
    return json.loads(response.get_body())


def parts(costs: Any) -> Decimal:
    return sum((Decimal(costs[name]) for name in COMPONENTS), Decimal(0))


async def test_a_tenant_has_a_line_for_each_day(world: World) -> None:
    found = await report("report_tenant_costs", "tenants/acme/costs", "from=2026-02-28")
    TenantCostReport.model_validate(found)
    assert [each["period"] for each in found["items"]] == [
        *("2026-02-28", "2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"),
    ]
    assert [(each["awake_hours"], each["asleep_hours"]) for each in found["items"][2:]] == [
        *(("24.000", "0.000"), ("12.001", "11.999"), ("0.000", "24.000")),
    ]
    for each in found["items"]:
        assert Decimal(each["total"]) == parts(each)
    assert [each["is_final"] for each in found["items"]] == [True, True, True, True, False]
    assert Decimal(found["items"][4]["saved"]) > 0
    assert (found["items"][4]["compute"], found["items"][4]["idle"]) == ("0", "0")


async def test_the_last_two_days_may_still_change(world: World) -> None:
    found = await report("report_tenant_costs", "tenants/beta/costs", "from=2026-03-04")
    assert [(each["period"], each["is_final"]) for each in found["items"]] == [
        *(("2026-03-04", False), ("2026-03-05", False)),
    ]


async def test_a_tenant_that_is_unknown_is_not_found(world: World) -> None:
    response = await call("report_tenant_costs", "tenants/nosuch/costs")
    assert (response.status_code, json.loads(response.get_body())["type"]) == (404, "/api/problems/not-found")
    assert "there is no tenant nosuch" in json.loads(response.get_body())["detail"]
    csv_of_it = await call("report_tenant_costs", "tenants/nosuch/costs", "format=csv")
    assert csv_of_it.status_code == 404


async def test_a_tenant_without_costs_has_an_empty_report(world: World) -> None:
    await world.sign_up("gamma")
    assert (await report("report_tenant_costs", "tenants/gamma/costs"))["items"] == []


async def test_what_a_tenant_that_is_gone_cost_is_kept(world: World) -> None:
    others = (await new_world()).worker.tenants  # where there is no acme, not even its tombstone
    costs = ReportCosts(world.worker.cost_ledger, others)
    first, last = date(2026, 2, 28), date(2026, 3, 4)
    assert len(await costs.of_tenant(Slug("acme"), first, last, by_month=False)) == 5
    with pytest.raises(NotFound):
        await costs.of_tenant(Slug("acme"), first - timedelta(days=9), first - timedelta(days=8), by_month=False)


async def test_months_are_the_sums_of_their_days(world: World) -> None:
    by_day = await report("report_tenant_costs", "tenants/beta/costs", "from=2026-02-01")
    by_month = await report("report_tenant_costs", "tenants/beta/costs", "from=2026-02-01&step=month")
    assert [(each["period"], each["is_final"]) for each in by_month["items"]] == [
        *(("2026-02", True), ("2026-03", False))
    ]
    for month in by_month["items"]:
        days = [each for each in by_day["items"] if each["period"].startswith(month["period"])]
        assert Decimal(month["total"]) == sum(Decimal(each["total"]) for each in days)
        assert Decimal(month["month_to_date"]) == Decimal(month["total"])


async def test_groups_add_up_to_the_whole(world: World) -> None:
    whole = await report("report_costs", "reports/costs", "from=2026-02-28")
    CostReport.model_validate(whole)
    assert Decimal(whole["total"]) == parts(whole) > 0
    for by in Grouping:
        found = await report("report_costs", "reports/costs", f"from=2026-02-28&by={by}")
        if by is not Grouping.NONE:
            assert sum(Decimal(each["total"]) for each in found["items"]) == Decimal(whole["total"]), by
            assert len(found["items"]) > 1
        assert found["total"] == whole["total"]


async def test_the_fleet_is_compared_with_the_goal(world: World) -> None:
    found = await report("report_costs", "reports/costs")
    assert (found["first_day"], found["last_day"]) == ("2026-03-01", "2026-03-05")
    assert (found["is_complete"], found["metered_until"][:10]) == (False, "2026-03-05")
    assert (found["goal"], found["former"], found["currency"]) == ("10.0", "82.0", "USD")
    assert [(each["plan"], each["customers"]) for each in found["customers"]] == [
        ("standard", 1),
        ("trial", 1),
        ("", 2),
    ]
    assert [each["tenant"] for each in found["over_goal"]] == ["beta", "acme"]
    assert found["over_goal"][0]["reason"].endswith("is the largest part of its last day")
    assert Decimal(found["run_rate_per_customer"]) * 2 == pytest.approx(Decimal(found["run_rate"]), abs=Decimal("0.02"))
    assert Decimal(found["unshared"]) > 0  # the control plane of the cluster without a tenant


async def test_the_fleet_is_as_it_was_metered(world: World) -> None:
    found = await report("report_fleet", "reports/fleet")
    FleetReport.model_validate(found)
    assert (found["awake"], found["asleep"]) == (1, 1)
    one, two = found["clusters"]
    assert one["nodes"] == [{"machine": "Standard_D4as_v7", "spot": False, "count": 1}]
    assert [(each["plan"], each["awake"], each["asleep"]) for each in one["plans"]] == [
        *(("standard", 1, 0), ("trial", 0, 1)),
    ]
    assert (two["plans"], Decimal(two["run_rate"]) > 0) == ([], True)
    assert Decimal(one["run_rate"]) > Decimal("0.220") * 730


async def test_lines_come_as_csv(world: World) -> None:
    for name, path in (("report_costs", "reports/costs"), ("report_tenant_costs", "tenants/acme/costs")):
        query = "by=plan&format=csv" if name == "report_costs" else "format=csv"
        response = await call(name, path, query)
        assert response.mimetype == "text/csv"
        lines = list(csv.DictReader(io.StringIO(response.get_body().decode())))
        assert all(Decimal(each["total"]) == parts(each) for each in lines)
        assert len(lines) > 2


async def test_before_the_first_metering_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = await new_world()
    await empty.sign_up("acme")
    monkeypatch.setattr(cost_reports, "container", lambda: WorldContainer(empty))
    found = await report("report_costs", "reports/costs", "by=day")
    assert (found["items"], found["total"], found["metered_until"]) == ([], "0", None)
    assert (await report("report_fleet", "reports/fleet"))["clusters"] == []
    assert (await report("report_tenant_costs", "tenants/acme/costs"))["items"] == []


@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("by=tenant", "?by", "give one of: none, day, month, component, plan, cluster, state"),
        ("from=2026-03-09", "?from", "the first day, 2026-03-09, is after the last, 2026-03-05"),
        ("from=2025-01-01", "?from", "ask for at most 400 days; 2025-01-01 to 2026-03-05 are 429"),
    ],
)
async def test_a_wrong_request_is_told_what_to_do(world: World, query: str, pointer: str, detail: str) -> None:
    response = await call("report_costs", "reports/costs", query)
    problem = json.loads(response.get_body())
    assert (response.status_code, problem["errors"]) == (422, [{"pointer": pointer, "detail": detail}])
