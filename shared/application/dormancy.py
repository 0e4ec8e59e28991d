"""What is known of a tenant's activity, and what follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.domain.activity import TenantActivity, Watch
from shared.domain.dormancy import Decision, Signal, decide
from shared.domain.plans import Plans
from shared.domain.policy import DormancyPolicy
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.settings import ActivitySettings


@dataclass(frozen=True, slots=True)
class DormancyStatus:
    """A tenant, its signals, the policy in effect, and the decision. The last two are None if its plan is gone."""

    tenant: Tenant
    signals: Sequence[Signal]
    policy: DormancyPolicy | None
    decision: Decision | None


class Dormancy:
    """Decides on tenants by what is recorded of their activity."""

    def __init__(self, *, activity: ActivityRepository, plans: Plans, clock: Clock, settings: ActivitySettings) -> None:
        self._activity = activity
        self._plans = plans
        self._clock = clock
        self._settings = settings

    async def status(self, slug: Slug, watches: Iterable[Watch] | None = None) -> DormancyStatus:
        """Return what is known of a tenant, and what is to happen to it; raises NotFound.

        Args:
            slug: The tenant.
            watches: What all sources have watched, for who asks of many tenants; else it is read.
        """
        tenant, found = await self._activity.find_with_tenant(slug)
        activity = found if found is not None and found.instance == tenant.instance else None
        signals = self._signals(tenant, activity, watches if watches is not None else await self._activity.watches())
        plan = self._plans.get(tenant.plan)
        if plan is None:
            return DormancyStatus(tenant, signals, None, None)
        policy = tenant.policy.applied_to(plan.dormancy)
        return DormancyStatus(tenant, signals, policy, decide(tenant, signals, policy, self._clock.now()))

    def _signals(self, tenant: Tenant, activity: TenantActivity | None, watches: Iterable[Watch]) -> Sequence[Signal]:
        last = activity.by_source if activity else {}
        # What a source says of all clusters, and of the tenant's own, which comes last and is taken instead.
        windows = {
            each.source: each.window
            for each in sorted(watches, key=lambda watch: watch.cluster)
            if each.cluster in ("", tenant.cluster)
        }
        required = self._settings.required
        return [
            Signal(
                source=source,
                last_activity_at=last.get(source),
                watched=windows.get(source),
                fresh_for=timedelta(seconds=self._settings.fresh_seconds),
                required=source in required,
            )
            for source in sorted({*last, *windows, *required})
        ]
