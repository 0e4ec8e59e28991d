"""Dormancy: when a tenant counts as one that nobody uses."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DormancyPolicy:
    """After how long without activity a tenant is hibernated.

    `never_active_days` is for a tenant that never had any activity. An `exempt` tenant is never hibernated, and none is
    before `keep_awake_until`.
    """

    idle_days: int
    never_active_days: int
    exempt: bool = False
    keep_awake_until: datetime | None = None
