"""HTTP for operators: reports of latency. Needs the host's master key."""

import azure.functions as func

from functions.current import container
from functions.http.csv_table import MEDIA_TYPE, csv_response
from functions.http.endpoint import endpoint
from functions.http.latency_responses import LatencyLine, LatencyReport
from functions.http.replying import json_response
from functions.http.report_range import FORMAT, TO, report_range
from functions.http.requests import Day
from functions.http.route import USUAL_PROBLEMS, Parameter, Route, ok
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Grouping

USUAL_DAYS = 7
FROM = Parameter("query", "from", Day, "The first day in UTC; by default 6 days before the last.")


@endpoint(
    Route(
        method="GET",
        path="reports/latency",
        summary="Report how long operations took, with quantiles",
        level=func.AuthLevel.ADMIN,
        parameters=(
            Parameter("query", "kind", LatencyKind, "Only this kind; else each kind has lines of its own."),
            FROM,
            TO,
            Parameter("query", "by", Grouping, "What has a line of its own; by default `none`."),
            FORMAT,
        ),
        responses=(*ok("The report.", LatencyReport), *ok("Its lines as CSV.", str, media_type=MEDIA_TYPE)),
        problems=USUAL_PROBLEMS,
    )
)
async def report_latency(req: func.HttpRequest) -> func.HttpResponse:
    """Report how long operations took that ended in a range of days."""
    first, last = report_range(req, container().clock.now(), usual_days=USUAL_DAYS)
    kinds = (LatencyKind(req.params["kind"]),) if "kind" in req.params else tuple(LatencyKind)
    by = Grouping(req.params.get("by", Grouping.NONE))
    report = container().report_latency
    items = tuple(LatencyLine.of(each) for each in await report.lines(kinds, first, last, by))
    if req.params.get("format") == "csv":
        return csv_response(items, LatencyLine)
    rolled_at = await report.rolled_at()
    return json_response(LatencyReport(first_day=first, last_day=last, by=by, rolled_at=rolled_at, items=items))
