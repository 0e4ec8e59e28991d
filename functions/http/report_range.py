"""The range of days of a report."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import azure.functions as func

from functions.http.requests import Day
from functions.http.route import Parameter
from shared.errors import Invalid

MAX_DAYS = 400  # of a report: a year, and the same month of the year before

TO = Parameter("query", "to", Day, f"The last day in UTC; by default today. A report has at most {MAX_DAYS} days.")
DAYS = (Parameter("query", "from", Day, "The first day in UTC; by default that of the last one's month."), TO)
FORMAT = Parameter("query", "format", Literal["json", "csv"], "`csv` for spreadsheets; `json` by default.")


def report_range(req: func.HttpRequest, now: datetime, *, usual_days: int | None = None) -> tuple[date, date]:
    """Return the first and the last day of a report; raises Invalid.

    Args:
        req: The request.
        now: The present time.
        usual_days: How many days there are without a first one; None lets them begin with the month.
    """
    last = date.fromisoformat(req.params["to"]) if "to" in req.params else now.astimezone(UTC).date()
    usual = last.replace(day=1) if usual_days is None else last - timedelta(days=usual_days - 1)
    first = date.fromisoformat(req.params["from"]) if "from" in req.params else usual
    if first > last:
        raise Invalid(("?from", f"the first day, {first}, is after the last, {last}"))
    if (last - first).days >= MAX_DAYS:
        raise Invalid(("?from", f"ask for at most {MAX_DAYS} days; {first} to {last} are {(last - first).days + 1}"))
    return first, last
