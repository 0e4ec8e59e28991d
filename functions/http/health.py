"""HTTP: whether the app serves requests, and whether its dependencies respond."""

from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.replying import json_response
from functions.http.responses import Health, Readiness
from functions.http.route import USUAL_PROBLEMS, Response, Route, ok
from shared.application.dependencies import OK


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
        summary="Ask tables, task hub and each cluster whether they respond",
        level=func.AuthLevel.ANONYMOUS,
        responses=(
            *ok("All respond.", Readiness),
            Response(HTTPStatus.SERVICE_UNAVAILABLE, "At least one of them does not respond.", Readiness),
        ),
        problems=USUAL_PROBLEMS,
    )
)
async def readyz(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Ask tables, task hub and each cluster; 503 names each that does not respond."""
    checks = await container().dependencies.run(container().workflows(client))
    ready = all(result == OK for result in checks.values())
    return json_response(Readiness(ready=ready, checks=checks), status=200 if ready else 503)
