"""Activity by the gateways' own counters: one query for the whole fleet, and one for whether all was counted.

Each step of 5 minutes is looked at with queries that reach 10 minutes back: what was counted between two scrapes is in
neither of two ranges that only touch. A step is vouched for only if each gateway was scraped all the time and no
counter began anew; else it is a gap. The steps that berth missed, because it did not run, come first.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.metrics import Metrics
from shared.application.ports.reservations import ReservationRepository
from shared.application.record_activity import RecordActivity, Report
from shared.domain.clusters import NO_CLUSTER
from shared.domain.dormancy import Window
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId
from shared.domain.operations import slug_of
from shared.domain.slugs import Slug
from shared.events import log_event
from shared.settings import PROMETHEUS, ActivitySettings

logger = logging.getLogger(__name__)

STEP = timedelta(minutes=5)
RANGE = 2 * STEP  # of the queries
DELAY = timedelta(minutes=2)  # after which all samples have arrived
MAX_STEPS = 24  # of one run: two hours


class PollActivity:
    """Asks the metrics which tenants were used."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        record: RecordActivity,
        activity: ActivityRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        clock: Clock,
        settings: ActivitySettings,
    ) -> None:
        self._metrics = metrics
        self._record = record
        self._activity = activity
        self._clusters = clusters
        self._reservations = reservations
        self._clock = clock
        self._settings = settings
        self._slugs: dict[InstanceId, Slug] = {}  # for good: an instance never has another tenant

    async def run(self) -> None:
        """Record the activity of the steps since the last one that was vouched for, at most `MAX_STEPS`.

        It is safe to run twice, and in two workers at the same time.

        Raises:
            Transient: The metrics or the tables do not respond; the next run begins where this one ended.
            Permanent: The metrics refuse berth's identity or a query.
        """
        last = _aligned(self._clock.now() - DELAY)
        held = await self._activity.find_watch(PROMETHEUS, NO_CLUSTER)
        earliest = last - MAX_STEPS * STEP
        begin = max(held.value.window.until, earliest) if held else last - STEP
        for number in range(1, max(0, (last - begin) // STEP) + 1):
            await self._step(begin + number * STEP)

    async def _step(self, at: datetime) -> None:
        """Record the activity of the step that ends at a moment."""
        used = await self._metrics.query(self._settings.activity_query, at)
        scrapes = await self._metrics.query(self._settings.coverage_query, at)
        # A range of 10 minutes has one scrape more or less, by where it begins.
        enough = RANGE.total_seconds() // self._settings.scrape_seconds - 1
        counted = [each.value for each in scrapes.samples]
        covered = bool(counted) and all(each >= enough for each in counted) and used.complete and scrapes.complete
        above = self._settings.ignore_requests
        # NaN, which a division in the operator's own query can give, is not known to be nothing.
        names = [each.labels for each in used.samples if each.value > above or math.isnan(each.value)]
        reports = [Report(at, slug=slug) for slug in await self._tenants_of(names)]
        await self._record.record_all(
            PROMETHEUS, reports, cluster=NO_CLUSTER, watched=Window(at - STEP, at) if covered else None
        )
        if not covered:
            log_event(
                logger, "not all activity was counted", level=logging.WARNING, at=at.isoformat(), scrapes=str(counted)
            )

    async def _tenants_of(self, found: Iterable[Mapping[str, str]]) -> list[Slug]:
        """Return the tenants of namespaces, each of which is the one label of its element."""
        slugs: list[Slug] = []
        clusters = [each.name for each in await self._clusters.registered()]
        for labels in found:
            namespace = next(iter(labels.values()), "")
            if not namespace.startswith(NAMESPACE_PREFIX):
                continue
            instance = InstanceId(namespace.removeprefix(NAMESPACE_PREFIX))
            for cluster in clusters if instance not in self._slugs else ():
                reservation = await self._reservations.find(cluster, instance)
                if reservation is not None:
                    self._slugs[instance] = slug_of(reservation.operation_id)
                    break
            if instance in self._slugs:
                slugs.append(self._slugs[instance])
        return slugs


def _aligned(moment: datetime) -> datetime:
    """Return the end of the last whole step, the same in all workers."""
    seconds = STEP.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
