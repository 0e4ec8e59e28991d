"""The activities: each passes its work to one use case."""

from typing import Any

import azure.durable_functions as df

from functions.container import container
from shared.domain.workflow import Activity, Work

bp = df.Blueprint()


@bp.activity_trigger(input_name="work", activity=Activity.APPLY)
async def apply_tenant(work: dict[str, Any]) -> dict[str, Any]:
    """Place a tenant and apply its objects."""
    return (await container().apply.run(Work.decode(work))).encode()


@bp.activity_trigger(input_name="work", activity=Activity.AWAIT)
async def await_tenant(work: dict[str, Any]) -> dict[str, Any]:
    """Wait until a tenant is ready."""
    return (await container().await_ready.run(Work.decode(work))).encode()


@bp.activity_trigger(input_name="work", activity=Activity.REMOVE)
async def remove_tenant(work: dict[str, Any]) -> dict[str, Any]:
    """Remove everything that a tenant has."""
    return (await container().remove.run(Work.decode(work))).encode()
