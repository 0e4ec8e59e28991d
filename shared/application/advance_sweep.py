"""The work of a sweep: decide on each tenant that is due, check what was found, then act. An activity calls it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.application.dormancy import Dormancy
from shared.application.idempotent_start import Caller
from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.due import DueIndex, DueTenant
from shared.application.ports.latency import LatencyRepository
from shared.application.ports.stored import Stored
from shared.application.ports.sweeps import SweepRepository
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.record_end import record_sweep_end
from shared.domain.activity import Watch
from shared.domain.dormancy import RECHECK, Outcome, Reason
from shared.domain.operations import Operation, OperationState, seconds_between
from shared.domain.plans import Plans
from shared.domain.slugs import Slug
from shared.domain.sweeps import (
    Action,
    Sweep,
    SweepDecision,
    SweepId,
    SweepState,
    clock_problem,
    excess,
    silence,
)
from shared.domain.tenants import Tenant
from shared.domain.workflow import SWEEP_ACTIVITY, SweepProgress
from shared.errors import BerthError, Conflict, NotFound, Transient
from shared.events import log_context, log_event, log_exception
from shared.settings import ActivitySettings, SweepSettings
from shared.telemetry import metrics, spans
from shared.telemetry.metrics import record
from shared.telemetry.recorder import recorder

logger = logging.getLogger(__name__)

PAGE = 99  # tenants that are read for one look at the index
MAX_WRITES = 99  # of one transaction, beside the sweep: one for a decision, and another if something is to be done
MAX_SECONDS = 20.0  # of one call, so that other activities get their turn
POLL_SECONDS = 5.0  # between two looks at the hibernations that run
CONFLICT_PAUSE_SECONDS = 1.0  # another worker does the same at this moment
PAUSE_SECONDS = 5.0  # if the tables do not respond
LATE_SECONDS = 5.0  # between reading what is known of a tenant and acting on it
MAX_TRIES = 5  # about one tenant, while the tables or the task hub do not respond
AT_ONCE = 16  # tenants that are read at the same time
MAX_INTERVAL = timedelta(days=30)
"""After which each active tenant is looked at, so that a change of the plans' document holds for all of them."""


class Hibernations(Protocol):
    """Puts tenants to sleep: the ordinary operation."""

    async def sleep(
        self, slug: Slug, caller: Caller, workflows: Workflows, *, unless_changed: Tenant | None = None
    ) -> Operation | Tenant:
        """Start to put an active tenant to sleep, and return the operation; or the tenant, if it sleeps already.

        Raises NotFound, and Conflict while another operation is running on it, when its state does not allow it, or
        when it is not any more as it was decided on.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What was decided about a tenant that is due: nothing if its row is stale; and its next due date, if it moves."""

    due: DueTenant
    decision: SweepDecision | None
    reason: Reason | None = None
    moves: bool = True
    next_due: datetime | None = None


class AdvanceSweep:
    """Advances a sweep. It may break off anywhere and run in two workers: each part counts once.

    Decisions are written together with how far the sweep has come, if nobody else has written that. Then the due dates
    move; what breaks off before only means that the next sweep looks at these tenants too.
    """

    def __init__(
        self,
        *,
        sweeps: SweepRepository,
        due: DueIndex,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        activity: ActivityRepository,
        dormancy: Dormancy,
        hibernations: Hibernations,
        latency: LatencyRepository,
        plans: Plans,
        clock: Clock,
        settings: SweepSettings,
        activity_settings: ActivitySettings,
    ) -> None:
        self._sweeps = sweeps
        self._due = due
        self._tenants = tenants
        self._clusters = clusters
        self._activity = activity
        self._dormancy = dormancy
        self._hibernations = hibernations
        self._latency = latency
        self._plans = plans
        self._clock = clock
        self._settings = settings
        self._activity_settings = activity_settings

    async def run(self, sweep_id: SweepId, workflows: Workflows) -> SweepProgress:
        """Do the next part of a sweep, for about `MAX_SECONDS`, and return whether it has ended or when to go on.

        Args:
            sweep_id: The sweep.
            workflows: Where the orchestrations of the hibernations are started.
        """
        began = self._clock.monotonic()
        with log_context(sweep=sweep_id), spans.work(SWEEP_ACTIVITY, calls=False):
            try:
                stored = await self._begin(sweep_id)
                watches = await self._activity.watches()
                while stored is not None and stored.value.is_open:
                    stored, wait = await self._step(stored, watches, workflows)
                    is_over = wait or self._clock.monotonic() - began >= MAX_SECONDS
                    if is_over and stored.value.is_open:
                        return SweepProgress(ended=False, wait=wait)
                if stored is not None and not stored.value.start.dry_run:
                    await record_sweep_end(self._latency, stored.value, now=self._clock.now())
                return SweepProgress(ended=True)
            except Conflict:
                return SweepProgress(ended=False, wait=CONFLICT_PAUSE_SECONDS)
            except Transient as error:
                log_event(logger, "sweep held up", level=logging.WARNING, cause=str(error))
                return SweepProgress(ended=False, wait=error.retry_after or PAUSE_SECONDS)

    async def _begin(self, sweep_id: SweepId) -> Stored[Sweep] | None:
        """Write a heartbeat, and compare its time with that of the tables; a sweep is refused if they differ.

        Return the sweep after that, or None if there is none. One that only decides changes no tenant: so it is enough
        to find out here whether it is to stop.
        """
        stored = await self._sweeps.find(sweep_id)
        if stored is None or not stored.value.is_open:
            return stored
        before = self._clock.now()
        saved = await self._sweeps.save(stored.with_value(stored.value.with_heartbeat(before)))
        written_at = await self._sweeps.written_at(sweep_id)
        problem = clock_problem(stored.value, before, written_at, self._clock.now())
        if problem:
            return await self._end(saved, SweepState.REFUSED, problem)
        reason = await self._why_stop(stored.value) if stored.value.state is SweepState.DECIDING else ""
        return await self._end(saved, SweepState.STOPPED, reason) if reason else saved

    async def _why_stop(self, sweep: Sweep) -> str:
        """Return why a sweep must not go on, or nothing."""
        reason = (await self._sweeps.control()).value.why_stop(sweep.start)
        if not (reason or sweep.start.dry_run or self._settings.enabled):
            reason = "sweeps were switched off by BERTH_SWEEP_ENABLED"
        if not reason and sweep.is_overdue(self._clock.now()):
            reason = "it had not ended after 20 hours"
        return reason

    async def _step(
        self, stored: Stored[Sweep], watches: Sequence[Watch], workflows: Workflows
    ) -> tuple[Stored[Sweep], float]:
        """Do one page or one round of hibernations; return the sweep after it, and the seconds to wait."""
        if stored.value.state is SweepState.DECIDING:
            return await self._decide(stored, watches), 0.0
        return await self._act(stored, workflows)

    async def _end(self, stored: Stored[Sweep], state: SweepState, reason: str = "") -> Stored[Sweep]:
        sweep = stored.value.ended(state, self._clock.now(), reason)
        saved = await self._sweeps.save(stored.with_value(sweep))
        level = logging.INFO if state is SweepState.DONE else logging.ERROR
        counts = {str(name): count for name, count in (*sweep.outcomes.items(), *sweep.actions.items())}
        fields = {"dry_run": sweep.start.dry_run, "saves": sweep.saves, "reason": reason, **counts}
        log_event(logger, f"sweep {state}", level=level, **fields)
        return saved

    async def _decide(self, stored: Stored[Sweep], watches: Sequence[Watch]) -> Stored[Sweep]:
        """Decide on the next page of tenants, or after the last one, check what was found."""
        sweep, limit = stored.value, asyncio.Semaphore(AT_ONCE)
        page = await self._due.page(sweep.position, until=sweep.start.started_at, limit=PAGE)
        if page.next is None:
            return await self._check(stored, watches)
        looks = await asyncio.gather(*(self._look(sweep, each, watches, limit) for each in page.items))
        parts = list(_parts(looks))
        for number, part in enumerate(parts, 1):
            decisions = [each.decision for each in part if each.decision is not None]
            position = page.next if number == len(parts) else part[-1].due.position
            decided = stored.value.decided(decisions, position, self._clock.now())
            stored = await self._sweeps.save(stored.with_value(decided), decided=decisions)
            if not sweep.start.dry_run:
                _count(part)
                await self._due.move([(each.due, each.next_due) for each in part if each.moves])
        return stored

    async def _look(self, sweep: Sweep, due: DueTenant, watches: Sequence[Watch], limit: asyncio.Semaphore) -> _Look:
        """Decide on one tenant; one that cannot be read is unknown, and stays due."""
        async with limit:
            try:
                return await self._decided(sweep, due, watches)
            except NotFound:
                return _Look(due, None)
            except BerthError as error:
                log_event(logger, "not decided", level=logging.WARNING, tenant=due.slug, cause=str(error))
                cause = str(error)
            except Exception as error:  # nobody expects it, and it is to stop no other tenant's turn
                log_exception(logger, "deciding broke off", tenant=due.slug)
                cause = type(error).__name__
        reason = f"it cannot be decided: {cause}"
        unknown = SweepDecision(due.slug, "", Outcome.UNKNOWN, reason, self._clock.now())
        return _Look(due, unknown, Reason.UNREADABLE, moves=False)

    async def _decided(self, sweep: Sweep, due: DueTenant, watches: Sequence[Watch]) -> _Look:
        status, now = await self._dormancy.status(due.slug, watches), self._clock.now()
        tenant, found = status.tenant, status.decision
        if tenant.changed_at != due.since:  # what changed it has written another row if it is active
            return _Look(due, None)
        plan = self._plans.get(tenant.plan)
        if plan is None or found is None:
            reason = f"there is no plan {tenant.plan} any more"
            unknown = SweepDecision(due.slug, tenant.plan, Outcome.UNKNOWN, reason, now, next_due=now + RECHECK)
            return _Look(due, unknown, Reason.NO_PLAN, next_due=unknown.next_due)
        is_dormant = found.outcome is Outcome.HIBERNATE
        next_due = None if is_dormant else min(found.next_due or now + MAX_INTERVAL, now + MAX_INTERVAL)
        decision = SweepDecision(
            slug=due.slug,
            plan=tenant.plan,
            outcome=found.outcome,
            reason=found.reason,
            decided_at=now,
            last_activity_at=found.last_activity_at,
            seen_by=found.seen_by,
            threshold_days=found.threshold_days,
            due_at=found.due_at,
            next_due=next_due,
            action=Action.PENDING if is_dormant and not sweep.start.dry_run else Action.NONE,
            saves=plan.saves if is_dormant else 0.0,
            weight=plan.weight,
        )
        # A dormant one stays due: once it sleeps its row is stale, and if it does not the next sweep looks at it again.
        return _Look(due, decision, found.why, moves=not is_dormant, next_due=next_due)

    async def _check(self, stored: Stored[Sweep], watches: Sequence[Watch]) -> Stored[Sweep]:
        """Begin to act, unless something is wrong with what was found; a dry run ends here."""
        sweep, now, activity = stored.value, self._clock.now(), self._activity_settings
        fleet = sum(each.allocated for each in await self._clusters.list())
        window = min((each.dormancy.idle_days for each in self._plans.values() if not each.dormancy.exempt), default=1)
        problem = silence(
            activity.required,
            watches,
            window=timedelta(days=window),
            fresh=timedelta(seconds=activity.fresh_seconds),
            now=now,
        ) or excess(sweep, fleet, share=self._settings.max_share, absolute=self._settings.max_tenants)
        if problem:
            return await self._end(stored, SweepState.REFUSED, problem)
        if sweep.start.dry_run:
            return await self._end(stored, SweepState.DONE)
        return await self._sweeps.save(stored.with_value(sweep.acting(now)))

    async def _act(self, stored: Stored[Sweep], workflows: Workflows) -> tuple[Stored[Sweep], float]:
        """See how the hibernations go on, and begin as many as there is room for."""
        sweep = stored.value
        reason = await self._why_stop(sweep)
        if reason:
            return await self._end(stored, SweepState.STOPPED, reason), 0.0
        to_act = await self._sweeps.to_act(sweep.id)
        if not to_act:
            return await self._end(stored, SweepState.DONE), 0.0
        running = [each for each in to_act if each.action is Action.BEGUN]
        pending = [each for each in to_act if each.action is Action.PENDING]
        next_ones = pending[: max(0, self._settings.concurrency - len(running))]
        after = await asyncio.gather(
            *(self._isolated(each, self._followed(each)) for each in running),
            *(self._isolated(each, self._begun(sweep, each, workflows)) for each in next_ones),
        )
        changes = [each for each in zip([*running, *next_ones], after, strict=True) if each[0] != each[1]]
        if not changes:
            return stored, POLL_SECONDS
        acted = sweep.acted(changes, self._clock.now())
        stored = await self._sweeps.save(stored.with_value(acted), acted=[each for _, each in changes])
        goes_on = any(before.action is not after.action for before, after in changes)
        return stored, 0.0 if goes_on else POLL_SECONDS

    async def _isolated(self, decision: SweepDecision, work: Awaitable[SweepDecision]) -> SweepDecision:
        """Do something about one tenant; what goes wrong is recorded for it and stops no other."""
        with log_context(tenant=decision.slug):
            try:
                return await work
            except Conflict as error:
                return _kept(decision, str(error))
            except NotFound:
                return _kept(decision, "it was deleted meanwhile")
            except Transient as error:
                if decision.tries < MAX_TRIES:
                    return replace(decision, tries=decision.tries + 1, note=str(error))
                cause = str(error)
            except BerthError as error:
                cause = str(error)
            except Exception as error:  # nobody expects it, and it is to stop no other tenant's turn
                log_exception(logger, "hibernating broke off")
                cause = type(error).__name__
        return _failed(decision, cause)

    async def _begun(self, sweep: Sweep, decision: SweepDecision, workflows: Workflows) -> SweepDecision:
        """Read again what is known of a tenant, and if it is still dormant put it to sleep."""
        began = self._clock.now()
        status = await self._dormancy.status(decision.slug)
        operation = status.tenant.operation
        if operation.actor != sweep.id:  # else a call that broke off, or another worker, has begun it
            if status.decision is None or status.decision.outcome is not Outcome.HIBERNATE:
                plan = status.tenant.plan
                reason = status.decision.reason if status.decision else f"there is no plan {plan} any more"
                return _kept(decision, reason)
            if seconds_between(began, self._clock.now()) > LATE_SECONDS:
                return decision  # this was held up, and what was read may be out of date: next time
            # With a key: a call that is held up from here on begins nothing that was begun and has ended meanwhile.
            caller = Caller(sweep.id, f"{sweep.id}:{decision.slug}", "sweep")
            with recorder().within(recorder().new_trace()):  # all in one would be too large to look at
                begun = await self._hibernations.sleep(decision.slug, caller, workflows, unless_changed=status.tenant)
            if isinstance(begun, Tenant):
                return _kept(decision, f"it is {begun.state} already")
            operation = begun
        return replace(decision, action=Action.BEGUN, operation_id=operation.id, note="", tries=0)

    async def _followed(self, decision: SweepDecision) -> SweepDecision:
        """Return a decision after its operation has ended."""
        operation = await self._tenants.get_operation(decision.operation_id)
        match operation.state:
            case OperationState.SUCCEEDED:
                return replace(decision, action=Action.HIBERNATED)
            case OperationState.CANCELLED:
                return replace(decision, action=Action.TURNED_ROUND, note=operation.reason, saves=0.0)
            case OperationState.FAILED:
                return _failed(decision, operation.reason)
            case OperationState.QUEUED | OperationState.RUNNING:
                return decision


def _parts(looks: Sequence[_Look]) -> Iterator[Sequence[_Look]]:
    """Yield a page in order, in parts whose decisions are written by one transaction each; at least one part."""
    part: list[_Look] = []
    writes = 0
    for each in looks:
        needed = 0 if each.decision is None else 1 + each.decision.is_to_act
        if writes + needed > MAX_WRITES:
            yield part
            part, writes = [], 0
        part.append(each)
        writes += needed
    yield part


def _count(looks: Iterable[_Look]) -> None:
    counts = Counter((each.decision.outcome, each.reason) for each in looks if each.decision and each.reason)
    for (outcome, reason), count in counts.items():
        record(metrics.SWEEP_DECISIONS, count, outcome=outcome, reason=reason)


def _kept(decision: SweepDecision, note: str) -> SweepDecision:
    return replace(decision, action=Action.KEPT, note=note, saves=0.0)


def _failed(decision: SweepDecision, note: str) -> SweepDecision:
    log_event(logger, "not hibernated", level=logging.WARNING, cause=note)
    return replace(decision, action=Action.FAILED, note=note, saves=0.0)
