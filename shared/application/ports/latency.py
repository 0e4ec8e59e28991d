"""The repository of latency rows."""

from typing import Protocol

from shared.domain.tenants import Tenant


class LatencyRepository(Protocol):
    """How long operations took."""

    async def record(self, tenant: Tenant) -> None:
        """Keep the durations of a tenant's ended operation; writing it twice leaves one row."""
        ...
