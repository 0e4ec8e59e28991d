"""HTTP: follow an operation, and cancel it."""

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import accepted, caller_of, json_response
from functions.http.responses import Operation
from functions.http.route import (
    ACCEPTED,
    ACTOR,
    KEY,
    OPERATION,
    OPERATION_PROBLEMS,
    POLL_AFTER,
    USUAL_PROBLEMS,
    WAIT,
    Header,
    Route,
    ok,
)
from shared.domain import operations


@endpoint(
    Route(
        method="GET",
        path="operations/{id}",
        summary="Show an operation",
        parameters=(OPERATION,),
        responses=ok(
            "The operation as it stands.",
            Operation,
            Header("Retry-After", WAIT, f"{POLL_AFTER}, while it is open.", always=False),
        ),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def show_operation(req: func.HttpRequest) -> func.HttpResponse:
    """Show an operation; while it is open, Retry-After says when to poll again."""
    return await shown(await container().history.operation(req.route_params["id"]))


async def shown(operation: operations.Operation) -> func.HttpResponse:
    """Respond with an operation as it stands."""
    position = await container().admission.position(operation)
    wait = operation.poll_after(container().clock.now())
    headers = {"Retry-After": str(wait)} if operation.is_open else {}
    return json_response(Operation.of(operation, position), headers=headers)


@endpoint(
    Route(
        method="POST",
        path="operations/{id}/cancel",
        summary="Ask an operation to end and to undo what it did; asking again is safe",
        parameters=(OPERATION, KEY, ACTOR),
        responses=(ACCEPTED,),
        problems=OPERATION_PROBLEMS,
    )
)
async def cancel_operation(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Ask an operation to end and to undo what it did."""
    workflows = container().workflows(client)
    return accepted(await container().cancel.cancel(req.route_params["id"], caller_of(req), workflows))
