"""Timer triggers.

As on Azure, a timer whose time passed while nobody could fire it, because the machine slept or its clock was moved, is
fired once as soon as possible, as past due, however many times it has missed. One that is due more than once a minute,
or without `useMonitor`, goes on at its next time instead: nothing records when it was due.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cronsim import CronSim
from opentelemetry.trace import SpanKind

from local.clock import longest_sleep
from local.host import tracing
from local.host.app import Function, substitute
from local.host.worker import FunctionFailedError, WorkerLostError
from local.host.workers import Workers
from local.worker import protos

LATE_SECONDS = 1.0  # from here on a timer counts as past due

logger = logging.getLogger("timer")


class Timers:
    """Fires each timer at its times; one timer never runs twice at once.

    Args:
        workers: Whose timer functions to fire.

    Raises:
        SettingMissingError: A schedule is named by an app setting that is not set.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._functions = {function.name: function for function in workers.of_kind("timerTrigger")}
        self._schedules = {name: substitute(each.trigger["schedule"]) for name, each in self._functions.items()}
        self._now: Mapping[str, asyncio.Event] = {name: asyncio.Event() for name in self._functions}

    async def run(self) -> None:
        """Fire timers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for function in self._functions.values():
                group.create_task(self._follow(function))

    def fire(self, name: str) -> bool:
        """Fire a timer now, or when its present run has ended; False if there is none of that name."""
        if name not in self._now:
            return False
        self._now[name].set()
        return True

    async def _follow(self, function: Function) -> None:
        schedule = self._schedules[function.name]
        requested = self._now[function.name]
        if function.trigger.get("runOnStartup"):
            requested.set()
        while True:
            due = next_time(schedule, datetime.now(UTC))
            await _wait(requested, due)
            now = datetime.now(UTC)
            if requested.is_set():
                requested.clear()
                await self._run(function, past_due=False)
            elif next_time(schedule, due) > now or _is_monitored(function, schedule, due):
                await self._run(function, past_due=(now - due).total_seconds() > LATE_SECONDS)

    async def _run(self, function: Function, *, past_due: bool) -> None:
        began = asyncio.get_running_loop().time()
        try:
            with tracing.span(function.name, SpanKind.SERVER):
                await self._workers.invoke(function, protos.TypedData(json=json.dumps({"IsPastDue": past_due})))
        except FunctionFailedError as error:
            logger.error("%s raised", function.name, extra={"trace": error.trace})  # noqa: TRY400 - the app's traceback
        except WorkerLostError:
            logger.warning("the worker of %s ended", function.name)
        else:
            logger.debug("%s ended in %.0f ms", function.name, (asyncio.get_running_loop().time() - began) * 1000)


async def _wait(requested: asyncio.Event, due: datetime) -> None:
    """Return when a timer is due or requested, at the latest a moment after the clock was moved beyond that."""
    while not requested.is_set() and (left := (due - datetime.now(UTC)).total_seconds()) > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(requested.wait(), min(left, longest_sleep()))


def _is_monitored(function: Function, schedule: str, due: datetime) -> bool:
    """Whether Azure records when a timer is due."""
    is_frequent = next_time(schedule, due) - due < timedelta(minutes=1)
    return not is_frequent and function.trigger.get("useMonitor") is not False


def next_time(schedule: str, after: datetime) -> datetime:
    """Return when a schedule is next due: NCRONTAB with seconds first, or a TimeSpan such as 00:05:00."""
    span = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+)", schedule)
    if span:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        return after + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    fields = schedule.split()
    return next(CronSim(schedule if len(fields) == 6 else f"0 {schedule}", after))
