"""Timers."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.services import services
from shared.errors import Transient

bp = df.Blueprint()
logger = logging.getLogger(__name__)


@bp.timer_trigger(schedule="%REAPER_SCHEDULE%", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def resume_lost_operations(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Start again what lost its orchestration."""
    try:
        await services().reaper.resume_lost(services().workflows(client))
    except Transient as error:  # nothing is lost: the next run looks again
        logger.warning("lost operations could not be looked for: %s", error)


@bp.timer_trigger(schedule="0 17 3 * * *", arg_name="timer", run_on_startup=False)
async def purge_idempotency_keys(timer: func.TimerRequest) -> None:
    """Delete the idempotency keys that have expired, once a night."""
    await services().keys.purge(services().clock.now())
