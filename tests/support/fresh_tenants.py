"""Tenants for tests on a real cluster: each has a new slug, and was signed up just now."""

from datetime import UTC, datetime

from shared.domain.tenants import Tenant
from tests.support.builders import new_slug, new_tenant


def fresh_tenant(version: str = "1.0.0") -> Tenant:
    return new_tenant(new_slug(), version=version, created_at=datetime.now(UTC))
