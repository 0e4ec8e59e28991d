"""The repository of activity: when each tenant was last active, and in which times the sources have watched."""

from collections.abc import Sequence
from typing import Protocol

from shared.application.ports.stored import Stored
from shared.domain.activity import TenantActivity, Watch
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant


class ActivityRepository(Protocol):
    """What sources have reported. Late reports, and those of several workers, never move a time back."""

    async def find(self, slug: Slug) -> Stored[TenantActivity] | None:
        """Return the activity of a slug's present or former instance, or None if none is recorded.

        Raises Transient for a row that this version cannot read.
        """
        ...

    async def find_with_tenant(self, slug: Slug) -> tuple[Tenant, TenantActivity | None]:
        """Return a tenant, and the activity of its slug's present or former instance, by one request.

        Raises NotFound without such a tenant, and Transient as `find` does.
        """
        ...

    async def save(self, activity: Stored[TenantActivity]) -> None:
        """Write an activity; raises Conflict when somebody else wrote it since it was read."""
        ...

    async def find_watch(self, source: str, cluster: str) -> Stored[Watch] | None:
        """Return in which time a source has watched a cluster, or None; raises Transient as `find` does."""
        ...

    async def save_watch(self, watch: Stored[Watch]) -> None:
        """Write in which time a source has watched; raises Conflict when somebody else wrote it since it was read."""
        ...

    async def watches(self) -> Sequence[Watch]:
        """Return in which times all sources have watched; a row that cannot be read is skipped."""
        ...
