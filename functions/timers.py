"""Timers."""

import asyncio
import logging
from collections.abc import Awaitable

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from shared.application.ports.workflows import Workflows
from shared.errors import BerthError, Transient
from shared.events import log_event, log_exception
from shared.telemetry import metrics
from shared.telemetry.metrics import record

bp = df.Blueprint()
logger = logging.getLogger(__name__)

SWEEP_TRIES = 5
SWEEP_PAUSE = 60.0  # seconds between two tries; the Functions host ends a function after 600, by host.json


@bp.timer_trigger(schedule="%BERTH_RECOVERY_SCHEDULE%", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def recover(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Check the clusters, repair the slots, and start the orchestration of each open operation that has lost it."""
    workflows = container().workflows(client)
    await _until_next_time("checking the clusters", container().breakers.check_all())
    await _until_next_time("reading the open operations", _repair_and_restart(workflows))


@bp.timer_trigger(schedule="45 * * * * *", arg_name="timer", run_on_startup=False)
async def find_lost_instances(timer: func.TimerRequest) -> None:
    """Find tenants, active or asleep, whose namespace was removed, every minute."""
    await _until_next_time("looking for lost instances", container().lost_instances.run())


@bp.timer_trigger(schedule="0 41 * * * *", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def reconcile(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Resume a sweep that is lost, and compare what is on the clusters with the records, once an hour."""
    workflows = container().workflows(client)
    await _until_next_time("resuming a sweep", container().sweeps.resume(workflows))
    await _until_next_time("reconciliation", container().reconciliation.run(workflows))


@bp.timer_trigger(schedule="%BERTH_SWEEP_SCHEDULE%", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def sweep(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Start the nightly sweep, which puts dormant tenants to sleep."""
    await _until_next_time("starting the sweep", _start_sweep(container().workflows(client)))


@bp.timer_trigger(schedule="0 */5 * * * *", arg_name="timer", run_on_startup=False)
async def poll_activity(timer: func.TimerRequest) -> None:
    """Ask the fleet's metrics which tenants were used, every 5 minutes, if there are metrics."""
    poll = container().poll_activity
    if poll is not None:
        await _until_next_time("asking the metrics", poll.run())
    await _until_next_time("measuring the age of signals", container().signal_ages.run())


@bp.timer_trigger(schedule="%BERTH_PRICES_SCHEDULE%", arg_name="timer", run_on_startup=False)
async def refresh_prices(timer: func.TimerRequest) -> None:
    """Ask Azure's price list which prices have changed, if that is allowed."""
    refresh = container().refresh_prices
    if refresh is not None:
        await _until_next_time("refreshing the prices", refresh.run())


@bp.timer_trigger(schedule="0 11 * * * *", arg_name="timer", run_on_startup=False)
async def meter_costs(timer: func.TimerRequest) -> None:
    """Compute what each instance has cost, once an hour."""
    await _until_next_time("metering", container().metering.run())


@bp.timer_trigger(schedule="0 7 * * * *", arg_name="timer", run_on_startup=False)
async def roll_up_latency(timer: func.TimerRequest) -> None:
    """Roll up how long operations took, by day, once an hour."""
    await _until_next_time("rolling up latency", container().roll_up_latency.run())


@bp.timer_trigger(schedule="0 17 3 * * *", arg_name="timer", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def purge_old_records(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """Delete the records that are older than they have to be, once a night."""
    await _until_next_time("purging", container().retention.purge(container().workflows(client)))


async def _start_sweep(workflows: Workflows) -> None:
    for left in reversed(range(SWEEP_TRIES)):
        try:
            return await container().sweeps.start_nightly(workflows)
        except Transient as error:  # the next time would be tomorrow
            log_event(logger, "sweep not started yet", level=logging.WARNING, cause=str(error))
            if not left:
                log_event(logger, "no sweep tonight", level=logging.ERROR)
                raise
        await asyncio.sleep(SWEEP_PAUSE)
    return None


async def _repair_and_restart(workflows: Workflows) -> None:
    # Read once for both: each reads again what it is about to change.
    open_operations = await container().tenants.open_operations()
    await _until_next_time("slot repair", container().slot_repair.run(open_operations, workflows))
    await _until_next_time("recovery", container().recovery.restart_lost(open_operations, workflows))


async def _until_next_time(name: str, work: Awaitable[object]) -> None:
    """Do a part of a timer's work; what is held up is tried the next time, and holds up no other part."""
    outcome = "broke-off"
    try:
        await work
        outcome = "done"
    except Transient as error:
        log_event(logger, f"{name} held up", level=logging.WARNING, cause=str(error))
        outcome = "held-up"
    except BerthError as error:
        log_event(logger, f"{name} broke off", level=logging.ERROR, cause=str(error))
    except Exception:
        log_exception(logger, f"{name} broke off")
    record(metrics.TIMER_RUNS, part=name, outcome=outcome)
