"""The tenant that a caller names, for the use cases that change it."""

from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.domain.lifecycle import TenantState
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import NotFound


async def existing_tenant(tenants: TenantRepository, slug: Slug) -> Stored[Tenant]:
    """Return a tenant that is not deleted; raises NotFound."""
    stored = await tenants.get(slug)
    if stored.value.state is TenantState.DELETED:
        raise NotFound(f"tenant {slug} was deleted")
    return stored
