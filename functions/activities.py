"""The activities: each hands its work to one use case."""

from dataclasses import asdict
from typing import Any

import azure.durable_functions as df

from functions.services import services
from shared.domain.workflow import Activity, Work

bp = df.Blueprint()


class JsonObject(dict[str, Any]):
    """Annotates a JSON object: the worker library indexes plain classes only, and refuses `dict[str, Any]`."""


@bp.activity_trigger(input_name="work", activity=Activity.APPLY)
async def apply_tenant(work: JsonObject) -> JsonObject:
    """Place a tenant and apply its objects."""
    return JsonObject(**asdict(await services().steps.apply(Work(**work))))


@bp.activity_trigger(input_name="work", activity=Activity.AWAIT)
async def await_tenant(work: JsonObject) -> JsonObject:
    """Wait until a tenant is ready."""
    return JsonObject(**asdict(await services().steps.await_ready(Work(**work))))


@bp.activity_trigger(input_name="work", activity=Activity.REMOVE)
async def remove_tenant(work: JsonObject) -> JsonObject:
    """Remove everything that a tenant has."""
    return JsonObject(**asdict(await services().steps.remove(Work(**work))))
