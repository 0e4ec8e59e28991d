"""Timers."""

import azure.durable_functions as df
import azure.functions as func

from functions.services import services

bp = df.Blueprint()


@bp.timer_trigger(schedule="%REAPER_SCHEDULE%", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def resume_lost_operations(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Start again what lost its orchestration."""
    await services().reaper.resume_lost(services().workflows(client))


@bp.timer_trigger(schedule="0 17 3 * * *", arg_name="timer", run_on_startup=False)
async def purge_idempotency_keys(timer: func.TimerRequest) -> None:
    """Delete the idempotency keys that have expired, once a night."""
    await services().keys.purge(services().clock.now())
