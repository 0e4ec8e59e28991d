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
    sample,
    sweeps,
    tenants,
    visits,
)
from functions.http.endpoint import ROUTES, bp
from functions.http.pages import overview, sign_in, static_files
from functions.http.pages import sweeps as sweep_page

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
    "overview",
    "reconciliations",
    "reference",
    "sample",
    "sign_in",
    "static_files",
    "sweep_page",
    "sweeps",
    "tenants",
    "visits",
]
