"""The cost ledger: transitions, what each instance cost on each day, and the daily sums."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from shared.application.ports.stored import Stored
from shared.domain.assets import SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_rollups import ClusterDay, FleetDay
from shared.domain.costs import InstanceDay
from shared.domain.slugs import Slug
from shared.domain.uses import Transition, instance_key


@dataclass(frozen=True, slots=True)
class TenantTransition:
    """A transition, and whose instance it is of."""

    slug: Slug
    transition: Transition

    @property
    def key(self) -> str:
        """What tells instances apart, and orders them."""
        return instance_key(self.slug, self.transition.instance)


class Transitions(Protocol):
    """The log of transitions, in shards."""

    @property
    def shards(self) -> Sequence[str]:
        """All shards, in order."""
        ...

    def of_day(self, shard: str, day: date) -> AsyncIterator[TenantTransition]:
        """Yield the transitions of a day in UTC, by `instance_key` and sequence.

        Raises Transient for one that this version cannot read: without it, costs would be wrong.
        """
        ...

    def last_ones(self, shard: str) -> AsyncIterator[TenantTransition]:
        """Yield the last transition of each tenant that has one; raises Transient for one that cannot be read."""
        ...

    async def of_tenant(self, slug: Slug) -> Sequence[Transition]:
        """Return all transitions of a tenant that are kept, in order. It looks at those of a whole shard."""
        ...

    async def first_day(self) -> date | None:
        """Return the day in UTC of the oldest transition, or None if there is none."""
        ...


class CostLedger(Protocol):
    """What each instance cost, and the daily sums. A day is written as often as one likes until it is final.

    The rows of days that are not final yet are apart from the others, so that a worker that is late writes over none.
    """

    async def time(self) -> datetime:
        """Return the time by the clock of the tables, which is the same for all workers."""
        ...

    async def last_final(self) -> Stored[date | None]:
        """Return the last day that is final, or None if there is none."""
        ...

    async def save_last_final(self, day: Stored[date | None]) -> None:
        """Write that a day is final; raises Conflict if somebody else has written one since it was read."""
        ...

    def of_day(self, shard: str, day: date) -> AsyncIterator[InstanceDay]:
        """Yield the rows of a final day that the next day goes on from, by `instance_key`.

        Raises Transient for one that this version cannot read: without it, costs would be wrong.
        """
        ...

    async def keys_of(self, shard: str, day: date) -> set[str]:
        """Return the `instance_key` of each row of a final day, which is computed again."""
        ...

    async def delete(self, shard: str, day: date, keys: Sequence[str]) -> None:
        """Delete the rows of instances on a final day; those that are gone already do not matter."""
        ...

    async def write(self, shard: str, rows: Sequence[InstanceDay], *, is_final: bool) -> None:
        """Write up to 100 rows of one shard, over those of the same instances and day."""
        ...

    async def write_day(self, fleet: FleetDay, clusters: Sequence[ClusterDay], *, is_final: bool) -> None:
        """Write the sums of a day, in the place of those of the same day."""
        ...

    async def clusters_between(self, start: date, end: date) -> Sequence[ClusterDay]:
        """Return the sums of all clusters for the days from `start` to `end`, both included, in order.

        The last may be a day that is not over. Raises Transient for sums that this version cannot read.
        """
        ...

    async def fleet_between(self, start: date, end: date) -> Sequence[FleetDay]:
        """Return the sums of the fleet, likewise."""
        ...

    async def of_tenant(self, slug: Slug, days: Sequence[date]) -> Sequence[InstanceDay]:
        """Return what a tenant's instances cost on final days, in order, and on the present one if it is among them."""
        ...

    async def see(self, nodes: SeenNodes) -> None:
        """Record the nodes of a cluster."""
        ...

    async def seen(self, cluster: ClusterName, start: datetime, end: datetime) -> Sequence[SeenNodes]:
        """Return the nodes of a cluster that were seen from `start` on and before `end`, in order."""
        ...
