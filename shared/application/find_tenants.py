"""Finding the tenant of which an operator has only a name: its slug, an operation, an instance or a namespace."""

import asyncio
import re

from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.tenants import TenantRepository
from shared.domain.base32 import ALPHABET
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId
from shared.domain.operations import slug_of
from shared.domain.slugs import Slug, check_slug
from shared.errors import NotFound

_INSTANCE = re.compile(rf"[{ALPHABET}]{{10}}")


class FindTenants:
    """Finds tenants by names, without reading other tenants."""

    def __init__(
        self, *, tenants: TenantRepository, clusters: ClusterRepository, reservations: ReservationRepository
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations

    async def find(self, name: str) -> Slug | None:
        """Return the slug of the tenant that a name stands for, or None.

        A name is a slug, the id of an operation, the id of an instance, or the name of its namespace.
        """
        for slug in (Slug(name), slug_of(name)):
            if check_slug(slug) is None and await self._is_there(slug):
                return slug
        return await self._with_instance(name.removeprefix(NAMESPACE_PREFIX))

    async def _with_instance(self, name: str) -> Slug | None:
        """Return whose instance it is, by the reservation that it has on one of the clusters."""
        if not _INSTANCE.fullmatch(name):
            return None
        clusters, instance = await self._clusters.registered(), InstanceId(name)
        found = await asyncio.gather(*(self._reservations.find(each.name, instance) for each in clusters))
        return next((slug_of(each.operation_id) for each in found if each is not None), None)

    async def _is_there(self, slug: Slug) -> bool:
        try:
            await self._tenants.get(slug)
        except NotFound:
            return False
        return True
