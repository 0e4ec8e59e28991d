"""HTTP for operators: the bill beside the cost ledger. Needs the host's master key."""

from datetime import date

import azure.functions as func

from functions.current import container
from functions.http.bill_requests import BillImport
from functions.http.bill_responses import BillComparison, BillReport
from functions.http.csv_table import MEDIA_TYPE, csv_response
from functions.http.endpoint import endpoint
from functions.http.replying import json_response
from functions.http.report_range import FORMAT
from functions.http.requests import Day
from functions.http.route import BODY_PROBLEMS, USUAL_PROBLEMS, Parameter, Route, ok
from functions.http.validation import read

PATH = "reports/bill"


@endpoint(
    Route(
        method="PUT",
        path=PATH,
        summary="Import days of the bill, or only compare them with the cost ledger",
        level=func.AuthLevel.ADMIN,
        body=BillImport,
        responses=ok("The comparison of these days.", BillReport),
        problems=(*BODY_PROBLEMS, *USUAL_PROBLEMS),
    )
)
async def import_bill(req: func.HttpRequest) -> func.HttpResponse:
    """Import days of a billing period, each in the place of what was imported for it from that period before."""
    body = read(req, BillImport)
    report = await container().bills.import_days(
        body.to_domain(), period=body.period, currency=body.currency, source=body.source, dry_run=body.dry_run
    )
    return json_response(BillReport.of(report))


@endpoint(
    Route(
        method="GET",
        path=PATH,
        summary="Show how far the cost ledger is off the bill, by day and group",
        level=func.AuthLevel.ADMIN,
        parameters=(
            Parameter("query", "from", Day, "The first day, in UTC; by default that of the last one's month."),
            Parameter("query", "to", Day, "The last day, in UTC; by default today. At most 92 days."),
            FORMAT,
        ),
        responses=(
            *ok("The comparison of the days that were imported.", BillReport),
            *ok("The days as CSV.", str, media_type=MEDIA_TYPE),
        ),
        problems=USUAL_PROBLEMS,
    )
)
async def show_bill(req: func.HttpRequest) -> func.HttpResponse:
    """Show how far the cost ledger is off the bill."""
    first, last = (date.fromisoformat(req.params[name]) if name in req.params else None for name in ("from", "to"))
    report = BillReport.of(await container().bills.report(first, last))
    if req.params.get("format") != "csv":
        return json_response(report)
    return csv_response(report.days, BillComparison)
