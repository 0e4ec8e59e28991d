"""Recording activity: who reports that a tenant is used, and who watches all of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.application.ports.activity import ActivityRepository
from shared.application.ports.clock import Clock
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.domain.activity import TenantActivity, Watch, is_ahead
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Window
from shared.domain.instances import NO_INSTANCE, InstanceId
from shared.domain.operations import slug_of
from shared.domain.slugs import Slug
from shared.errors import Conflict, Invalid, NotFound, Transient
from shared.settings import ActivitySettings

MAX_TRIES = 10  # against other workers' writes to the same row
MAX_CONCURRENT = 32  # entries of one batch that are recorded at the same time
AHEAD = "this is in the future; set the clock of the source"


@dataclass(frozen=True, slots=True)
class Report:
    """That a tenant was active, named by its slug, or by its instance and the cluster on which that is."""

    at: datetime | None
    slug: Slug | None = None
    instance: InstanceId = NO_INSTANCE


@dataclass(frozen=True, slots=True)
class Rejection:
    """An entry of a batch that was not recorded, by its place from 0, and why not."""

    index: int
    reason: str


class RecordActivity:
    """Takes reports of activity."""

    def __init__(
        self,
        *,
        activity: ActivityRepository,
        tenants: TenantRepository,
        reservations: ReservationRepository,
        clock: Clock,
        settings: ActivitySettings,
    ) -> None:
        self._activity = activity
        self._tenants = tenants
        self._reservations = reservations
        self._clock = clock
        self._max_gap = timedelta(seconds=settings.max_gap_seconds)

    async def record(self, slug: Slug, source: str, at: datetime | None) -> bool:
        """Record that a tenant was active, by default now, and return whether that was news.

        Reports of the same few minutes are one: at most one write, in all workers.

        Raises:
            Invalid: The time is in the future.
            NotFound: There is no such tenant, or nothing runs for it.
            Transient: Others write the same row all the time.
        """
        now = self._clock.now()
        if at is not None and is_ahead(at, now):
            raise Invalid(("/at", AHEAD))
        at = min(at or now, now)
        for _ in range(MAX_TRIES):
            held = await self._activity.find(slug)
            if held is not None and not held.value.is_news(at):
                return False
            tenant = (await self._tenants.get(slug)).value
            if not tenant.instance:
                raise NotFound(f"tenant {slug} is {tenant.state}: nothing runs for it that could be active")
            known = held.value if held is not None and held.value.instance == tenant.instance else None
            activity = (known or TenantActivity(slug, tenant.instance)).reported(source, at)
            try:
                await self._activity.save(Stored(activity, held.etag if held else ""))
            except Conflict:
                continue
            return True
        raise Transient(f"the activity of {slug} is written too often")

    async def record_all(
        self, source: str, reports: Sequence[Report], *, cluster: ClusterName, watched: Window | None
    ) -> Sequence[Rejection]:
        """Record what a source reports of many tenants, and return what was not recorded.

        Args:
            source: Who reports.
            reports: Which tenants were active.
            cluster: Where the tenants are that are named by their instances, and what was watched; empty for all.
            watched: The time in which the source has seen all activity there is: that of `reports`, and what it
                reported before. It counts only once all of these are recorded.

        Raises:
            Invalid: The time watched is in the future, or ends before it begins.
            Transient: Not everything could be recorded. Send it all again.
        """
        now = self._clock.now()
        if watched is not None and is_ahead(watched.until, now):
            raise Invalid(("/watched/until", AHEAD))
        limit = asyncio.Semaphore(MAX_CONCURRENT)

        async def record(index: int, report: Report) -> Rejection | None:
            async with limit:
                try:
                    slug = report.slug or await self._slug_of(cluster, report.instance)
                    await self.record(slug, source, report.at)
                except Invalid as error:
                    return Rejection(index, error.errors[0][1])
                except NotFound as error:
                    return Rejection(index, str(error))
            return None

        done = await asyncio.gather(*(record(*each) for each in enumerate(reports)), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
        rejected = [each for each in done if isinstance(each, Rejection)]
        if watched is not None and not any(each.reason == AHEAD for each in rejected):
            await self._record_watch(source, cluster, Window(watched.since, min(watched.until, now)))
        return rejected

    async def _slug_of(self, cluster: ClusterName, instance: InstanceId) -> Slug:
        """Return the tenant that has an instance; raises NotFound."""
        reservation = await self._reservations.find(cluster, instance)
        if reservation is None:
            raise NotFound(f"no tenant has the instance {instance} on the cluster {cluster}")
        return slug_of(reservation.operation_id)

    async def _record_watch(self, source: str, cluster: ClusterName, window: Window) -> None:
        for _ in range(MAX_TRIES):
            held = await self._activity.find_watch(source, cluster)
            watch = held.value.followed_by(window, self._max_gap) if held else Watch(source, cluster, window)
            if held is not None and held.value == watch:
                return
            try:
                await self._activity.save_watch(Stored(watch, held.etag if held else ""))
            except Conflict:
                continue
            return
        raise Transient(f"what {source} has watched is written too often")
