"""HTTP: follow an operation."""

import azure.functions as func

from functions.answers import Operation
from functions.http import accepted, answer, caller_of, with_problems
from functions.services import services

bp = func.Blueprint()


@bp.route(route="operations/{id}", methods=["GET"])
@with_problems
async def show_operation(req: func.HttpRequest) -> func.HttpResponse:
    """Show an operation; while it is open, Retry-After says when to look again."""
    operation = await services().records.get_operation(req.route_params["id"])
    wait = operation.look_again(services().clock.now())
    headers = {"Retry-After": str(wait)} if operation.is_open else {}
    return answer(Operation.of(operation), headers=headers)


@bp.route(route="operations/{id}/cancel", methods=["POST"])
@with_problems
async def cancel_operation(req: func.HttpRequest) -> func.HttpResponse:
    """Ask a provisioning to end and to take back what it made."""
    return accepted(await services().lifecycle.cancel(req.route_params["id"], caller_of(req)))
