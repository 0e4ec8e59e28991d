"""HTTP for operators: reports. Needs the host's master key."""

from datetime import UTC, date, timedelta
from typing import Literal

import azure.functions as func

from functions.current import container
from functions.http.csv_table import MEDIA_TYPE, csv_of
from functions.http.endpoint import endpoint
from functions.http.replying import json_response
from functions.http.report_responses import LatencyLine, LatencyReport
from functions.http.requests import Day
from functions.http.route import USUAL_PROBLEMS, Parameter, Route, ok
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Grouping
from shared.errors import Invalid

MAX_DAYS = 400  # of a report: a year, and the same month of the year before
USUAL_DAYS = timedelta(days=7)


@endpoint(
    Route(
        method="GET",
        path="reports/latency",
        summary="Report how long operations took, with quantiles",
        level=func.AuthLevel.ADMIN,
        parameters=(
            Parameter("query", "kind", LatencyKind, "Only this kind; else each kind has lines of its own."),
            Parameter("query", "from", Day, "The first day in UTC; by default 6 days before the last."),
            Parameter(
                "query", "to", Day, f"The last day in UTC; by default today. A report has at most {MAX_DAYS} days."
            ),
            Parameter("query", "by", Grouping, "What has a line of its own; by default `none`."),
            Parameter("query", "format", Literal["json", "csv"], "`csv` for spreadsheets; `json` by default."),
        ),
        responses=(*ok("The report.", LatencyReport), *ok("Its lines as CSV.", str, media_type=MEDIA_TYPE)),
        problems=USUAL_PROBLEMS,
    )
)
async def report_latency(req: func.HttpRequest) -> func.HttpResponse:
    """Report how long operations took that ended in a range of days."""
    first, last = _range(req)
    kinds = (LatencyKind(req.params["kind"]),) if "kind" in req.params else tuple(LatencyKind)
    by = Grouping(req.params.get("by", Grouping.NONE))
    report = container().report_latency
    items = tuple(LatencyLine.of(each) for each in await report.lines(kinds, first, last, by))
    if req.params.get("format") == "csv":
        return func.HttpResponse(csv_of(items, LatencyLine), mimetype=MEDIA_TYPE)
    rolled_at = await report.rolled_at()
    return json_response(LatencyReport(first_day=first, last_day=last, by=by, rolled_at=rolled_at, items=items))


def _range(req: func.HttpRequest) -> tuple[date, date]:
    """Return the first and the last day of a report; raises Invalid."""
    today = container().clock.now().astimezone(UTC).date()
    last = date.fromisoformat(req.params["to"]) if "to" in req.params else today
    first = date.fromisoformat(req.params["from"]) if "from" in req.params else last - USUAL_DAYS + timedelta(days=1)
    if first > last:
        raise Invalid(("?from", f"the first day, {first}, is after the last, {last}"))
    if (last - first).days >= MAX_DAYS:
        raise Invalid(("?from", f"ask for at most {MAX_DAYS} days; {first} to {last} are {(last - first).days + 1}"))
    return first, last
