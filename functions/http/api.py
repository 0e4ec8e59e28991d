"""All routes of the API: importing a module registers its routes."""

from functions.http import (
    activity,
    bills,
    clusters,
    cost_reports,
    health,
    latency_reports,
    operations,
    reconciliations,
    reference,
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
    "cost_reports",
    "health",
    "latency_reports",
    "operations",
    "reconciliations",
    "reference",
    "sweeps",
    "tenants",
    "visits",
]
