"""Sweeps: starting one, joining the one that runs, stopping it, and the kill switch."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from shared.application.ports.clock import Clock
from shared.application.ports.sweeps import SweepRepository
from shared.application.ports.workflows import Workflows
from shared.domain.sweeps import MAX_AGE, Sweep, SweepControl, SweepId, SweepStart, manual_id, nightly_id, sweep_id_of
from shared.errors import Conflict, NotFound, Transient
from shared.events import log_event
from shared.settings import ActivitySettings, SweepSettings

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against others who start, stop or switch at the same moment
TIMER = "timer"  # the actor of the nightly sweep


class Sweeps:
    """Starts and stops sweeps. At most one runs at a time."""

    def __init__(
        self, *, sweeps: SweepRepository, clock: Clock, settings: SweepSettings, activity: ActivitySettings
    ) -> None:
        self._sweeps = sweeps
        self._clock = clock
        self._settings = settings
        self._activity = activity

    async def start_nightly(self, workflows: Workflows) -> None:
        """Start the sweep of this night, or join it; if sweeps are switched off or cannot find anything, only log."""
        if not self._activity.required:
            log_event(logger, "no sweep", cause="no source of activity is required, so nobody counts as dormant")
            return
        start = self._new(nightly_id, dry_run=False, actor=TIMER)
        try:
            await self._start(start, workflows)
        except Conflict as error:
            log_event(logger, "no sweep", level=logging.WARNING, cause=str(error))

    async def start(self, *, dry_run: bool, actor: str, workflows: Workflows) -> Sweep:
        """Start a sweep, or return the one that runs. A dry run that is in the way of a real one is ended.

        Raises Conflict when sweeps are switched off and it is no dry run.
        """
        return await self._start(self._new(manual_id, dry_run=dry_run, actor=actor), workflows)

    async def get(self, sweep_id: str) -> Sweep:
        """Return a sweep; raises NotFound."""
        known = sweep_id_of(sweep_id)
        found = await self._sweeps.find(known) if known else None
        if found is None:
            raise NotFound(f"there is no sweep {sweep_id}")
        return found.value

    async def stop(self, sweep_id: str, actor: str) -> Sweep:
        """Let a sweep end before its next action, and return it; one that has ended stays as it is.

        What it has begun goes on: each of these operations can be undone by waking the tenant. Raises NotFound.
        """
        sweep = await self.get(sweep_id)
        if sweep.is_open:
            await self._change(lambda control: control.stopping(sweep.id, actor))
        return sweep

    async def switch(self, *, enabled: bool, actor: str) -> None:
        """Switch sweeps on or off for good. Off, one that runs ends before its next action, and only dry runs begin."""
        await self._change(lambda control: replace(control, enabled=enabled))
        log_event(logger, "sweeps switched", level=logging.WARNING, enabled=enabled, actor=actor)

    async def is_enabled(self) -> bool:
        """Whether sweeps may put tenants to sleep, by the setting and by the switch."""
        return self._settings.enabled and (await self._sweeps.control()).value.enabled

    async def resume(self, workflows: Workflows) -> None:
        """Start the orchestration of a sweep that has not ended, if it is lost; a timer's work."""
        current = await self._current((await self._sweeps.control()).value)
        if current is not None and current.is_open:
            await workflows.start_sweep(current.id)

    async def _start(self, start: SweepStart, workflows: Workflows) -> Sweep:
        for _ in range(MAX_TRIES):
            control = await self._sweeps.control()
            self._check_enabled(control.value, start)
            sweep = await self._joined(control.value, start)
            if sweep is None:
                begun = control.value.beginning(start)
                assert begun.current is not None
                try:
                    await self._sweeps.save_control(control.with_value(begun), begun.current)
                except Conflict:  # by somebody else, or by this very call, of which only the response was lost
                    continue
                sweep = (await self._sweeps.create(begun.current)).value
                log_event(logger, "sweep begun", sweep=start.id, dry_run=start.dry_run, actor=start.actor)
            if sweep.is_open:
                await self._start_orchestration(sweep.id, workflows)
            return sweep
        raise Transient("sweeps are started or switched by others all the time")

    async def _joined(self, control: SweepControl, start: SweepStart) -> Sweep | None:
        """Return the sweep that a start joins: the one that runs, or the one of the same night; None for a new one."""
        current = await self._current(control)
        if current is not None and current.is_open and not current.is_overdue(self._clock.now()):
            is_in_the_way = current.start.dry_run and not start.dry_run
            if not is_in_the_way:
                return current
        same = await self._sweeps.find(start.id)
        return None if same is None else same.value

    async def _current(self, control: SweepControl) -> Sweep | None:
        """Return the present or last sweep, unless it was purged; it is made if its start broke off before that."""
        start = control.current
        if start is None:
            return None
        if self._clock.now() - start.started_at < MAX_AGE:
            return (await self._sweeps.create(start)).value
        found = await self._sweeps.find(start.id)
        return None if found is None else found.value

    async def _start_orchestration(self, sweep_id: SweepId, workflows: Workflows) -> None:
        try:
            await workflows.start_sweep(sweep_id)
        except Transient as error:
            log_event(logger, "sweep not started yet", level=logging.WARNING, sweep=sweep_id, cause=str(error))

    def _check_enabled(self, control: SweepControl, start: SweepStart) -> None:
        if start.dry_run:
            return
        if not self._settings.enabled:
            raise Conflict("sweeps are switched off by BERTH_SWEEP_ENABLED; a dry run is possible")
        if not control.enabled:
            raise Conflict(
                "sweeps are switched off; switch them on by PATCH /api/sweeps (./berth sweep --on), or start a dry run"
            )

    def _new(self, make_id: Callable[[datetime], SweepId], *, dry_run: bool, actor: str) -> SweepStart:
        now = self._clock.now()
        return SweepStart(make_id(now), dry_run, actor, now)

    async def _change(self, change: Callable[[SweepControl], SweepControl]) -> None:
        for _ in range(MAX_TRIES):
            control = await self._sweeps.control()
            changed = change(control.value)
            if changed == control.value:
                return
            with suppress(Conflict):
                await self._sweeps.save_control(control.with_value(changed))
                return
        raise Transient("sweeps are started or switched by others all the time")
