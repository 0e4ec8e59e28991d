"""HTTP for operators: start, follow and stop sweeps, and see what they decided. Needs the host's master key."""

from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.current import container
from functions.http.csv_table import MEDIA_TYPE, csv_response
from functions.http.endpoint import endpoint, request_path
from functions.http.problems import Kind
from functions.http.replying import actor_of, json_response, page_of
from functions.http.requests import SweepBegin, SweepSwitch
from functions.http.route import (
    ACTOR,
    BODY_PROBLEMS,
    LIMIT,
    NEXT,
    SWEEP,
    USUAL_PROBLEMS,
    Header,
    Parameter,
    Response,
    Route,
    ok,
)
from functions.http.sweep_responses import Sweep, SweepDecision, SweepDecisionPage, SweepPage, SweepsEnabled
from functions.http.validation import read
from shared.domain.dormancy import Outcome

LOCATION = Header(
    "Location",
    Annotated[str, Field(json_schema_extra={"format": "uri-reference"})],
    "The path under which to follow the sweep.",
)


@endpoint(
    Route(
        method="POST",
        path="sweeps",
        summary="Start a sweep, or join the one that runs",
        level=func.AuthLevel.ADMIN,
        parameters=(ACTOR,),
        body=SweepBegin,
        body_required=False,
        responses=(Response(HTTPStatus.ACCEPTED, "The sweep that runs.", Sweep, (LOCATION,)),),
        problems=(*BODY_PROBLEMS, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def start_sweep(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start a sweep, or join the one that runs."""
    body = read(req, SweepBegin) if req.get_body() else SweepBegin()
    workflows = container().workflows(client)
    sweep = await container().sweeps.start(dry_run=body.dry_run, actor=actor_of(req), workflows=workflows)
    return json_response(Sweep.of(sweep), status=202, headers={"Location": f"/api/sweeps/{sweep.id}"})


@endpoint(
    Route(
        method="GET",
        path="sweeps",
        summary="List the sweeps, newest first",
        level=func.AuthLevel.ADMIN,
        parameters=(LIMIT, NEXT),
        responses=ok("A part of the list.", SweepPage),
        problems=USUAL_PROBLEMS,
    )
)
async def list_sweeps(req: func.HttpRequest) -> func.HttpResponse:
    """List the sweeps, newest first; `next` continues the list."""
    page = await page_of(req, lambda limit, token: container().sweep_records.list(limit=limit, token=token))
    return json_response(SweepPage.of(page, enabled=await container().sweeps.is_enabled()))


@endpoint(
    Route(
        method="PATCH",
        path="sweeps",
        summary="Switch sweeps on or off",
        level=func.AuthLevel.ADMIN,
        parameters=(ACTOR,),
        body=SweepSwitch,
        responses=ok("Whether sweeps may put tenants to sleep now.", SweepsEnabled),
        problems=(*BODY_PROBLEMS, *USUAL_PROBLEMS),
    )
)
async def switch_sweeps(req: func.HttpRequest) -> func.HttpResponse:
    """Switch sweeps on or off; BERTH_SWEEP_ENABLED can keep them off."""
    await container().sweeps.switch(enabled=read(req, SweepSwitch).enabled, actor=actor_of(req))
    return json_response(SweepsEnabled(enabled=await container().sweeps.is_enabled()))


@endpoint(
    Route(
        method="GET",
        path="sweeps/{id}",
        summary="Show a sweep",
        level=func.AuthLevel.ADMIN,
        parameters=(SWEEP,),
        responses=ok("The sweep as it stands.", Sweep),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def show_sweep(req: func.HttpRequest) -> func.HttpResponse:
    """Show a sweep."""
    return json_response(Sweep.of(await container().sweeps.get(req.route_params["id"])))


@endpoint(
    Route(
        method="POST",
        path="sweeps/{id}/stop",
        summary="Let a sweep end before its next action",
        level=func.AuthLevel.ADMIN,
        parameters=(SWEEP, ACTOR),
        responses=ok("The sweep as it stands.", Sweep),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def stop_sweep(req: func.HttpRequest) -> func.HttpResponse:
    """Let a sweep end before its next action."""
    return json_response(Sweep.of(await container().sweeps.stop(req.route_params["id"], actor_of(req))))


@endpoint(
    Route(
        method="GET",
        path="sweeps/{id}/decisions",
        summary="List what a sweep decided about each tenant, why, and what that saves",
        level=func.AuthLevel.ADMIN,
        parameters=(
            SWEEP,
            Parameter("query", "outcome", Outcome, "Only those with this outcome."),
            Parameter("query", "format", Literal["json", "csv"], "`csv` for spreadsheets; `json` by default."),
            LIMIT,
            NEXT,
        ),
        responses=(
            *ok("A part of the list.", SweepDecisionPage),
            *ok(
                "The same as CSV.",
                str,
                Header("Link", str, "The address of what follows, with rel=next; not on the last page.", always=False),
                media_type=MEDIA_TYPE,
            ),
        ),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def list_sweep_decisions(req: func.HttpRequest) -> func.HttpResponse:
    """List what a sweep decided about each tenant, by slug; `next` continues the list."""
    sweep = await container().sweeps.get(req.route_params["id"])
    outcome = Outcome(req.params["outcome"]) if "outcome" in req.params else None

    page = SweepDecisionPage.of(
        await page_of(
            req,
            lambda limit, token: container().sweep_records.decisions(sweep.id, outcome, limit=limit, token=token),
        ),
        ended=not sweep.is_open,
    )
    if req.params.get("format") != "csv":
        return json_response(page)
    kept = {name: req.params[name] for name in ("outcome", "format", "limit") if name in req.params}
    query = urlencode({**kept, "next": page.next})
    headers = {"Link": f'<{request_path(req)}?{query}>; rel="next"'} if page.next else {}
    return csv_response(page.items, SweepDecision, headers)
