"""How long ago each required source of activity was last heard."""

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.domain.clusters import NO_CLUSTER
from shared.domain.operations import age
from shared.settings import ActivitySettings
from shared.telemetry import metrics
from shared.telemetry.metrics import record

NEVER_HEARD = 30 * 86400.0  # the age of a source that has never been heard: longer than any rule allows


class SignalAges:
    """Measures them: a timer's work, whoever reports."""

    def __init__(
        self, *, activity: ActivityRepository, clusters: ClusterRepository, clock: Clock, settings: ActivitySettings
    ) -> None:
        self._activity = activity
        self._clusters = clusters
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Record the age of each required source, of the cluster where that is longest ago.

        What a source says of a cluster counts there, else what it says of all clusters, as it does for a tenant. A
        source that nobody requires may be one that nobody uses any more.
        """
        now = self._clock.now()
        clusters = [each.name for each in await self._clusters.registered()]
        heard = {(each.source, each.cluster): each.window.until for each in await self._activity.watches()}
        for source in self._settings.required:
            last = [heard.get((source, name)) or heard.get((source, NO_CLUSTER)) for name in clusters]
            ages = [NEVER_HEARD if each is None else age(each, now) for each in last]
            record(metrics.SIGNAL_AGE, max(ages, default=0.0), source=source)
