"""Changing after how long one tenant counts as dormant, against its plan."""

from dataclasses import replace
from datetime import timedelta

from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import IdempotentStart
from shared.application.ports.clock import Clock
from shared.application.ports.tenants import TenantRepository
from shared.application.saved_changes import save_change
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict

MAX_TRIES = 10  # against the writes of an open operation's progress


class ChangePolicy:
    """Takes policies of single tenants."""

    def __init__(self, *, tenants: TenantRepository, start: IdempotentStart, clock: Clock) -> None:
        self._tenants = tenants
        self._start = start
        self._clock = clock

    async def change(self, slug: Slug, override: PolicyOverride, actor: str) -> Tenant:
        """Replace what differs from the plan's policy for one tenant, and return the tenant.

        An open operation is no obstacle: it does not read the policy. Sending the same again changes nothing.

        Raises:
            NotFound: There is no such tenant, or it is deleted.
            Conflict: Others change the tenant all the time.
        """
        asked_at = self._clock.now()
        for _ in range(MAX_TRIES):
            stored = await existing_tenant(self._tenants, slug)
            self._start.ensure_in_time(asked_at)
            before = stored.value
            if before.policy == override:  # perhaps by an earlier try, of which only the response was lost
                return before
            # Later than the change before, so that both have an audit entry.
            at = max(self._clock.now(), before.changed_at + timedelta(milliseconds=1))
            tenant = stored.with_value(replace(before, policy=override, changed_at=at))
            try:
                saved = await save_change(
                    self._tenants,
                    tenant,
                    before=before.state,
                    action="policy",
                    reason=_words(override),
                    actor=actor,
                )
            except Conflict:
                continue
            return saved.value
        raise Conflict(f"tenant {slug} is changing too fast; send the request again")


def _words(override: PolicyOverride) -> str:
    """Return what differs from the plan, for the audit trail."""
    parts = (f"{name} {getattr(override, name)}" for name in override.parts)
    return ", ".join(parts) or "as the plan says"
