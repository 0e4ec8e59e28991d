"""The JSON of sweeps and their decisions."""

from typing import Self

from functions.http.responses import Moment, Page, ResponseBody
from shared.application.ports import stored
from shared.domain import sweeps
from shared.domain.dormancy import Outcome
from shared.domain.sweeps import Action, SweepState


class SweepLinks(ResponseBody):
    """Paths from a sweep."""

    self: str
    decisions: str


class Sweep(ResponseBody):
    """One look at the tenants that are due, which puts the dormant ones to sleep."""

    id: str
    state: SweepState
    """`deciding` and `acting` while it runs. `refused`: something was wrong, and nobody was put to sleep, or nobody
    else."""
    reason: str
    """Why it was refused or stopped; else empty."""
    dry_run: bool
    actor: str
    """Who started it, by the header Berth-Actor; `timer` for the nightly one."""
    started_at: Moment
    updated_at: Moment
    """When it last did something."""
    ended_at: Moment | None
    looked_at: int
    """How many tenants it has decided on."""
    keep: int
    unknown: int
    """How many may not be put to sleep because it is not known whether they are used."""
    hibernate: int
    """How many look dormant."""
    to_do: int
    """How many of these are still to be put to sleep."""
    begun: int
    hibernated: int
    kept: int
    """How many of these stayed awake because something changed until it was their turn."""
    turned_round: int
    """How many were woken before they slept."""
    failed: int
    saves: float
    """US dollars a month that it saves, or would if it were no dry run."""
    links: SweepLinks

    @classmethod
    def of(cls, sweep: sweeps.Sweep) -> Self:
        """Return a sweep as operators see it."""
        outcomes, actions = sweep.outcomes, sweep.actions
        return cls(
            id=sweep.id,
            state=sweep.state,
            reason=sweep.reason,
            dry_run=sweep.start.dry_run,
            actor=sweep.start.actor,
            started_at=sweep.start.started_at,
            updated_at=sweep.heartbeat_at,
            ended_at=sweep.ended_at,
            looked_at=sum(outcomes.values()),
            keep=outcomes.get(Outcome.KEEP, 0),
            unknown=outcomes.get(Outcome.UNKNOWN, 0),
            hibernate=sweep.to_hibernate,
            to_do=actions.get(Action.PENDING, 0) if sweep.is_open else 0,
            begun=actions.get(Action.BEGUN, 0),
            hibernated=actions.get(Action.HIBERNATED, 0),
            kept=actions.get(Action.KEPT, 0),
            turned_round=actions.get(Action.TURNED_ROUND, 0),
            failed=actions.get(Action.FAILED, 0),
            saves=sweep.saves,
            links=SweepLinks(self=f"/api/sweeps/{sweep.id}", decisions=f"/api/sweeps/{sweep.id}/decisions"),
        )


class SweepPage(Page[Sweep]):
    """A part of the sweeps, the newest first."""

    enabled: bool
    """Whether sweeps may put tenants to sleep, by BERTH_SWEEP_ENABLED and by the switch."""

    @classmethod
    def of(cls, page: stored.Page[sweeps.Sweep], *, enabled: bool) -> Self:
        """Return a page of sweeps as operators see it."""
        return cls(items=tuple(Sweep.of(each) for each in page.items), next=page.next_token, enabled=enabled)


class SweepDecision(ResponseBody):
    """What a sweep decided about one tenant, why, and what was done."""

    tenant: str
    plan: str
    """Empty if the tenant could not be read."""
    outcome: Outcome
    reason: str
    decided_at: Moment
    last_activity_at: Moment | None
    """The last activity that any source saw."""
    seen_by: str
    """The source that saw it."""
    threshold_days: int | None
    """The days of its policy that count: those without activity, or those of a new instance."""
    due_at: Moment | None
    """When it is put to sleep if nobody uses it until then; null for never."""
    next_due: Moment | None
    """When a sweep looks at it again; null for the next one."""
    action: Action
    """`kept`: something changed until it was its turn. `turned-round`: it was woken before it slept."""
    note: str
    """Why that action, where it is not what was decided."""
    operation: str
    """The id of the operation that was begun, or empty."""
    saves: float
    """US dollars a month that its sleep saves, or would if it were no dry run."""

    @classmethod
    def of(cls, decision: sweeps.SweepDecision, *, ended: bool = False) -> Self:
        """Return a decision as operators see it: what was still to be done when the sweep ended is not done."""
        nothing = ended and decision.action is Action.PENDING
        return cls(
            tenant=decision.slug,
            plan=decision.plan,
            outcome=decision.outcome,
            reason=decision.reason,
            decided_at=decision.decided_at,
            last_activity_at=decision.last_activity_at,
            seen_by=decision.seen_by,
            threshold_days=decision.threshold_days,
            due_at=decision.due_at,
            next_due=decision.next_due,
            action=Action.NONE if nothing else decision.action,
            note=decision.note,
            operation=decision.operation_id,
            saves=decision.saves,
        )


class SweepDecisionPage(Page[SweepDecision]):
    """A part of a sweep's decisions, by slug."""

    @classmethod
    def of(cls, page: stored.Page[sweeps.SweepDecision], *, ended: bool) -> Self:
        """Return a page of decisions of a sweep, which has ended or not, as operators see it."""
        return cls(items=tuple(SweepDecision.of(each, ended=ended) for each in page.items), next=page.next_token)


class SweepsEnabled(ResponseBody):
    """Whether sweeps may put tenants to sleep, by BERTH_SWEEP_ENABLED and by the switch."""

    enabled: bool
