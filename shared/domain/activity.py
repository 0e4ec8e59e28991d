"""Activity: what sources report of tenants, what is recorded of it, and in which times they have watched."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain.dormancy import MARGIN, Window
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug

RESOLUTION = timedelta(minutes=5)
"""Activity of one tenant is recorded once in so long, whoever reports it (vCluster and JupyterHub do so too)."""
GAP_SHARE = 0.005
"""The share of a watch that gaps may have which are forgiven: 50 minutes of a week."""


@dataclass(frozen=True, slots=True)
class TenantActivity:
    """When a tenant's instance was last active, by the source that reported it."""

    slug: Slug
    instance: InstanceId
    by_source: dict[str, datetime] = field(default_factory=dict[str, datetime])

    @property
    def last_at(self) -> datetime | None:
        """The last activity that any source has reported."""
        return max(self.by_source.values(), default=None)

    def is_news(self, at: datetime) -> bool:
        """Whether an activity is worth a write: it is later by `RESOLUTION` than the last one that is recorded."""
        return self.last_at is None or at >= self.last_at + RESOLUTION

    def reported(self, source: str, at: datetime) -> "TenantActivity":
        """Return what is recorded after a report."""
        return replace(self, by_source={**self.by_source, source: at})


@dataclass(frozen=True, slots=True)
class Watch:
    """The last time in which a source has watched all tenants of a cluster, or of all clusters.

    A source that watches all clusters has an empty `cluster`. `gaps` is how much of the window it did not watch.
    """

    source: str
    cluster: str
    window: Window
    gaps: timedelta = timedelta(0)

    def followed_by(self, later: Window, max_gap: timedelta = timedelta(0)) -> "Watch":
        """Return what is recorded after another report.

        A window that touches the one before extends it. So does one after a gap of at most `max_gap`, if gaps remain
        the `GAP_SHARE` of all: else each restart of a gateway would let the idle days of all tenants begin anew. After
        a longer gap the later one is what counts, and one of before the gap changes nothing, however late it comes.
        """
        earlier = self.window
        whole = Window(min(earlier.since, later.since), max(earlier.until, later.until))
        gap = max(later.since - earlier.until, earlier.since - later.until, timedelta(0))
        gaps = self.gaps + gap
        if not gap or (gap <= max_gap and gaps <= GAP_SHARE * (whole.until - whole.since)):
            return replace(self, window=whole, gaps=gaps)
        return self if later.until < earlier.until else replace(self, window=later, gaps=timedelta(0))


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a time is so far in the future that the clock of who reports it is wrong."""
    return moment > now + MARGIN
