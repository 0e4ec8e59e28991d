"""Visits: what a visitor of a tenant without a route is told, and the wake that a visit starts.

Anybody may ask, as often as they like. So however many ask about one host, its records are read about once a second in
each worker, a wake is begun once, and hosts of no tenant cost a bounded number of reads and no write. However many
hosts are asked about, visits queue a bounded number of wakes for a cluster.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from shared.application.admission import Admission
from shared.application.idempotent_start import Caller
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.wake import Wake
from shared.domain.clusters import NO_CLUSTER, Cluster, ClusterName
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.visits import BACKOFF_SECONDS, RETRY_SECONDS, VISITOR, Answer, answer_for, has_address, split_host
from shared.errors import BerthError, NoRoom, NotFound, Permanent, TooMany, Transient
from shared.events import log_event
from shared.single_flight import SingleFlight
from shared.telemetry.recorder import recorder

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0  # for which an answer is given to all who ask about the same host
MAX_HOSTS = 10_000  # of tenants, and as many others, that a worker remembers; the longest not asked about go first
MAX_UNKNOWN = 100  # hosts that a worker may look for in a second without finding a tenant
MAX_WAKES = 64  # queued for a cluster or being begun: no visit adds to so many; as many start there at once by default
NOBODY = "there is no tenant at this address"


@dataclass(slots=True)
class _Host:
    """What a worker knows of one host: the answer, or why there is none."""

    name: str
    slug: Slug
    domain: str
    is_known: bool = False  # to be of a tenant
    cluster: ClusterName = NO_CLUSTER
    look: SingleFlight[None] = field(init=False)
    found: Answer | BerthError = field(default_factory=lambda: NotFound(NOBODY))
    found_at: float = float("-inf")
    refused_until: float = float("-inf")
    wanted_by: Workflows | None = None


class Visits:
    """Answers visitors, and wakes the tenants that they visit."""

    def __init__(
        self, *, tenants: TenantRepository, clusters: ClusterRepository, admission: Admission, wake: Wake, clock: Clock
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._admission = admission
        self._wake = wake
        self._clock = clock
        self._known: OrderedDict[str, _Host] = OrderedDict()
        self._others: OrderedDict[str, _Host] = OrderedDict()  # which never push out one that is known
        self._unknown = _Bound(clock)
        self._beginning: Counter[ClusterName] = Counter()

    async def visit(self, name: str, workflows: Workflows) -> Answer:
        """Wake the tenant at a host if it sleeps, and return what its visitor is told.

        A wake that cannot be begun is no error: the answer says that the tenant sleeps, and when to ask again.

        Raises:
            NotFound: No tenant has this host; the error does not say why.
            TooMany: Too many hosts without a tenant are asked for.
            Transient: The tables do not respond.
        """
        return await self._answer(self._host(name), workflows)

    async def show(self, name: str) -> Answer:
        """Return what a visitor of a host is told, and wake nobody; raises as `visit`."""
        return await self._answer(self._host(name), None)

    def _host(self, name: str) -> _Host:
        parts = split_host(name)
        if parts is None:
            raise NotFound(NOBODY)
        slug, domain = parts
        name = f"{slug}.{domain}"
        host = self._known.get(name) or self._others.get(name)
        if host is None:
            host = _Host(name, slug, domain)
            host.look = SingleFlight(partial(self._look, host))
        self._remember(host)
        return host

    def _remember(self, host: _Host) -> None:
        hosts, others = (self._known, self._others) if host.is_known else (self._others, self._known)
        others.pop(host.name, None)
        hosts[host.name] = host
        hosts.move_to_end(host.name)
        if len(hosts) > MAX_HOSTS:
            hosts.popitem(last=False)

    async def _answer(self, host: _Host, wanted_by: Workflows | None) -> Answer:
        if self._is_old(host) or (wanted_by is not None and _can_wake(host)):
            host.wanted_by = wanted_by or host.wanted_by
            await host.look()
        if isinstance(host.found, Answer):
            return host.found
        raise host.found.with_traceback(None)

    async def _look(self, host: _Host) -> None:
        """Read what is recorded unless that was done a moment ago, and wake the tenant if a visit is to."""
        wanted_by, host.wanted_by = host.wanted_by, None
        if self._is_old(host):
            await self._find(host)
        if wanted_by is None or not _can_wake(host):
            return
        try:
            async with self._one_more_wake(host.cluster):
                with recorder().within(recorder().new_trace()):  # it belongs to no visitor's request: many may wait
                    await self._wake.wake(host.slug, Caller(VISITOR), wanted_by)
        except BerthError as error:
            log_event(logger, "visit woke nobody", level=logging.WARNING, tenant=host.slug, cause=str(error))
            wait = BACKOFF_SECONDS if isinstance(error, NoRoom | Permanent) else RETRY_SECONDS
            host.refused_until = self._clock.monotonic() + wait
        await self._find(host)

    async def _find(self, host: _Host) -> None:
        """Read what is recorded about a host. What fails is remembered too, so that it is not tried all the time."""
        try:
            host.found = await self._read(host)
            host.is_known = True
        except NotFound as error:
            host.found, host.is_known = error, False
        except TooMany as error:
            host.found = error
        except BerthError as error:
            log_event(logger, "no answer to a visit", level=logging.WARNING, tenant=host.slug, cause=str(error))
            host.found = Transient("what is at this address cannot be found out now")  # a visitor reads it
        host.found_at = self._clock.monotonic()
        self._remember(host)

    async def _read(self, host: _Host) -> Answer:
        """Return the answer from the records; raises NotFound, with the same words whatever it is that is not there."""
        clusters = {each.name: each for each in await self._clusters.registered() if each.domain == host.domain}
        if not clusters:
            raise NotFound(NOBODY)  # which cost nothing
        if host.is_known:
            tenant, cluster = await self._tenant_at(host, clusters)
        else:
            with self._unknown.one_more():
                tenant, cluster = await self._tenant_at(host, clusters)
        host.cluster = cluster.name
        position = await self._admission.position(tenant.operation)
        is_held_up = cluster.breaker is not None
        answer = answer_for(tenant, self._clock.now(), position=position, is_held_up=is_held_up)
        refused_for = host.refused_until - self._clock.monotonic()
        return answer.refused(refused_for) if answer.can_wake and refused_for > 0 else answer

    async def _tenant_at(self, host: _Host, clusters: Mapping[ClusterName, Cluster]) -> tuple[Tenant, Cluster]:
        try:
            tenant = (await self._tenants.get(host.slug)).value
        except NotFound:
            tenant = None
        # One that could not be provisioned is on no cluster any more.
        cluster = clusters.get(tenant.cluster or tenant.operation.cluster) if tenant else None
        if tenant is None or cluster is None or not has_address(tenant):
            raise NotFound(NOBODY)
        return tenant, cluster

    @asynccontextmanager
    async def _one_more_wake(self, cluster: ClusterName) -> AsyncGenerator[None]:
        """Begin a wake inside; raises TooMany if enough are queued for its cluster, or are begun at this moment."""
        queued = await self._admission.waking(cluster)
        if queued + self._beginning[cluster] >= MAX_WAKES:
            raise TooMany(f"{queued} wakes are queued on {cluster} already", RETRY_SECONDS)
        self._beginning[cluster] += 1
        try:
            yield
        finally:
            self._beginning[cluster] -= 1

    def _is_old(self, host: _Host) -> bool:
        return self._clock.monotonic() - host.found_at >= FRESH_SECONDS


class _Bound:
    """Bounds how many hosts without a tenant are looked for in a second, those included that are being looked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = 0
        self._found_none = 0
        self._looking = 0

    @contextmanager
    def one_more(self) -> Generator[None]:
        """Look for one inside; raises TooMany."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._found_none = second, 0
        if self._looking + self._found_none >= MAX_UNKNOWN:
            raise TooMany("too many addresses without a tenant are asked for", RETRY_SECONDS)
        self._looking += 1
        try:
            yield
        except NotFound:
            self._found_none += 1
            raise
        finally:
            self._looking -= 1


def _can_wake(host: _Host) -> bool:
    return isinstance(host.found, Answer) and host.found.can_wake
