"""HTTP: is the app alive, and does all that it needs answer."""

import azure.durable_functions as df
import azure.functions as func

from functions.answers import Health, Readiness
from functions.http import answer, with_problems
from functions.services import services

bp = df.Blueprint()


@bp.route(route="healthz", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def healthz(req: func.HttpRequest) -> func.HttpResponse:
    """Say that the process serves requests. No I/O."""
    return answer(Health(status="ok"))


@bp.route(route="readyz", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@bp.durable_client_input(client_name="client")
@with_problems
async def readyz(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Ask tables, task hub and each cluster; 503 names what does not answer."""
    found = await services().readiness.check(services().workflows(client))
    ready = all(word == "ok" for word in found.values())
    return answer(Readiness(ready=ready, checks=found), status=200 if ready else 503)
