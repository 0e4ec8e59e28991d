"""Activity: what sources report of tenants, what is recorded of it, and in which times they have watched."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain.dormancy import MARGIN, Window
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug

RESOLUTION = timedelta(minutes=5)
"""Activity of one tenant is recorded once in so long, whoever reports it (vCluster and JupyterHub do so too)."""
GAP_PERIOD = timedelta(days=7)
MAX_GAPS = 0.02 * GAP_PERIOD
"""How much of any `GAP_PERIOD` gaps may be that are forgiven: some 200 minutes, a dozen restarts of a gateway."""


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

    A source that watches all clusters has an empty `cluster`. `gaps` are those of the last `GAP_PERIOD` that were
    forgiven, in their order.
    """

    source: str
    cluster: str
    window: Window
    gaps: tuple[Window, ...] = ()

    def followed_by(self, later: Window, max_gap: timedelta = timedelta(0)) -> "Watch":
        """Return what is recorded after another report.

        A window that touches the one before extends it. So does one after a gap of at most `max_gap`: else each restart
        of a gateway would let the idle days of all tenants begin anew. While such gaps are more than `MAX_GAPS`, the
        time up to the end of the first one does not count any more. After a longer gap only the later window counts,
        and one of before a gap changes nothing, however late it comes.
        """
        earlier = self.window
        if later.since <= earlier.until and earlier.since <= later.until:
            whole = Window(min(earlier.since, later.since), max(earlier.until, later.until))
            return replace(self, window=whole)
        if later.until < earlier.until:
            return self
        gap = Window(earlier.until, later.since)
        if _length(gap) > max_gap:
            return replace(self, window=later, gaps=())
        since = earlier.since
        gaps = [each for each in (*self.gaps, gap) if each.until > later.until - GAP_PERIOD]
        while sum(map(_length, gaps), timedelta(0)) > MAX_GAPS:
            since = gaps.pop(0).until
        return replace(self, window=Window(since, later.until), gaps=tuple(gaps))


def _length(window: Window) -> timedelta:
    return window.until - window.since


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a time is so far in the future that the clock of who reports it is wrong."""
    return moment > now + MARGIN
