"""How long ago each source of activity that watches all tenants was last heard."""

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.domain.clusters import NO_CLUSTER
from shared.domain.operations import age
from shared.telemetry import metrics
from shared.telemetry.metrics import record


class SignalAges:
    """Measures them: a timer's work, whoever reports."""

    def __init__(self, *, activity: ActivityRepository, clusters: ClusterRepository, clock: Clock) -> None:
        self._activity = activity
        self._clusters = clusters
        self._clock = clock

    async def run(self) -> None:
        """Record the age of each source; of a source that watches several clusters, that of the one furthest behind."""
        now = self._clock.now()
        names = {NO_CLUSTER, *(each.name for each in await self._clusters.registered())}
        ages: dict[str, float] = {}
        for each in await self._activity.watches():
            if each.cluster in names:  # a cluster that was removed is silent for ever
                ages[each.source] = max(ages.get(each.source, 0.0), age(each.window.until, now))
        for source, seconds in ages.items():
            record(metrics.SIGNAL_AGE, seconds, source=source)
