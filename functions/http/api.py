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
    unknown,
    visits,
)
from functions.http.endpoint import ROUTES, bp
from functions.http.pages import clusters as cluster_pages
from functions.http.pages import overview, sign_in, static_files, tenant, tenant_actions
from functions.http.pages import sweeps as sweep_pages
from functions.http.pages import tenants as tenant_pages

__all__ = [
    "ROUTES",
    "activity",
    "bills",
    "bp",
    "cluster_pages",
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
    "sweep_pages",
    "sweeps",
    "tenant",
    "tenant_actions",
    "tenant_pages",
    "tenants",
    "unknown",
    "visits",
]
