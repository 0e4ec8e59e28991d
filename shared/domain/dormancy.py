"""Dormancy: whether a tenant that nobody uses is put to sleep, and why.

The rule is one pure function, `decide`. Three things make it safe. Evidence of activity counts, whoever has it; but
only a source that watches all the time may say that there was none. A source that is away, or that had a gap in the
time that counts, makes the tenant unknown, which is never idle. A time in the future counts as now.

Activity of the last minutes, which no source can have reported yet, is not seen. That is the same as a visitor who
comes right after the tenant was put to sleep, and wakes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.policy import DormancyPolicy
from shared.domain.tenants import Tenant
from shared.domain.visits import VISITOR

MARGIN = timedelta(minutes=15)
"""How far off a time may be: activity is recorded every 5 minutes at most, and the clocks of sources differ."""
VISITED_DAYS = 1
"""For which a tenant that a visitor woke stays awake without activity: anybody may have opened its address, or
a robot. Who really uses it is seen by a source within minutes, and gives it the usual days."""
RECHECK = timedelta(hours=6)
"""After which to decide again on a tenant whose time has come, but which is busy or of which something is unknown."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which a source has watched without a gap."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """What one source knows of one tenant.

    Attributes:
        source: Its name.
        last_activity_at: The last activity that it saw, or None.
        watched: The last time in which it would have seen any activity; None for a source that only reports.
        fresh_for: How long ago the end of `watched` may be; after that the source is away.
        required: Whether a tenant is idle only if this source has watched it.
    """

    source: str
    last_activity_at: datetime | None = None
    watched: Window | None = None
    fresh_for: timedelta = timedelta(minutes=30)
    required: bool = False


class Outcome(StrEnum):
    """What is to happen to a tenant."""

    KEEP = "keep"
    HIBERNATE = "hibernate"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """The class of the reason of a decision."""

    OPERATION = "operation"
    STATE = "state"
    EXEMPT = "exempt"
    KEEP_AWAKE = "keep-awake"
    NOT_DUE = "not-due"
    SIGNALS = "signals"
    IDLE = "idle"
    NO_PLAN = "no-plan"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to happen to a tenant, why, and the numbers that decided it.

    Attributes:
        outcome: What is to happen.
        why: The class of the reason.
        reason: Why, in words for a person.
        last_activity_at: The last activity that any source saw, or None.
        seen_by: The source that saw it.
        threshold_days: The days that count: the policy's without activity or of a new instance, or those after a visit.
        due_at: When the tenant is hibernated if nobody uses it until then; None for one that never is.
        next_due: When to decide again if nothing happens until then; None if time alone changes nothing.
    """

    outcome: Outcome
    why: Reason
    reason: str
    last_activity_at: datetime | None = None
    seen_by: str = ""
    threshold_days: int | None = None
    due_at: datetime | None = None
    next_due: datetime | None = None


def decide(tenant: Tenant, signals: Sequence[Signal], policy: DormancyPolicy, now: datetime) -> Decision:
    """Decide whether a tenant is put to sleep.

    No tenant is while anything was seen of it within `idle_days`, nor within `idle_days` after it was woken, or
    `VISITED_DAYS` if a visitor did that, nor in the first `never_active_days` of its instance.
    So an activity never brings the date forward: who has used a tenant once gets no less time than who has not.

    Args:
        tenant: The tenant.
        signals: What is known of its activity, one signal for each source; a required source that knows nothing too.
        policy: The policy in effect for it.
        now: The present time.
    """
    if tenant.operation.is_open:
        reason = f"operation {tenant.operation.id} ({tenant.operation.kind}) is running"
        return Decision(outcome=Outcome.KEEP, why=Reason.OPERATION, reason=reason, next_due=now + RECHECK)
    if tenant.state is not TenantState.ACTIVE:
        return Decision(outcome=Outcome.KEEP, why=Reason.STATE, reason=f"it is {tenant.state}")
    began = tenant.active_since or tenant.changed_at
    last_activity_at, seen_by = _last_activity(signals, now)
    due_at = began + timedelta(days=policy.never_active_days)
    threshold_days = policy.never_active_days
    if last_activity_at is not None:
        idle_at = last_activity_at + timedelta(days=policy.idle_days) + MARGIN
        if idle_at >= due_at:
            due_at, threshold_days = idle_at, policy.idle_days
    awake_days = VISITED_DAYS if _was_visited(tenant) else policy.idle_days  # who had it woken may come later
    awake_at = tenant.state_since + timedelta(days=awake_days)
    if awake_at > due_at:
        due_at, threshold_days = awake_at, awake_days
    if policy.keep_awake_until is not None:
        due_at = max(due_at, policy.keep_awake_until)

    def decision(outcome: Outcome, why: Reason, reason: str, next_due: datetime | None) -> Decision:
        return Decision(
            outcome=outcome,
            why=why,
            reason=reason,
            last_activity_at=last_activity_at,
            seen_by=seen_by,
            threshold_days=threshold_days,
            due_at=None if policy.exempt else due_at,
            next_due=next_due,
        )

    if policy.exempt:
        return decision(Outcome.KEEP, Reason.EXEMPT, "its policy exempts it", None)
    if policy.keep_awake_until is not None and policy.keep_awake_until > now:
        reason = f"it is to stay awake until {_moment(policy.keep_awake_until)}"
        return decision(Outcome.KEEP, Reason.KEEP_AWAKE, reason, due_at)
    found = _found(began, last_activity_at, seen_by, now)
    if _was_visited(tenant) and (last_activity_at is None or last_activity_at < tenant.state_since):
        found = f"{found}, a visitor woke it {_days(tenant.state_since, now)} ago (which counts for {VISITED_DAYS} day)"
    if due_at > now:
        return decision(Outcome.KEEP, Reason.NOT_DUE, f"{found}; it may sleep from {_moment(due_at)} on", due_at)
    # One of which no activity is known may have had some before its sources began to watch: then both times count.
    days = policy.idle_days if last_activity_at else max(policy.idle_days, policy.never_active_days)
    start = max(now - timedelta(days=days), began) - MARGIN
    doubts = list(_doubts(signals, start, now))
    if doubts:
        covered_at = [each.watched.since + (now - start) for each in signals if each.required and each.watched]
        next_due = max([now + RECHECK, *covered_at])
        return decision(Outcome.UNKNOWN, Reason.SIGNALS, f"{found}, but {'; '.join(doubts)}", next_due)
    allowed = policy.idle_days if last_activity_at else policy.never_active_days
    return decision(Outcome.HIBERNATE, Reason.IDLE, f"{found}, and {allowed} days are allowed", due_at)


def _was_visited(tenant: Tenant) -> bool:
    """Whether a tenant is awake because of a visitor, and nothing has been done to it since."""
    last = tenant.operation
    by_visitor = last.kind is OperationKind.WAKE and last.actor == VISITOR
    return by_visitor and last.finished_at == tenant.state_since  # else its lost instance was found again


def _last_activity(signals: Iterable[Signal], now: datetime) -> tuple[datetime | None, str]:
    """Return the last activity that any source saw, and which source that was."""
    seen = [(min(each.last_activity_at, now), each.source) for each in signals if each.last_activity_at is not None]
    return max(seen, default=(None, ""))


def _doubts(signals: Iterable[Signal], start: datetime, now: datetime) -> Iterable[str]:
    """Yield why it is not known that nobody has used a tenant since `start`."""
    required = [each for each in signals if each.required]
    if not required:
        yield "no source watches for activity"
    for each in required:
        if each.watched is None:
            yield f"{each.source} has not watched it"
        elif each.watched.until > now + MARGIN:
            yield f"the clock of {each.source} is ahead, at {_moment(each.watched.until)}"
        elif each.watched.until < now - each.fresh_for:
            yield f"{each.source} is away since {_moment(each.watched.until)}"
        elif each.watched.since > start:
            yield f"{each.source} has watched without a gap only since {_moment(each.watched.since)}"


def _found(began: datetime, last_activity_at: datetime | None, seen_by: str, now: datetime) -> str:
    if last_activity_at is None:
        return f"nobody has used it in the {_days(began, now)} since it became active"
    return f"it was last used {_days(last_activity_at, now)} ago ({seen_by})"


def _days(earlier: datetime, later: datetime) -> str:
    return f"{max(0.0, (later - earlier) / timedelta(days=1)):.1f} days"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
