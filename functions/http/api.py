"""All routes of the API: importing a module registers its routes."""

from functions.http import (
    activity,
    bills,
    clusters,
    health,
    operations,
    reconciliations,
    reference,
    reports,
    sweeps,
    tenants,
    visits,
)
from functions.http.endpoint import ROUTES, bp

__all__ = [
    "ROUTES",
    "activity",
    "bills",
    "bp",
    "clusters",
    "health",
    "operations",
    "reconciliations",
    "reference",
    "reports",
    "sweeps",
    "tenants",
    "visits",
]
