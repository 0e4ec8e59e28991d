"""The policy by which a tenant counts as dormant: its plan's, overridden for one tenant by an authorised call."""

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DormancyPolicy:
    """After how long without activity a tenant is hibernated.

    In the first `never_active_days` of its instance no tenant is hibernated: its owner may not have begun yet. An
    `exempt` tenant is never hibernated, and none is before `keep_awake_until`.
    """

    idle_days: int
    never_active_days: int
    exempt: bool = False
    keep_awake_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PolicyOverride:
    """What differs from the plan's policy for one tenant; None leaves the plan's."""

    idle_days: int | None = None
    never_active_days: int | None = None
    exempt: bool | None = None
    keep_awake_until: datetime | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts that differ."""
        return tuple(name for name in self.__dataclass_fields__ if getattr(self, name) is not None)

    def applied_to(self, policy: DormancyPolicy) -> DormancyPolicy:
        """Return a policy with what differs."""
        return replace(policy, **{name: getattr(self, name) for name in self.parts})


NO_OVERRIDE = PolicyOverride()
