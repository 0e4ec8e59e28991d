"""The activities: each passes its work to one use case."""

from typing import Any

import azure.durable_functions as df

from functions.current import container
from shared.domain.workflow import Activity, Work

bp = df.Blueprint()


class JsonObject(dict[str, Any]):
    """Annotates a JSON object: the worker library indexes plain classes only, and refuses `dict[str, Any]`."""


@bp.activity_trigger(input_name="work", activity=Activity.APPLY)
async def apply_tenant(work: JsonObject) -> JsonObject:
    """Place a tenant and apply its objects."""
    return JsonObject((await container().apply.run(Work.decode(work))).encode())


@bp.activity_trigger(input_name="work", activity=Activity.AWAIT)
async def await_tenant(work: JsonObject) -> JsonObject:
    """Wait until a tenant is ready."""
    return JsonObject((await container().await_ready.run(Work.decode(work))).encode())


@bp.activity_trigger(input_name="work", activity=Activity.REMOVE)
async def remove_tenant(work: JsonObject) -> JsonObject:
    """Remove everything that a tenant has."""
    return JsonObject((await container().remove.run(Work.decode(work))).encode())
