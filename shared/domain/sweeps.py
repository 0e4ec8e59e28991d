"""A sweep: one look at the tenants that are due, which puts the dormant ones to sleep.

It goes through phases: it decides on each tenant that is due, checks what it has found against the guard rails, and
only then acts. Every function here returns a new value; the times come from the caller.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from secrets import randbelow
from typing import NewType

from shared.domain.activity import Watch
from shared.domain.base32 import base32
from shared.domain.dormancy import Outcome
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug

SweepId = NewType("SweepId", str)

_ID = re.compile(r"sweep-[0-9]{4}-[0-9]{2}-[0-9]{2}(-[0-9]{6}-[0-9a-z]{4})?")
NO_OPERATION = OperationId("")
MAX_CLOCK_DIFFERENCE = timedelta(minutes=5)
"""Between berth's clock and that of the tables. One of a virtual machine is within seconds of the time."""
MAX_AGE = timedelta(hours=20)
"""Of a sweep that has not ended: the one of the next night is not to wait for it."""


class SweepState(StrEnum):
    """Where a sweep stands. The last three are final."""

    DECIDING = "deciding"
    ACTING = "acting"
    DONE = "done"
    REFUSED = "refused"
    STOPPED = "stopped"


class Action(StrEnum):
    """What a sweep has done about one tenant."""

    NONE = "none"
    PENDING = "pending"
    BEGUN = "begun"
    HIBERNATED = "hibernated"
    KEPT = "kept"
    TURNED_ROUND = "turned-round"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SweepStart:
    """That a sweep was begun, by whom, and when; `after` is when the one before it began."""

    id: SweepId
    dry_run: bool
    actor: str
    started_at: datetime
    after: datetime | None = None


@dataclass(frozen=True, slots=True)
class SweepControl:
    """The one row that all sweeps share: which is the present or last one, and the kill switch."""

    current: SweepStart | None = None
    stopped_by: str = ""
    enabled: bool = True

    def beginning(self, start: SweepStart) -> "SweepControl":
        """Return it as a sweep begins."""
        after = None if self.current is None else self.current.started_at
        return replace(self, current=replace(start, after=after), stopped_by="")

    def stopping(self, sweep_id: SweepId, actor: str) -> "SweepControl":
        """Return it after a request to stop a sweep; nothing changes if that is not the present one."""
        is_current = self.current is not None and self.current.id == sweep_id
        return replace(self, stopped_by=actor) if is_current and not self.stopped_by else self

    def why_stop(self, start: SweepStart) -> str:
        """Return why a sweep must not go on, or nothing."""
        if self.current is None or self.current.id != start.id:
            return "another sweep has begun"
        if self.stopped_by:
            return f"stopped by {self.stopped_by}"
        if not self.enabled and not start.dry_run:
            return "sweeps were switched off"
        return ""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a sweep has come in the index of due dates; a shard that it has not begun has no `after`."""

    shard: int = 0
    after: str = ""


@dataclass(frozen=True, slots=True)
class SweepDecision:
    """What a sweep decided about one tenant, why, and what was done.

    Attributes:
        slug: The tenant.
        plan: Its plan.
        outcome: What was to happen.
        reason: Why, in words for a person.
        decided_at: When.
        last_activity_at: The last activity that any source saw, or None.
        seen_by: The source that saw it.
        threshold_days: The days of the policy that count.
        due_at: When it is hibernated if nobody uses it until then.
        next_due: When a sweep looks at it again if nothing happens until then.
        action: What was done.
        note: Why that, if it is not what was to happen.
        operation_id: The operation that was begun.
        saves: US dollars a month that its sleep saves.
        weight: Its plan weight.
        tries: How often something that may work later has failed.
    """

    slug: Slug
    plan: str
    outcome: Outcome
    reason: str
    decided_at: datetime
    last_activity_at: datetime | None = None
    seen_by: str = ""
    threshold_days: int | None = None
    due_at: datetime | None = None
    next_due: datetime | None = None
    action: Action = Action.NONE
    note: str = ""
    operation_id: OperationId = NO_OPERATION
    saves: float = 0.0
    weight: int = 0
    tries: int = 0

    @property
    def is_to_act(self) -> bool:
        """Whether something is still to be done about it, or to be waited for."""
        return self.action in (Action.PENDING, Action.BEGUN)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep.

    Attributes:
        start: How it began; the index is read up to that time.
        state: Where it stands.
        heartbeat_at: When something was last done.
        acting_at: When it began to act, if it did.
        ended_at: When it ended.
        reason: Why it was refused or stopped.
        position: How far it has come in the index.
        outcomes: How many tenants got each outcome.
        actions: How many of those to hibernate got which action; a dry run has none.
        saves: US dollars a month that it saves, or would if it were no dry run.
        weight: The plan weights of the tenants that look dormant.
    """

    start: SweepStart
    heartbeat_at: datetime
    state: SweepState = SweepState.DECIDING
    acting_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    position: Position = Position()
    outcomes: Mapping[Outcome, int] = field(default_factory=dict[Outcome, int])
    actions: Mapping[Action, int] = field(default_factory=dict[Action, int])
    saves: float = 0.0
    weight: int = 0

    @property
    def id(self) -> SweepId:
        """Its id."""
        return self.start.id

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None

    @property
    def to_hibernate(self) -> int:
        """How many tenants look dormant."""
        return self.outcomes.get(Outcome.HIBERNATE, 0)

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have ended long ago."""
        return self.is_open and now - self.start.started_at > MAX_AGE

    def decided(self, decisions: Iterable[SweepDecision], position: Position, now: datetime) -> "Sweep":
        """Return it with more decisions, which are those up to a position of the index."""
        decisions = list(decisions)
        outcomes = _counted(self.outcomes, ((each.outcome, 1) for each in decisions))
        actions = _counted(self.actions, ((each.action, 1) for each in decisions if each.is_to_act))
        saves = self.saves + sum(each.saves for each in decisions)
        return replace(
            self,
            position=position,
            outcomes=outcomes,
            actions=actions,
            saves=round(saves, 2),
            weight=self.weight + sum(each.weight for each in decisions if each.outcome is Outcome.HIBERNATE),
            heartbeat_at=now,
        )

    def acted(self, changes: Iterable[tuple[SweepDecision, SweepDecision]], now: datetime) -> "Sweep":
        """Return it after decisions were changed by what was done about them: each before and after."""
        changes = list(changes)
        steps = [step for before, after in changes for step in ((before.action, -1), (after.action, 1))]
        saves = self.saves + sum(after.saves - before.saves for before, after in changes)
        return replace(self, actions=_counted(self.actions, steps), saves=round(saves, 2), heartbeat_at=now)

    def with_heartbeat(self, now: datetime) -> "Sweep":
        """Return it with a heartbeat, which never goes back."""
        return replace(self, heartbeat_at=max(now, self.heartbeat_at))

    def acting(self, now: datetime) -> "Sweep":
        """Return it as it begins to act."""
        return replace(self, state=SweepState.ACTING, acting_at=now, heartbeat_at=now)

    def ended(self, state: SweepState, now: datetime, reason: str = "") -> "Sweep":
        """Return it at its end."""
        return replace(self, state=state, reason=reason, ended_at=now, heartbeat_at=now)


def _counted[K](counts: Mapping[K, int], steps: Iterable[tuple[K, int]]) -> Mapping[K, int]:
    changed = dict(counts)
    for key, step in steps:
        changed[key] = changed.get(key, 0) + step
    return {key: count for key, count in changed.items() if count}


def sweep_id_of(text: str) -> SweepId | None:
    """Return the id of a sweep as a caller gives it, or None if it is not one."""
    return SweepId(text) if _ID.fullmatch(text) else None


def nightly_id(now: datetime) -> SweepId:
    """Return the id of the sweep of a night: the same for all that start it."""
    return SweepId(f"sweep-{now.astimezone(UTC):%Y-%m-%d}")


def manual_id(now: datetime) -> SweepId:
    """Return an id for a sweep that somebody asked for, which no other has."""
    return SweepId(f"sweep-{now.astimezone(UTC):%Y-%m-%d-%H%M%S}-{base32(randbelow(1 << 20))[-4:]}")


def excess(sweep: Sweep, fleet: int, *, share: float, absolute: int) -> str:
    """Return why more tenants look dormant than one sweep may put to sleep, or nothing.

    One may always be: so a small fleet is swept too.

    Args:
        sweep: The sweep, which has decided on all tenants that are due.
        fleet: The plan weights of all instances that are awake.
        share: Of these, how much may be put to sleep.
        absolute: How many tenants may be.
    """
    count, weight = sweep.to_hibernate, sweep.weight
    if count > absolute:
        return f"{count} tenants look dormant, and at most {absolute} may be put to sleep at once"
    if count > 1 and weight > share * fleet:
        found = f"{count} tenants look dormant, with a weight of {weight} of the {fleet} that are awake"
        return f"{found}, and at most {100 * share:g} % may be put to sleep at once"
    return ""


def clock_problem(sweep: Sweep, before: datetime, written_at: datetime, after: datetime) -> str:
    """Return what is wrong with the clock, or nothing.

    Args:
        sweep: The sweep.
        before: The time before a row was written.
        written_at: When that was by the clock of the tables.
        after: The time after it was written.
    """
    since = max(sweep.heartbeat_at, sweep.start.after or sweep.heartbeat_at)
    if before < since - MAX_CLOCK_DIFFERENCE:
        return f"the clock was set back: it is {_moment(before)}, but was {_moment(since)} already"
    if not before - MAX_CLOCK_DIFFERENCE <= written_at <= after + MAX_CLOCK_DIFFERENCE:
        return f"the clock is wrong: it is {_moment(before)} here, and {_moment(written_at)} at the tables"
    return ""


def silence(
    required: Iterable[str], watches: Iterable[Watch], *, window: timedelta, fresh: timedelta, now: datetime
) -> str:
    """Return which source of activity was silent, on all clusters that it watches, or nothing.

    Args:
        required: The sources that must have watched.
        watches: What all sources have watched.
        window: The time that must have been watched without a gap.
        fresh: How long ago a source that is not away has reported.
        now: The present time.
    """
    of_source: dict[str, list[Watch]] = {}
    for each in watches:
        of_source.setdefault(each.source, []).append(each)
    for source in sorted(required):
        windows = [each.window for each in of_source.get(source, ())]
        if not windows:
            return f"{source} has not watched for activity"
        until = max(each.until for each in windows)
        if until < now - fresh:
            return f"{source} is silent since {_moment(until)}"
        since = min(each.since for each in windows if each.until >= now - fresh)
        if since > now - window:
            return f"{source} has watched without a gap only since {_moment(since)}"
    return ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
