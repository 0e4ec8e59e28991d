"""HTTP: whether the app serves requests, whether it is ready, and what its dependencies say."""

from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.replying import json_response
from functions.http.responses import Dependencies, Health, Readiness
from functions.http.route import USUAL_PROBLEMS, Response, Route, ok
from shared.application.dependencies import are_ready


@endpoint(
    Route(
        method="GET",
        path="healthz",
        strict=False,  # whoever probes may add something
        summary="Report that the process serves requests",
        level=func.AuthLevel.ANONYMOUS,
        responses=ok("The process serves requests.", Health),
        problems=(),
    )
)
async def healthz(req: func.HttpRequest) -> func.HttpResponse:
    """Report that the process serves requests. No I/O."""
    return json_response(Health(status="ok"))


@endpoint(
    Route(
        method="GET",
        path="readyz",
        summary="Report whether tables, task hub and a cluster responded a few seconds ago",
        level=func.AuthLevel.ANONYMOUS,
        responses=(
            *ok("They did.", Readiness),
            Response(HTTPStatus.SERVICE_UNAVAILABLE, "One did not; /api/dependencies names it.", Readiness),
        ),
        problems=USUAL_PROBLEMS,
    )
)
async def readyz(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Report whether berth is ready, and nothing else: whoever asks has no key, and causes few checks."""
    ready = await container().dependencies.is_ready(container().workflows(client))
    return json_response(Readiness(ready=ready), status=200 if ready else 503)


@endpoint(
    Route(
        method="GET",
        path="dependencies",
        summary="Ask tables, task hub and each cluster whether they respond",
        responses=ok("What each of them says.", Dependencies),
        problems=USUAL_PROBLEMS,
    )
)
async def list_dependencies(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Ask tables, task hub and each cluster whether they respond."""
    checks = await container().dependencies.run(container().workflows(client))
    return json_response(Dependencies(ready=are_ready(checks), checks=dict(checks)))
