"""The truth about a fleet that only a test knows, and what must never happen by it.

It does not ask berth's rule. Who was active is what sources have told berth, and what they can never tell it; since
when a tenant is awake is when that was written. So it finds a tenant that was put to sleep in use, whoever is to blame.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, override

from shared.adapters.tables.storage import Create, Row, Write
from shared.domain.instances import InstanceId
from shared.domain.policy import NO_OVERRIDE, PolicyOverride
from tests.support.memory_tables import MemoryTables

IDLE_DAYS, NEVER_ACTIVE_DAYS = 7, 14  # as the plans promise
VISITED = timedelta(days=1)  # for a tenant that a visitor woke
EXEMPT_PLANS = {"standard"}
FRESH = timedelta(minutes=30)  # how old the last word of a source may be
TOLERANCE = timedelta(minutes=10)  # the clocks of two workers, 4 minutes off each, and some seconds of work
MAX_LOOK_AGE = timedelta(seconds=30)  # of what an action is based on

CALL: ContextVar[object] = ContextVar("call")
"""The call of a worker that the present task belongs to."""


@dataclass(slots=True)
class Truth:
    """What really happened.

    Attributes:
        now: The correct time.
        uses: When each tenant was used, as far as berth has been told.
        unseen: When each was used while the source was silent, of which berth is never told.
        policies: What each tenant was promised; one that is not certain is missing.
        watched_since: Since when the source of activity has missed nothing.
        reported_since: Since when it has said so.
        silent_since: Since when it is silent.
        gap_since: When it was silent last, or the first time of which it has not told yet.
    """

    now: Callable[[], datetime]
    watched_since: datetime
    reported_since: datetime
    silent_since: datetime | None = None
    gap_since: datetime | None = None
    uses: dict[str, list[datetime]] = field(default_factory=dict[str, list[datetime]])
    unseen: dict[str, list[datetime]] = field(default_factory=dict[str, list[datetime]])
    policies: dict[str, PolicyOverride] = field(default_factory=dict[str, PolicyOverride])
    _states: dict[str, str] = field(default_factory=dict[str, str])
    _plans: dict[str, str] = field(default_factory=dict[str, str])
    _awake_since: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _woken_by_visitor: dict[str, bool] = field(default_factory=dict[str, bool])
    _began: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _instances: dict[str, str] = field(default_factory=dict[str, str])

    def source_goes(self) -> None:
        """Note that the source is silent from now on."""
        self.silent_since = self.now()
        if self.gap_since is None or self.reported_since == self.watched_since:
            self.gap_since = self.silent_since

    def source_returns(self) -> None:
        """Note that the source watches again."""
        self.silent_since, self.watched_since = None, self.now()

    def note(self, slug: str, row: Row) -> None:
        """Take note of a tenant's row as it is written."""
        if row["state"] == "active" and self._states.get(slug) != "active":
            self._awake_since[slug] = self.now()
            operation = json.loads(row["operation"])
            by_visitor = (operation["kind"], operation["actor"]) == ("wake", "visitor")
            self._woken_by_visitor[slug] = by_visitor and self._states.get(slug) == "waking"
            self._began.setdefault(row["instance"], self.now())
        self._states[slug], self._plans[slug], self._instances[slug] = row["state"], row["plan"], row["instance"]

    def why_awake(self, slug: str) -> list[str]:
        """Return all reasons why a sweep must not put a tenant to sleep now."""
        now, policy = self.now(), self.policies.get(slug, NO_OVERRIDE)
        idle = timedelta(days=policy.idle_days or IDLE_DAYS)
        never_active = timedelta(days=policy.never_active_days or NEVER_ACTIVE_DAYS)
        began = self._began.get(self._instances.get(slug, ""), now)
        exempt = self._plans.get(slug) in EXEMPT_PLANS if policy.exempt is None else policy.exempt
        found: list[str] = []
        if self._states.get(slug) != "active":
            found.append(f"it is {self._states.get(slug)}")
        if any(now - each < idle for each in self.uses.get(slug, ())):
            found.append(f"it was used at {max(self.uses[slug])}")
        # What nobody can know yet is no reason: it is as a visit right after the tenant was put to sleep.
        if any(FRESH + TOLERANCE < now - each < idle for each in self.unseen.get(slug, ())):
            found.append(f"it was used at {max(self.unseen[slug])} while the source was silent")
        awake = VISITED if self._woken_by_visitor.get(slug) else idle
        if now - self._awake_since.get(slug, now) < awake - TOLERANCE:
            found.append(f"it is awake since {self._awake_since.get(slug)}")
        if now - began < never_active - TOLERANCE:
            found.append(f"its instance became active at {began}")
        if exempt:
            found.append("it is exempt")
        if policy.keep_awake_until is not None and now < policy.keep_awake_until - TOLERANCE:
            found.append(f"it is to stay awake until {policy.keep_awake_until}")
        if self.silent_since is not None and now - self.silent_since > FRESH + TOLERANCE:
            found.append(f"the source is silent since {self.silent_since}")
        gap_is_known = self.gap_since is not None and now - self.gap_since > FRESH + TOLERANCE
        if gap_is_known and self.reported_since > max(now - idle, began):
            found.append(f"the source has watched only since {self.reported_since}")
        return found


class WitnessTables(MemoryTables):
    """Table storage that notes what is read and written.

    Attributes:
        truth: What really happened.
        false_sleeps: Each tenant that a sweep began to put to sleep though there was a reason not to when it last read
            its activity.
        sleeps: How often each sweep has begun to put each tenant to sleep.
        deletions: The instances whose deletion has begun.
        rewritten: The transitions that were changed after they had been written.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.truth = Truth(now, watched_since=now(), reported_since=now())
        self.false_sleeps: list[str] = []
        self.sleeps: Counter[tuple[str, str]] = Counter()
        self.deletions: set[InstanceId] = set()
        self.rewritten: list[str] = []
        self._looks: dict[tuple[object, str], tuple[datetime, list[str]]] = {}

    @override
    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match, and note what was true when a tenant and its activity were read."""
        async for each in super().query(table, where, parameters, page_size=page_size):
            yield each
        if "activity" in parameters:
            slug = parameters["tenant"].removeprefix("tenant:")
            self._looks[CALL.get(None), slug] = self.truth.now(), self.truth.why_awake(slug)

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Make writes, and note them."""
        before = dict(self.rows.get(table, {}))
        etags = await super().transact(table, writes)
        for write in writes:
            kind, _, name = str(write.row["RowKey"]).partition(":")
            if kind == "operation" and isinstance(write, Create):
                self._note_begin(json.loads(write.row["operation"]))
            elif kind == "tenant" and table == "tenants" and "state" in write.row:  # an activity has none
                self.truth.note(name, write.row)
            elif kind == "transition":
                row, _ = before.get((write.row["PartitionKey"], write.row["RowKey"]), (write.row, ""))
                if row["entry"] != write.row["entry"]:
                    self.rewritten.append(write.row["RowKey"])
        return etags

    def _note_begin(self, operation: Row) -> None:
        slug, actor = operation["slug"], operation["actor"]
        if operation["kind"] == "delete":
            self.deletions.add(operation["instance"])
        if operation["kind"] != "hibernate" or not actor.startswith("sweep-"):
            return
        self.sleeps[actor, slug] += 1
        looked_at, reasons = self._looks.get((CALL.get(None), slug), (self.truth.now(), ["nobody has looked at it"]))
        if self.truth.now() - looked_at > MAX_LOOK_AGE:
            reasons = [*reasons, f"what is known of it was read at {looked_at}"]
        self.false_sleeps += [f"{actor} put {slug} to sleep at {self.truth.now()}, but {each}" for each in reasons]
