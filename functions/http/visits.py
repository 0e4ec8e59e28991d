"""HTTP: what visitors of a tenant without a route are told. Asked by each cluster's waiting room, so without a key."""

from typing import Annotated

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import json_response
from functions.http.responses import Visit
from functions.http.route import USUAL_PROBLEMS, WAIT, Header, Parameter, Route, ok
from shared.domain.visits import MAX_HOST_LENGTH, Answer, VisitState

HOST = Parameter(
    "path",
    "host",
    Annotated[str, Field(min_length=1, max_length=MAX_HOST_LENGTH, examples=["acme.weu-1.example.com"])],
    "The host name in a tenant's address, SLUG.DOMAIN without a port.",
)
TOLD = ok(
    "What the visitor is told, a second old at most.",
    Visit,
    Header("Retry-After", WAIT, "Seconds after which to ask again."),
    Header("Cache-Control", str, "Always `no-store`."),
    Header("Berth-Visit-State", VisitState, "The `state`, for a waiting room, which does not read the body."),
)
PROBLEMS = (Kind.NOT_FOUND, Kind.TOO_MANY_REQUESTS, *USUAL_PROBLEMS)


@endpoint(
    Route(
        method="POST",
        path="visits/{host}",
        summary="Wake the tenant at an address if it sleeps. However many ask, it is one operation",
        level=func.AuthLevel.ANONYMOUS,
        parameters=(HOST,),
        responses=TOLD,
        problems=PROBLEMS,
    )
)
async def begin_visit(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Wake the tenant at an address if it sleeps, and say how far that is."""
    host = req.route_params["host"]
    return _told(host, await container().visits.visit(host, container().workflows(client)))


@endpoint(
    Route(
        method="GET",
        path="visits/{host}",
        summary="Show what a visitor of an address is told, and wake nobody",
        level=func.AuthLevel.ANONYMOUS,
        parameters=(HOST,),
        responses=TOLD,
        problems=PROBLEMS,
    )
)
async def show_visit(req: func.HttpRequest) -> func.HttpResponse:
    """Show what a visitor of an address is told."""
    host = req.route_params["host"]
    return _told(host, await container().visits.show(host))


def _told(host: str, answer: Answer) -> func.HttpResponse:
    headers = {
        "Retry-After": str(answer.retry_after),
        "Cache-Control": "no-store",
        "Berth-Visit-State": answer.state.value,
    }
    return json_response(Visit.of(host.lower(), answer), headers=headers)
