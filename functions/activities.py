"""The activities: each passes its work to one use case.

They have a client of the task hub, because whoever gives a slot back starts the next operation.
"""

from typing import Any

import azure.durable_functions as df

from functions.current import container
from shared.domain.workflow import Activity, Work

bp = df.Blueprint()


class JsonObject(dict[str, Any]):
    """Annotates a JSON object: the worker library indexes plain classes only, and refuses `dict[str, Any]`."""


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="work", activity=Activity.APPLY)
async def apply_tenant(work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    """Place a tenant and apply its objects."""
    return await _run(Activity.APPLY, work, client)


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="work", activity=Activity.AWAIT)
async def await_tenant(work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    """Wait until a tenant is ready."""
    return await _run(Activity.AWAIT, work, client)


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="work", activity=Activity.STOP)
async def stop_tenant(work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    """Stop a tenant's pods."""
    return await _run(Activity.STOP, work, client)


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="work", activity=Activity.RESUME)
async def resume_tenant(work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    """Start a tenant's pods again that a hibernation has stopped."""
    return await _run(Activity.RESUME, work, client)


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="work", activity=Activity.REMOVE)
async def remove_tenant(work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    """Remove everything that a tenant has."""
    return await _run(Activity.REMOVE, work, client)


async def _run(activity: Activity, work: JsonObject, client: df.DurableFunctionsClient) -> JsonObject:
    outcome = await container().activities[activity].run(Work.decode(work), container().workflows(client))
    return JsonObject(outcome.encode())
