"""A sweep: what it decided on each tenant, and why."""

from urllib.parse import urlencode

import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html
from functions.http.pages.session import Session
from functions.http.replying import page_of
from functions.http.route import LIMIT, NEXT, SWEEP, Parameter
from shared.domain.dormancy import Outcome

OUTCOME = Parameter("query", "outcome", Outcome, "Only decisions with this outcome; else all are listed.")


@page("GET", "ops/sweeps/{id}", "Show a sweep with its decisions", (SWEEP, OUTCOME, LIMIT, NEXT))
async def show_ops_sweep(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show a sweep with a page of its decisions."""
    sweep = await container().sweeps.get(req.route_params["id"])
    outcome = Outcome(req.params["outcome"]) if "outcome" in req.params else None
    decisions = await page_of(
        req,
        lambda limit, token: container().sweep_records.decisions(sweep.id, outcome, limit=limit, token=token),
    )
    kept = {name: req.params[name] for name in ("outcome", "limit") if name in req.params}
    further = urlencode({**kept, "next": decisions.next_token}) if decisions.next_token else ""
    return html(
        "sweep",
        session=session,
        sweep=sweep,
        outcome=outcome,
        outcomes=tuple(Outcome),
        decisions=decisions.items,
        further=further,
    )
