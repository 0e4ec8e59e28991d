"""Activity by the gateways' own counters: one query for the whole fleet, and one for where all was counted.

At the end of each step of 5 minutes, each counter is compared with what it was two steps before: a scrape that fails
loses nothing, and what arrives late is in the next comparison. A step is vouched for, cluster by cluster, only if each
of its gateways was scraped in it and was not restarted; else it is a gap, and so it is if no gateway of the cluster is
known. A new gateway makes no gap: its counters began with it. The steps that berth missed, because it did not run,
come first.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.metrics import Metrics, Sample
from shared.application.ports.reservations import ReservationRepository
from shared.application.record_activity import RecordActivity, Report
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.dormancy import Window
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId
from shared.domain.operations import slug_of
from shared.domain.slugs import Slug
from shared.events import log_event
from shared.settings import PROMETHEUS, ActivitySettings

logger = logging.getLogger(__name__)

STEP = timedelta(minutes=5)  # of the queries
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
        self._slugs: dict[InstanceId, Slug] = {}  # as last read; an instance never has another tenant

    async def run(self) -> None:
        """Record the activity of the steps since the last one that was vouched for, at most `MAX_STEPS`.

        That is the last one of the cluster that is furthest behind, unless it is so by more than `MAX_STEPS`: one
        without metrics does not let the others be asked for again.

        It is safe to run twice, and in two workers at the same time.

        Raises:
            Transient: The metrics or the tables do not respond; the next run begins where this one ended.
            Permanent: The metrics refuse berth's identity or a query.
        """
        clusters = [each.name for each in await self._clusters.registered()]
        last = _aligned(self._clock.now() - DELAY)
        earliest = last - MAX_STEPS * STEP
        watches = [each for each in await self._activity.watches() if each.source == PROMETHEUS]
        ends = [each.window.until for each in watches if each.cluster in clusters]
        begin = min((end for end in ends if end > earliest), default=earliest if ends else last - STEP)
        strangers: set[InstanceId] = set()
        for number in range(1, max(0, (last - begin) // STEP) + 1):
            await self._step(begin + number * STEP, clusters, strangers)

    async def _step(self, at: datetime, clusters: Sequence[ClusterName], strangers: set[InstanceId]) -> None:
        """Record the activity of the step that ends at a moment."""
        used = await self._metrics.query(self._settings.activity_query, at)
        gateways = await self._metrics.query(self._settings.coverage_query, at)
        above = self._settings.ignore_requests
        # NaN, which a division in the operator's own query can give, is not known to be nothing.
        found = [each.labels for each in used.samples if each.value > above or math.isnan(each.value)]
        reports = [Report(at, slug=slug) for slug in await self._tenants_of(found, clusters, strangers)]
        await self._record.record_all(PROMETHEUS, reports, cluster=NO_CLUSTER, watched=None)
        named = [(self._cluster_of(each, clusters), each.value) for each in gateways.samples]
        covered = _covered(named) & {*clusters} if used.complete and gateways.complete else set[ClusterName]()
        for cluster in covered:
            await self._record.record_all(PROMETHEUS, [], cluster=cluster, watched=Window(at - STEP, at))
        gaps = sorted({*clusters} - covered)
        if gaps:
            log_event(
                logger,
                "not all activity was counted",
                level=logging.WARNING,
                at=at.isoformat(),
                clusters=",".join(gaps),
                gateways=str([each for each in named if each[0] not in covered]),
            )

    def _cluster_of(self, gateway: Sample, clusters: Sequence[ClusterName]) -> ClusterName:
        """Return the cluster that an element names; a Prometheus of its own may leave out the name of the only one."""
        unnamed = clusters[0] if len(clusters) == 1 else NO_CLUSTER
        return ClusterName(gateway.labels.get(self._settings.cluster_label, "")) or unnamed

    async def _tenants_of(
        self, found: Iterable[Mapping[str, str]], clusters: Sequence[ClusterName], strangers: set[InstanceId]
    ) -> Sequence[Slug]:
        """Return the tenants of namespaces, each of which is the one label of its element.

        Args:
            found: The labels of the elements.
            clusters: All of them.
            strangers: Those that are known to be no tenant's; what is found to be none is added.
        """
        namespaces = [next(iter(labels.values()), "") for labels in found]
        instances = [
            InstanceId(each.removeprefix(NAMESPACE_PREFIX)) for each in namespaces if each.startswith(NAMESPACE_PREFIX)
        ]
        unknown = {*instances} - self._slugs.keys() - strangers
        if unknown:
            # Not one by one: after a start all of them are unknown.
            reservations = [await self._reservations.all(each) for each in clusters]
            self._slugs = {each.instance: slug_of(each.operation_id) for some in reservations for each in some}
            strangers.update(unknown - self._slugs.keys())
        return [self._slugs[each] for each in instances if each in self._slugs]


def _aligned(moment: datetime) -> datetime:
    """Return the end of the last whole step, the same in all workers."""
    seconds = STEP.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


def _covered(gateways: Sequence[tuple[ClusterName, float]]) -> set[ClusterName]:
    """Return the clusters of which no gateway has lost a request."""
    return {name for name, _ in gateways} - {name for name, whole in gateways if not whole > 0}  # it may be NaN
