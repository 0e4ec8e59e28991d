"""HTTP for operators: reports of costs. Needs the host's master key."""

from typing import Literal

import azure.functions as func

from functions.current import container
from functions.http.cost_responses import CostLine, CostReport, FleetReport, TenantCostLine, TenantCostReport
from functions.http.csv_table import MEDIA_TYPE, csv_response
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import json_response, slug_of
from functions.http.report_range import DAYS, FORMAT, report_range
from functions.http.route import TENANT, USUAL_PROBLEMS, Parameter, Route, ok
from shared.domain.cost_report import Grouping


@endpoint(
    Route(
        method="GET",
        path="tenants/{slug}/costs",
        summary="Report what one tenant cost",
        level=func.AuthLevel.ADMIN,
        parameters=(
            TENANT,
            *DAYS,
            Parameter("query", "step", Literal["day", "month"], "What has a line of its own; by default `day`."),
            FORMAT,
        ),
        responses=(*ok("The report.", TenantCostReport), *ok("Its lines as CSV.", str, media_type=MEDIA_TYPE)),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def report_tenant_costs(req: func.HttpRequest) -> func.HttpResponse:
    """Report what one tenant cost, also one that is deleted; by default in this month. 404 if it is unknown."""
    slug, (first, last) = slug_of(req), report_range(req, container().clock.now())
    by_month = req.params.get("step") == "month"
    found = await container().report_costs.of_tenant(slug, first, last, by_month=by_month)
    items = tuple(TenantCostLine.of(each) for each in found)
    if req.params.get("format") == "csv":
        return csv_response(items, TenantCostLine)
    return json_response(
        TenantCostReport(tenant=slug, currency=container().currency, first_day=first, last_day=last, items=items)
    )


@endpoint(
    Route(
        method="GET",
        path="reports/costs",
        summary="Report what the fleet cost, against the goal and against the system before",
        level=func.AuthLevel.ADMIN,
        parameters=(
            *DAYS,
            Parameter("query", "by", Grouping, "What has a line of its own; by default `none`."),
            FORMAT,
        ),
        responses=(*ok("The report.", CostReport), *ok("Its lines as CSV.", str, media_type=MEDIA_TYPE)),
        problems=USUAL_PROBLEMS,
    )
)
async def report_costs(req: func.HttpRequest) -> func.HttpResponse:
    """Report what the fleet cost; by default in this month."""
    (first, last), by = report_range(req, container().clock.now()), Grouping(req.params.get("by", Grouping.NONE))
    found = await container().report_costs.of_fleet(first, last, by)
    report = CostReport.of(found, first, last, by, currency=container().currency, settings=container().settings.costs)
    if req.params.get("format") == "csv":
        return csv_response(report.items, CostLine)
    return json_response(report)


@endpoint(
    Route(
        method="GET",
        path="reports/fleet",
        summary="Report what there is now, and what it costs in a month at that rate",
        level=func.AuthLevel.ADMIN,
        responses=ok("The fleet as it was at the last metering.", FleetReport),
        problems=USUAL_PROBLEMS,
    )
)
async def report_fleet(req: func.HttpRequest) -> func.HttpResponse:
    """Report what there is now."""
    clusters, report = await container().report_costs.newest(container().clock.now().date())
    return json_response(
        FleetReport.of(tuple(clusters), report, currency=container().currency, settings=container().settings.costs)
    )
