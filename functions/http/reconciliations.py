"""HTTP for operators: what reconciliation has found. Needs the host's master key."""

import azure.functions as func

from functions.current import container
from functions.http.cluster_responses import FindingPage
from functions.http.endpoint import endpoint
from functions.http.replying import json_response, page_of
from functions.http.route import LIMIT, NEXT, USUAL_PROBLEMS, Parameter, Route, ok
from shared.domain.reconciliation import FindingState


@endpoint(
    Route(
        method="GET",
        path="reconciliations",
        summary="List what on the clusters does not match the records, as of the last hourly comparison",
        level=func.AuthLevel.ADMIN,
        parameters=(Parameter("query", "state", FindingState, "Only those in this state."), LIMIT, NEXT),
        responses=ok("A part of the findings.", FindingPage),
        problems=USUAL_PROBLEMS,
    )
)
async def list_reconciliations(req: func.HttpRequest) -> func.HttpResponse:
    """List what on the clusters does not match the records; `next` continues a list."""
    wanted = req.params.get("state")
    state = FindingState(wanted) if wanted else None
    page = await page_of(req, lambda limit, token: container().findings.list(state, limit=limit, token=token))
    return json_response(FindingPage.of(page))
