"""Timers."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from shared.errors import Transient
from shared.events import log_event

bp = df.Blueprint()
logger = logging.getLogger(__name__)


@bp.timer_trigger(schedule="%BERTH_RECOVERY_SCHEDULE%", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def restart_lost_operations(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Start the orchestration of each open operation that has lost it."""
    try:
        await container().recovery.restart_lost(container().workflows(client))
    except Transient as error:  # the next run tries again
        log_event(logger, "recovery held up", level=logging.WARNING, cause=str(error))


@bp.timer_trigger(schedule="0 17 3 * * *", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def purge_old_records(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Delete the records that are older than they have to be, once a night."""
    await container().retention.purge(container().workflows(client))
